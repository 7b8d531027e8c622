"""A sample that fails in a way that nobody thought of is skipped and named, and changes nothing about the others."""

from pathlib import Path
from typing import Any

import pytest
import torch

from vitaclip.data import (
    EvalDataset,
    EvalViews,
    FrameSampling,
    TrainClips,
    TrainDataset,
    TrainTransform,
    VideoError,
    VideoSample,
    eval_batches,
)
from vitaclip.data.loading.loader import train_batches
from vitaclip.data.reading import frame_folder
from vitaclip.data.tools.scan import check_video
from vitaclip.data.workers.processes import run_in_processes

SAMPLING = FrameSampling("segments", 4)
ERRORS = {
    "memory.mp4": MemoryError(),
    "allocator.mp4": RuntimeError("DefaultCPUAllocator: can't allocate memory\nyou tried"),
    "overflow.mp4": OverflowError("too large"),
    "depth.mp4": RecursionError("maximum recursion depth exceeded"),
}


@pytest.fixture
def rows(video_folder: Path, monkeypatch: pytest.MonkeyPatch, forked_workers: None) -> list[VideoSample]:
    """Two videos that are read and four that fail."""
    del forked_workers
    opening = frame_folder.open_source

    def open_or_fail(path: Path, *arguments: Any, **options: Any) -> Any:
        if Path(path).name in ERRORS:
            raise ERRORS[Path(path).name]
        return opening(path, *arguments, **options)

    for place in ("loading.clips", "tools.scan"):
        monkeypatch.setattr(f"vitaclip.data.{place}.open_source", open_or_fail)
    good = [video_folder / "clip0.mp4", video_folder / "clip1.mp4"]
    paths = [good[0], *(video_folder / name for name in ERRORS), good[1]]
    return [VideoSample(path, (0,), f"list.csv:{n}") for n, path in enumerate(paths, start=1)]


def check_lines(lines: tuple[str, ...], rows: list[VideoSample]) -> None:
    """Each failure is one line with its place, path and kind."""
    assert len(lines) == 4
    for line, row in zip(lines, rows[1:5], strict=True):
        assert line.startswith(f"{row.source}: {row.path} cannot be read ({type(ERRORS[row.path.name]).__name__}: ")
        assert "\n" not in line


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_leaves_out_every_failure(rows: list[VideoSample], workers: int) -> None:
    dataset = EvalDataset(rows, EvalViews(SAMPLING, 1, 1, 16), on_error="skip")
    batches = list(eval_batches(dataset, 3, workers, time_limit_seconds=60))
    check_lines(tuple(line for batch in batches for line in batch.skipped.values()), rows)
    assert [row for batch in batches for row in batch.skipped] == [1, 2, 3, 4]
    alone = EvalDataset([rows[0], rows[5]], EvalViews(SAMPLING, 1, 1, 16))
    found = torch.cat([batch.video for batch in batches])
    assert torch.equal(found, torch.stack([sample.video for n in (0, 1) if (sample := alone[n]).video is not None]))


@pytest.mark.parametrize("workers", [0, 1])
def test_training_replaces_every_failure(rows: list[VideoSample], workers: int) -> None:
    dataset = TrainDataset(rows, TrainClips(SAMPLING, TrainTransform(size=16)), seed=1, on_error="skip")
    (batch,) = train_batches(dataset, 0, 1, 6, workers, time_limit_seconds=60)
    assert set(batch.indices) <= {0, 5}
    met = dict.fromkeys(line.split(": ")[0] for line in batch.skipped)
    assert sorted(met) == [f"list.csv:{n}" for n in range(2, 6)]
    stopping = TrainDataset(rows, TrainClips(SAMPLING, TrainTransform(size=16)), seed=1)
    with pytest.raises(VideoError, match=r"list\.csv:\d: .* cannot be read \(\w+Error: "):
        list(train_batches(stopping, 0, 1, 6, workers))


def test_scan_reports_every_failure(rows: list[VideoSample]) -> None:
    outcomes = {o.item: o for o in run_in_processes(check_video, [row.path for row in rows[1:]], 2, 60)}
    assert [outcomes[row.path].ending for row in rows[1:]] == [*(4 * ["failed"]), "done"]
