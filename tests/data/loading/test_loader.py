"""Batches: the same for any number of workers and any start, nothing lost, nothing left behind."""

import multiprocessing
import os
import re
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from misbehaving import open_or_misbehave, open_slowly
from video_files import SAMPLING, TRANSFORM, rows_of
from vitaclip.data import (
    EvalBatch,
    EvalDataset,
    EvalViews,
    TrainBatch,
    TrainClips,
    TrainDataset,
    VideoError,
    VideoSample,
    eval_batches,
    train_batches,
)
from vitaclip.data.loading.dataset import OnError
from vitaclip.data.workers.worker import Worker


def train(folder: Path, broken: tuple[int, ...] = (), on_error: OnError = "skip") -> TrainDataset:
    return TrainDataset(rows_of(folder, broken), TrainClips(SAMPLING, TRANSFORM), 0, on_error)


def evaluation(folder: Path, broken: tuple[int, ...] = (), on_error: OnError = "skip") -> EvalDataset:
    return EvalDataset(rows_of(folder, broken), EvalViews(SAMPLING, 2, 1, 24), on_error)


def assert_same(first: TrainBatch | EvalBatch, second: TrainBatch | EvalBatch) -> None:
    assert torch.equal(first.video, second.video)
    assert torch.equal(first.labels, second.labels)
    assert first.indices == second.indices
    assert first.skipped == second.skipped


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_training_equal_for_any_workers_and_start(video_folder: Path, workers: int) -> None:
    expected = list(train_batches(train(video_folder, broken=(2,)), 0, 6, 4))
    assert [batch.step for batch in expected] == list(range(6))
    assert any(batch.skipped for batch in expected)
    got = list(train_batches(train(video_folder, broken=(2,)), 2, 6, 4, workers))
    assert [batch.step for batch in got] == [2, 3, 4, 5]
    for first, second in zip(expected[2:], got, strict=True):
        assert_same(first, second)


def test_rank_slices_join_to_the_step(video_folder: Path) -> None:
    dataset = train(video_folder, broken=(2,))
    whole = list(train_batches(dataset, 0, 4, 5))
    shares = [list(train_batches(dataset, 0, 4, 5, places=places)) for places in (range(2), range(2, 5))]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert torch.equal(batch.video, torch.cat([part.video for part in parts]))
        assert batch.indices == tuple(row for part in parts for row in part.indices)
        assert batch.skipped == tuple(line for part in parts for line in part.skipped)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 11])
def test_each_video_evaluated_by_one_rank(video_folder: Path, count: int) -> None:
    dataset = evaluation(video_folder, broken=(3,))
    shares = [list(eval_batches(dataset, 3, rank=rank, count=count)) for rank in range(count)]
    whole = list(eval_batches(dataset, 3))
    for first, second in zip(whole, [batch for share in shares for batch in share], strict=True):
        assert_same(first, second)


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_workers_survive_signals_to_process_group(video_folder: Path, asked: signal.Signals) -> None:
    """The main process decides; it may need the batches on their way."""
    batches = train_batches(train(video_folder), 0, 20, 2, workers=2)
    steps = [next(batches).step]
    for worker in multiprocessing.active_children():
        assert worker.pid is not None
        os.kill(worker.pid, asked)
    assert steps + [batch.step for batch in batches] == list(range(20))


def test_training_batch_holds_the_samples(video_folder: Path) -> None:
    dataset = train(video_folder)
    (batch,) = train_batches(dataset, 3, 4, 5)
    samples = [dataset[3, i, 5] for i in range(5)]
    assert batch.video.shape == (5, 4, 3, 24, 24)
    assert batch.video.dtype == torch.uint8
    assert batch.labels.dtype == torch.int64
    assert batch.labels.tolist() == [label for sample in samples for label in sample.labels]
    assert batch.indices == tuple(sample.index for sample in samples)
    for video, sample in zip(batch.video, samples, strict=True):
        assert sample.video is not None
        assert torch.equal(video, sample.video)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_evaluation_sees_every_row_once(video_folder: Path, workers: int, batch_size: int) -> None:
    batches = list(eval_batches(evaluation(video_folder), batch_size, workers))
    assert [row for batch in batches for row in batch.indices] == list(range(10))
    assert [label for batch in batches for label in batch.labels.tolist()] == [row % 3 for row in range(10)]
    video = torch.cat([batch.video for batch in batches])
    assert video.shape == (10, 2, 4, 3, 24, 24)
    assert torch.equal(video, torch.cat([b.video for b in eval_batches(evaluation(video_folder), 10)]))


