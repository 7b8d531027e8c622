"""`vitaclip embed`."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar

from vitaclip.cli.command import argument
from vitaclip.cli.options import DATA_SETTINGS, VideosCommand
from vitaclip.cli.screen import counting_bar, print_error, progress_bars, terminal
from vitaclip.data.workers import expect_processes
from vitaclip.evaluation.embeddings import FORMATS, Embeddings
from vitaclip.evaluation.predictions import check_table_file
from vitaclip.files import check_place
from vitaclip.settings import NonNegativeFloat


@dataclass(frozen=True, kw_only=True)
class Embed(VideosCommand):
    """Write a vector for each video, or for each window of a video, with its path, its times, the model and the
    fingerprint of its weights. Vectors of one model compare by their cosine.

    examples:
      vitaclip embed my_videos/ --model runs/doors --out vectors.parquet
      vitaclip embed clip.mp4 --window_seconds 10 --out clip.npz
    """

    shown: ClassVar[tuple[str, ...]] = (
        *("model", "backbone", "window_seconds", "out", "views", "data.workers", "runtime.device"),
    )
    kept: ClassVar[Mapping[str, Collection[str]]] = {"data": (*DATA_SETTINGS, "on_error")}
    unread: ClassVar[Collection[str]] = ("template",)
    out: str = argument("", required=True)
    """Write to this new .parquet, .npz or .safetensors file."""
    window_seconds: NonNegativeFloat = 0.0
    """Cut each video into windows of this length, each with a vector from one clip. 0: one vector for each video, from
    its views."""

    def run(self) -> int:
        """Embed every file; 1 if some could not be read."""
        expect_processes(self.data)
        check_table_file(self.out, FORMATS)
        command = self.with_model_first()
        paths = command.find_videos()
        check_place(self.out, command.inputs, new=True)
        predictor = command.make_predictor()
        with progress_bars(terminal(stderr=True)) as progress:
            found = predictor.embed(paths, self.window_seconds, counting_bar(progress, "embedding", len(paths)))
            vectors = Embeddings.collect(found, predictor.provenance(self.window_seconds))
        for error in vectors.errors:
            print_error(error)
        if not vectors.paths:
            print_error(f"no video could be read; {self.out} is not written")
            return 1
        vectors.save(self.out)
        terminal().print(f"{len(vectors.paths)} vectors are in {self.out}")
        return 1 if vectors.errors else 0
