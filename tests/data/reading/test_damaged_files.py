"""Whatever is done to a file, it gives frames or one line that names it."""

from pathlib import Path

import av
import numpy as np
import pytest

from damage import DAMAGES, MOST_BYTES, read_all, write_damaged
from video_files import decode_all, write_video
from vitaclip.data.reading.decode import open_video


def test_damaged_files_give_frames_or_a_named_error(tmp_path: Path) -> None:
    """A few of each kind of damage; `benchmarks/fuzz.py` reads thousands."""
    files = list(write_damaged(tmp_path, 3 * len(DAMAGES)))
    found = list(read_all(files, 2, 60.0))
    fates = {file.path: (fate, outcome.problem) for file, fate, outcome in found}
    assert max(outcome.result.peak_bytes for _, _, outcome in found if outcome.result is not None) < MOST_BYTES
    assert len(fates) == len(files)
    assert {path.name: fate for path, fate in fates.items() if fate[0] not in ("frames", "named error")} == {}
    assert {fate for fate, _ in fates.values()} == {"frames", "named error"}


def test_a_stream_that_appears_late_is_passed_over(tmp_path: Path) -> None:
    """PyAV stumbles over packets of a stream that was not there when the file was opened."""
    whole = write_video(tmp_path / "whole.ts", width=320, height=240)
    content = bytearray(whole.read_bytes())
    for start in range(len(content) * 9 // 10 // 188 * 188, len(content), 188):  # packets of a transport stream
        if content[start + 1] & 0x1F == 1 and content[start + 2] == 0:  # of the video: stream 256
            content[start + 2] = 1
    path = tmp_path / "changed.ts"
    path.write_bytes(content)
    with av.open(str(path)) as container, pytest.raises(IndexError):
        list(container.demux(container.streams.video[0]))
    with open_video(path) as video:
        assert 30 < video.num_frames < 40
        frames = video.frames([0, 20, 30]).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(frames, decode_all(whole)[[0, 20, 30]])