def test_evaluation_skips_and_reports_broken_videos(video_folder: Path) -> None:
    batches = list(eval_batches(evaluation(video_folder, broken=(2, 3, 7)), 2))
    assert [batch.indices for batch in batches] == [(0, 1), (), (4, 5), (6,), (8, 9)]
    assert [list(batch.skipped) for batch in batches] == [[], [2, 3], [], [7], []]
    assert batches[1].video.shape == (0, 2, 4, 3, 24, 24)
    assert batches[1].labels.shape == (0,)
    assert batches[3].skipped[7].startswith("list.csv:8: ")


@pytest.mark.parametrize("workers", [0, 1])
def test_worker_error_is_one_line(video_folder: Path, workers: int) -> None:
    for batches in (
        eval_batches(evaluation(video_folder, broken=(1,), on_error="raise"), 4, workers),
        train_batches(train(video_folder, broken=(1,), on_error="raise"), 0, 5, 4, workers),
    ):
        with pytest.raises(VideoError, match=r"^list\.csv:2: .* does not exist: check the path$") as caught:
            list(batches)
        assert "\n" not in str(caught.value)


def test_workers_end_when_the_caller_stops_early(video_folder: Path) -> None:
    batches = train_batches(train(video_folder), 0, 1000, 2, workers=2)
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    batches.close()  # type: ignore[attr-defined]
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("workers", [0, 1])
def test_the_global_random_state_is_left_alone(video_folder: Path, workers: int) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(train_batches(train(video_folder), 0, 1, 2, workers))
    assert torch.equal(before, torch.get_rng_state())


def test_wrong_sizes_fail_at_the_call(video_folder: Path) -> None:
    with pytest.raises(ValueError, match="batch_size = 0"):
        train_batches(train(video_folder), 0, 1, 0)
    with pytest.raises(ValueError, match="first_step = -1"):
        train_batches(train(video_folder), -1, 1, 1)
    with pytest.raises(ValueError, match="workers = -1"):
        eval_batches(evaluation(video_folder), 1, -1)


# ------------------------------------------------------------------------ videos that hang the codec or end its process

HANGS = r"/hang\.mp4 took longer than the time limit: leave it out, or raise time_limit_seconds"
DIES = r"/segfault\.mp4 ended the process that read it \(SIGSEGV\): leave it out"
EXITS = r"/exit\.mp4 ended the process that read it \(exit code 3\): leave it out"


