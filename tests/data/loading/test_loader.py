"""Batches: the same for any number of workers and any start, nothing lost, nothing left behind."""

import multiprocessing
import os
import re
import signal
from collections.abc import Mapping
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch

from misbehaving import open_or_misbehave, open_slowly
from video_files import SAMPLING, TRANSFORM, rows_of
from vitaclip.data.lists.video_list import VideoSample
from vitaclip.data.loading.clips import EvalViews, TrainClips
from vitaclip.data.loading.loader import (
    EvalBatch,
    EvalDataset,
    OnError,
    TrainBatch,
    TrainDataset,
    eval_batches,
    train_batches,
)
from vitaclip.data.reading import decode
from vitaclip.data.reading.container import VideoError


def train(rows: list[VideoSample], on_error: OnError = "skip") -> TrainDataset:
    return TrainDataset(rows, TrainClips(SAMPLING, TRANSFORM), 0, on_error)


def evaluation(rows: list[VideoSample], on_error: OnError = "skip") -> EvalDataset:
    return EvalDataset(rows, EvalViews(SAMPLING, 2, 1, 24), on_error)


def assert_same(first: TrainBatch | EvalBatch, second: TrainBatch | EvalBatch) -> None:
    assert torch.equal(first.video, second.video)
    assert torch.equal(first.labels, second.labels)
    assert first.indices == second.indices
    assert len(first.skipped) == len(second.skipped)


def signal_workers(number: signal.Signals) -> None:
    for worker in multiprocessing.active_children():
        assert worker.pid is not None
        os.kill(worker.pid, number)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_training_equal_for_any_workers_and_start(video_folder: Path, workers: int) -> None:
    rows = rows_of(video_folder, broken=(2,))
    expected = list(train_batches(train(rows), 0, 6, 4))
    assert [batch.step for batch in expected] == list(range(6))
    assert any(batch.skipped for batch in expected)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    got = list(train_batches(train(rows), 2, 6, 4, workers))
    assert torch.equal(before, torch.get_rng_state())
    assert [batch.step for batch in got] == [2, 3, 4, 5]
    for first, second in zip(expected[2:], got, strict=True):
        assert_same(first, second)
        assert first.skipped == second.skipped


def test_rank_slices_join_to_the_step(video_folder: Path) -> None:
    dataset = train(rows_of(video_folder, broken=(2,)))
    whole = list(train_batches(dataset, 0, 4, 5))
    shares = [list(train_batches(dataset, 0, 4, 5, places=places)) for places in (range(2), range(2, 5))]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert torch.equal(batch.video, torch.cat([part.video for part in parts]))
        assert batch.indices == tuple(row for part in parts for row in part.indices)
        assert batch.skipped == tuple(line for part in parts for line in part.skipped)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 11])
def test_each_video_evaluated_by_one_rank(video_folder: Path, count: int) -> None:
    dataset = evaluation(rows_of(video_folder, broken=(3,)))
    shares = [list(eval_batches(dataset, 3, rank=rank, count=count)) for rank in range(count)]
    whole = list(eval_batches(dataset, 3))
    for first, second in zip(whole, [batch for share in shares for batch in share], strict=True):
        assert_same(first, second)


def test_training_batch_holds_the_samples(video_folder: Path) -> None:
    dataset = train(rows_of(video_folder))
    (batch,) = train_batches(dataset, 3, 4, 5)
    samples = [dataset[3, i, 5] for i in range(5)]
    assert (batch.video.shape, batch.video.dtype, batch.labels.dtype) == ((5, 4, 3, 24, 24), torch.uint8, torch.int64)
    assert batch.labels.tolist() == [label for sample in samples for label in sample.labels]
    assert batch.indices == tuple(sample.index for sample in samples)
    assert torch.equal(batch.video, torch.stack([sample.video for sample in samples if sample.video is not None]))


@pytest.mark.parametrize(("workers", "batch_size"), [(0, 1), (0, 16), (2, 3)])
def test_evaluation_sees_every_row_once(video_folder: Path, workers: int, batch_size: int) -> None:
    dataset = evaluation(rows_of(video_folder))
    batches = list(eval_batches(dataset, batch_size, workers))
    assert [row for batch in batches for row in batch.indices] == list(range(10))
    assert [label for batch in batches for label in batch.labels.tolist()] == [row % 3 for row in range(10)]
    video = torch.cat([batch.video for batch in batches])
    assert video.shape == (10, 2, 4, 3, 24, 24)
    assert torch.equal(video, torch.cat([batch.video for batch in eval_batches(dataset, 10)]))


