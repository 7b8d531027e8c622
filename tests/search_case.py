"""What tests of archives share: short windows, and the content of an archive."""

import numpy as np

from vitaclip.moments.config import WindowsConfig
from vitaclip.search.archive import Archive
from vitaclip.search.rows import Rows

WINDOWS = WindowsConfig(lengths_s=(0.4, 0.8))


def content(archive: Archive) -> dict[str, tuple[bytes, ...]]:
    """Times, hashes and vectors of each file's rows, to the bit; of a damaged file none."""
    (model,) = archive.store.models
    rows = Rows.join(archive.store.rows(model))
    assert len(rows) == len({(video, *time) for video, time in zip(rows.videos, rows.times.tolist(), strict=True)})
    found = dict[str, tuple[bytes, ...]]()
    for path, entry in archive.store.files.items():
        own = rows.take(np.flatnonzero(rows.of({entry.video})))
        found[path] = own.times.tobytes(), own.looks.tobytes(), own.vectors.tobytes()
    return found