@pytest.fixture
def misbehaving(forked_workers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files called hang.mp4, segfault.mp4 and exit.mp4 do."""
    monkeypatch.setattr("vitaclip.data.loading.clips.open_source", open_or_misbehave)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Worker]:
    """The worker processes that were started."""
    found = []
    start = Worker.__init__

    def record(worker: Worker, packed: bytes) -> None:
        found.append(worker)
        start(worker, packed)

    monkeypatch.setattr(Worker, "__init__", record)
    return found


def rows_with(folder: Path, names: Mapping[int, str]) -> list[VideoSample]:
    """The ten rows, some with other files."""
    return [replace(row, path=folder / f"{names.get(n, f'clip{n}')}.mp4") for n, row in enumerate(rows_of(folder))]


@pytest.mark.usefixtures("misbehaving")
@pytest.mark.parametrize("workers", [1, 2])
def test_deadly_video_is_skipped_like_broken_one(video_folder: Path, workers: int, started: list[Worker]) -> None:
    rows = rows_with(video_folder, {2: "hang", 5: "segfault", 7: "exit"})
    expected = list(train_batches(train(video_folder, broken=(2, 5, 7)), 0, 6, 4))
    dataset = TrainDataset(rows, TrainClips(SAMPLING, TRANSFORM), 0, "skip")
    got = list(train_batches(dataset, 0, 6, 4, workers, time_limit_seconds=1.5))
    for first, second in zip(expected, got, strict=True):
        assert torch.equal(first.video, second.video)
        assert (first.step, first.indices) == (second.step, second.indices)
        assert torch.equal(first.labels, second.labels)
        assert len(first.skipped) == len(second.skipped)
    lines = sorted({line for batch in got for line in batch.skipped})
    patterns = f"list.csv:3: .*{HANGS}", f"list.csv:6: .*{DIES}", f"list.csv:8: .*{EXITS}"
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.match(pattern, line), line
    # Seen again and again in three epochs, each costs a process once, or twice where two read it at the same time.
    assert workers + 3 <= len(started) <= workers + 3 * workers
    assert multiprocessing.active_children() == []


@pytest.mark.usefixtures("misbehaving")
def test_evaluation_quarantines_deadly_videos(video_folder: Path, started: list[Worker]) -> None:
    dataset = EvalDataset(rows_with(video_folder, {3: "hang", 4: "segfault"}), EvalViews(SAMPLING, 2, 1, 24), "skip")
    expected = list(eval_batches(evaluation(video_folder, broken=(3, 4)), 3))
    for _ in range(2):
        got = list(eval_batches(dataset, 3, 2, time_limit_seconds=1.0))
        for first, second in zip(expected, got, strict=True):
            assert torch.equal(first.video, second.video)
            assert (first.indices, list(first.skipped)) == (second.indices, list(second.skipped))
        lines = [line for batch in got for line in batch.skipped.values()]
        assert re.match(f"list.csv:4: .*{HANGS}", lines[0])
        assert re.match(f"list.csv:5: .*{DIES}", lines[1])
        assert len(lines) == 2
    assert len(started) == (2 + 2) + 2


@pytest.mark.usefixtures("misbehaving")
@pytest.mark.parametrize(("name", "message"), [("hang", HANGS), ("segfault", DIES)])
def test_a_deadly_video_can_stop_training(video_folder: Path, name: str, message: str) -> None:
    dataset = TrainDataset(rows_with(video_folder, {1: name}), TrainClips(SAMPLING, TRANSFORM), 0, "raise")
    with pytest.raises(VideoError, match=f"^list.csv:2: .*{message}") as caught:
        list(train_batches(dataset, 0, 5, 4, 2, time_limit_seconds=1.0))
    assert "\n" not in str(caught.value)
    assert multiprocessing.active_children() == []


@pytest.mark.usefixtures("forked_workers")
def test_the_time_limit_is_for_one_video(video_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitaclip.data.loading.clips.open_source", open_slowly)  # 0.2 s each
    (batch,) = train_batches(train(video_folder), 0, 1, 20, 1, time_limit_seconds=1.5)
    assert batch.skipped == ()


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGHUP])
def test_a_worker_killed_from_outside_is_replaced(video_folder: Path, sent: signal.Signals) -> None:
    """Whenever: reading or not. Only the batches' order and number can be the same: a video may be blamed for it."""
    batches = eval_batches(evaluation(video_folder), 1, 2)
    seen = [next(batches)]
    for worker in multiprocessing.active_children():
        assert worker.pid is not None
        os.kill(worker.pid, sent)
    seen += list(batches)
    assert sorted(row for batch in seen for row in (*batch.indices, *batch.skipped)) == list(range(10))


@pytest.mark.usefixtures("forked_workers")
def test_repeated_worker_failures_end_the_run(video_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitaclip.data.loading.loader._collate", lambda *_: os._exit(7))  # while no video is being read
    with pytest.raises(ValueError, match=r"10 processes were lost over one batch; .* \(exit code 7\)\. Use fewer"):
        list(train_batches(train(video_folder), 0, 1, 2, 1))
    assert multiprocessing.active_children() == []


@pytest.mark.usefixtures("forked_workers")
def test_internal_error_keeps_its_traceback(video_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitaclip.data.loading.loader._collate", lambda *_: 1 // 0)
    with pytest.raises(RuntimeError, match=r"(?s)a process that makes batches failed:.*loader\.py.*ZeroDivisionError"):
        list(train_batches(train(video_folder), 0, 1, 2, 1))