def test_evaluation_skips_and_reports_broken_videos(video_folder: Path) -> None:
    batches = list(eval_batches(evaluation(rows_of(video_folder, broken=(2, 3, 7))), 2))
    assert [batch.indices for batch in batches] == [(0, 1), (), (4, 5), (6,), (8, 9)]
    assert [list(batch.skipped) for batch in batches] == [[], [2, 3], [], [7], []]
    assert batches[1].video.shape == (0, 2, 4, 3, 24, 24)
    assert batches[1].labels.shape == (0,)
    assert batches[3].skipped[7].startswith("list.csv:8: ")


@pytest.mark.parametrize("workers", [0, 1])
def test_worker_error_is_one_line(video_folder: Path, workers: int) -> None:
    rows = rows_of(video_folder, broken=(1,))
    evaluated = eval_batches(evaluation(rows, "raise"), 4, workers)
    for batches in (evaluated, train_batches(train(rows, "raise"), 0, 5, 4, workers)):
        with pytest.raises(VideoError, match=r"^list\.csv:2: .* does not exist: check the path$") as caught:
            list(batches)
        assert "\n" not in str(caught.value)


def test_workers_survive_signals_to_process_group(video_folder: Path) -> None:
    """The main process decides; it may need the batches on their way."""
    batches = train_batches(train(rows_of(video_folder)), 0, 20, 2, workers=2)
    steps = [next(batches).step]
    pids = {worker.pid for worker in multiprocessing.active_children()}
    for asked in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal_workers(asked)
    assert [*steps, next(batches).step, next(batches).step] == [0, 1, 2]
    assert pids == {worker.pid for worker in multiprocessing.active_children()}
    assert [batch.step for batch in batches] == list(range(3, 20))


# ------------------------------------------------------------------------ videos that hang the codec or end its process

HANGS = r"/hang\.mp4 took longer than the time limit: leave it out, or raise time_limit_seconds"
DIES = r"/segfault\.mp4 ended the process that read it \(SIGSEGV\): leave it out"
EXITS = r"/exit\.mp4 ended the process that read it \(exit code 3\): leave it out"


