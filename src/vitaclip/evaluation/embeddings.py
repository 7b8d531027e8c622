"""Vectors of videos as a table for other programs: `.parquet`, `.npz` or `.safetensors`.

Axes: n videos or windows of videos, D numbers of a vector.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vitaclip.data.reading.path import VideoPath
from vitaclip.evaluation.predictions import check_table_file, import_pyarrow
from vitaclip.files import atomic_write, write_safetensors
from vitaclip.strings import storable

FORMATS = (".parquet", ".npz", ".safetensors")


@dataclass(frozen=True)
class Embedding:
    """The vector of a video, or of a window of it."""

    path: VideoPath
    """The file; of a video without one, the name that messages call it by."""
    vector: Tensor = field(default_factory=lambda: torch.empty(0), repr=False, compare=False)
    """(D,) float32, of unit length for most models."""
    start: float = 0.0
    """Seconds; a video that states no rate counts as one of 25 frames a second."""
    end: float = 0.0
    error: str = ""
    """Why the video could not be read; there is no vector then."""


@dataclass(frozen=True)
class Embeddings:
    """The vectors of n videos or windows, with all that tells whether others may be compared with them."""

    paths: tuple[str, ...]
    times: Tensor
    """(n, 2) where each starts and ends, in seconds."""
    vectors: Tensor
    """(n, D) float32."""
    about: Mapping[str, str]
    """The model, the fingerprint of its weights, and how it looked at videos."""
    errors: tuple[str, ...] = ()
    """A line for each video that could not be read."""

    @classmethod
    def collect(cls, found: Iterable[Embedding], about: Mapping[str, str]) -> "Embeddings":
        """The vectors of `Predictor.embed`, with `Predictor.provenance`."""
        every = list(found)
        good = [each for each in every if not each.error]
        times = torch.tensor([(each.start, each.end) for each in good]).reshape(-1, 2)
        vectors = torch.stack([each.vector for each in good]) if good else torch.empty(0, 0)
        return cls(
            tuple(storable(e.path) for e in good), times, vectors, about, tuple(e.error for e in every if e.error)
        )

    def save(self, file: str | Path) -> Path:
        """Write the columns path, start, end and vector; what they are of is in the metadata, of npz in `about`.

        Raises:
            ValueError: see `check_table_file`; or there is no vector.
        """
        check_table_file(file, FORMATS)
        if not self.paths:
            raise ValueError(f"{file}: not written, because no video could be read")
        start, end = self.times.numpy().T
        suffix = Path(file).suffix.lower()
        if suffix == ".safetensors":
            tensors = {"vectors": self.vectors, "times": self.times}
            write_safetensors(file, tensors, {"paths": json.dumps(self.paths), **self.about})
            return Path(file)
        with atomic_write(file) as temporary, temporary.open("wb") as opened:
            if suffix == ".npz":
                columns = {"path": np.array(self.paths), "start": start, "end": end, "vector": self.vectors.numpy()}
                np.savez(opened, about=np.array(json.dumps(dict(self.about))), **columns)
            else:
                arrow, parquet = import_pyarrow(file)
                vectors = arrow.FixedSizeListArray.from_arrays(self.vectors.flatten().numpy(), self.vectors.shape[1])
                columns = {"path": list(self.paths), "start": start, "end": end, "vector": vectors}
                parquet.write_table(arrow.table(columns).replace_schema_metadata(dict(self.about)), opened)
        return Path(file)