@pytest.fixture
def misbehaving(forked_workers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files called hang.mp4, segfault.mp4 and exit.mp4 do."""
    monkeypatch.setattr("vitaclip.data.loading.clips.open_video", open_or_misbehave)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[BaseProcess]:
    """The worker processes that were started."""
    found, start = list[BaseProcess](), BaseProcess.start

    def record(process: BaseProcess) -> None:
        found.append(process)
        start(process)

    monkeypatch.setattr(BaseProcess, "start", record)
    return found


def rows_with(folder: Path, names: Mapping[int, str]) -> list[VideoSample]:
    """The ten rows, some with other files."""
    return [replace(row, path=folder / f"{names.get(n, f'clip{n}')}.mp4") for n, row in enumerate(rows_of(folder))]


@pytest.mark.usefixtures("misbehaving")
def test_deadly_video_is_skipped_like_broken_one(video_folder: Path, started: list[BaseProcess]) -> None:
    expected = list(train_batches(train(rows_of(video_folder, broken=(2, 5, 7))), 0, 6, 4))
    dataset = train(rows_with(video_folder, {2: "hang", 5: "segfault", 7: "exit"}))
    got = list(train_batches(dataset, 0, 6, 4, workers=2, time_limit_seconds=1))
    for first, second in zip(expected, got, strict=True):
        assert_same(first, second)
    lines = sorted({line for batch in got for line in batch.skipped})
    patterns = f"list.csv:3: .*{HANGS}", f"list.csv:6: .*{DIES}", f"list.csv:8: .*{EXITS}"
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.match(pattern, line), line
    # Seen again and again in three epochs, each costs a process once, or twice where two read it at the same time.
    assert 2 + 3 <= len(started) <= 2 + 3 * 2
    assert multiprocessing.active_children() == []


@pytest.mark.usefixtures("misbehaving")
def test_evaluation_quarantines_deadly_videos(video_folder: Path, started: list[BaseProcess]) -> None:
    dataset = evaluation(rows_with(video_folder, {3: "hang", 4: "segfault"}))
    expected = list(eval_batches(evaluation(rows_of(video_folder, broken=(3, 4))), 3))
    for _ in range(2):
        got = list(eval_batches(dataset, 3, 2, time_limit_seconds=1))
        for first, second in zip(expected, got, strict=True):
            assert_same(first, second)
        lines = [line for batch in got for line in batch.skipped.values()]
        assert re.match(f"list.csv:4: .*{HANGS}", lines[0])
        assert re.match(f"list.csv:5: .*{DIES}", lines[1])
    assert len(started) <= (2 + 2) + 2


@pytest.mark.usefixtures("misbehaving")
@pytest.mark.parametrize(("name", "message"), [("hang", HANGS), ("segfault", DIES)])
def test_deadly_video_can_stop_training(video_folder: Path, name: str, message: str) -> None:
    dataset = train(rows_with(video_folder, {1: name}), "raise")
    with pytest.raises(VideoError, match=f"^list.csv:2: .*{message}") as caught:
        list(train_batches(dataset, 0, 5, 4, 2, time_limit_seconds=0.5))
    assert "\n" not in str(caught.value)
    assert multiprocessing.active_children() == []


@pytest.mark.usefixtures("forked_workers")
def test_time_limit_is_for_one_video(video_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitaclip.data.loading.clips.open_video", open_slowly)  # 0.2 s each
    (batch,) = train_batches(train(rows_of(video_folder)), 0, 1, 6, 1, time_limit_seconds=1)
    assert batch.skipped == ()


def test_worker_killed_from_outside_is_replaced(video_folder: Path) -> None:
    """Whenever: reading or not. Only the batches' order and number can be the same: a video may be blamed for it."""
    batches = eval_batches(evaluation(rows_of(video_folder)), 1, 2)
    seen = [next(batches)]
    signal_workers(signal.SIGKILL)
    seen += list(batches)
    assert sorted(row for batch in seen for row in (*batch.indices, *batch.skipped)) == list(range(10))


@pytest.mark.usefixtures("forked_workers")
def test_repeated_worker_failures_end_the_run(video_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitaclip.data.loading.loader._collate", lambda *_: os._exit(7))  # while no video is being read
    with pytest.raises(ValueError, match=r"10 workers were lost over one batch; .* \(exit code 7\): .* use fewer"):
        list(train_batches(train(rows_of(video_folder)), 0, 1, 2, 1))
    assert multiprocessing.active_children() == []


@pytest.mark.usefixtures("forked_workers")
def test_internal_error_keeps_its_traceback(video_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitaclip.data.loading.loader._collate", lambda *_: 1 // 0)
    with pytest.raises(RuntimeError, match=r"(?s)ZeroDivisionError: .*loader\.py.*ZeroDivisionError"):
        list(train_batches(train(rows_of(video_folder)), 0, 1, 2, 1))


# -------------------------------------------------------------------------------- samples that fail in unforeseen ways

ERRORS = {
    1: MemoryError(),
    2: RuntimeError("DefaultCPUAllocator: can't allocate memory\nyou tried"),
    3: OverflowError("too large"),
    4: RecursionError("maximum recursion depth exceeded"),
}


@pytest.fixture
def failing(video_folder: Path, monkeypatch: pytest.MonkeyPatch, forked_workers: None) -> list[VideoSample]:
    """Ten videos, of which four fail."""
    opening = decode.open_video

    def open_or_fail(path: Path, *arguments: Any) -> Any:
        if path.parent.name in map(str, ERRORS):
            raise ERRORS[int(path.parent.name)]
        return opening(path, *arguments)

    monkeypatch.setattr("vitaclip.data.loading.clips.open_video", open_or_fail)
    return rows_with(video_folder, {n: f"{n}/clip" for n in ERRORS})


@pytest.mark.parametrize("workers", [0, 2])
def test_every_failure_is_left_out_by_name(failing: list[VideoSample], workers: int) -> None:
    batches = list(eval_batches(evaluation(failing), 3, workers))
    lines = {index: line for batch in batches for index, line in batch.skipped.items()}
    assert [row for batch in batches for row in batch.indices] == [0, 5, 6, 7, 8, 9]
    assert list(lines) == [1, 2, 3, 4]
    for index, error in ERRORS.items():
        place = f"{failing[index].source}: {failing[index].path}"
        assert lines[index].startswith(f"{place} cannot be read ({type(error).__name__}: ")
        assert "\n" not in lines[index]
    (batch,) = train_batches(train(failing), 0, 1, 10, workers)
    assert not set(batch.indices) & set(ERRORS)
    assert {line.split(": ")[0] for line in batch.skipped} == {failing[n].source for n in ERRORS}
    with pytest.raises(VideoError, match=r"list\.csv:\d: .* cannot be read \(\w+Error: "):
        list(train_batches(train(failing, "raise"), 0, 1, 10, workers))
