"""Batches: the same for any number of workers and any start, nothing lost, nothing left behind."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch

from video_files import SAMPLING, TRANSFORM, rows_of
from vitaclip.data import (
    EvalBatch,
    EvalDataset,
    TrainBatch,
    TrainDataset,
    VideoError,
    eval_batches,
    train_batches,
)
from vitaclip.data.samples import OnError


def train(folder: Path, broken: tuple[int, ...] = (), on_error: OnError = "skip") -> TrainDataset:
    return TrainDataset(rows_of(folder, broken), SAMPLING, TRANSFORM, 0, on_error)


def evaluation(folder: Path, broken: tuple[int, ...] = (), on_error: OnError = "skip") -> EvalDataset:
    return EvalDataset(rows_of(folder, broken), SAMPLING, 2, 1, 24, on_error)


def assert_same(first: TrainBatch | EvalBatch, second: TrainBatch | EvalBatch) -> None:
    assert torch.equal(first.video, second.video)
    assert torch.equal(first.labels, second.labels)
    assert first.rows == second.rows
    assert first.skipped == second.skipped


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_training_is_the_same_for_any_workers_and_any_start(video_folder: Path, workers: int) -> None:
    expected = list(train_batches(train(video_folder, broken=(2,)), 0, 6, 4))
    assert [batch.step for batch in expected] == list(range(6))
    assert any(batch.skipped for batch in expected)
    got = list(train_batches(train(video_folder, broken=(2,)), 2, 6, 4, workers))
    assert [batch.step for batch in got] == [2, 3, 4, 5]
    for first, second in zip(expected[2:], got, strict=True):
        assert_same(first, second)


def test_the_shares_of_a_step_make_the_step(video_folder: Path) -> None:
    dataset = train(video_folder, broken=(2,))
    whole = list(train_batches(dataset, 0, 4, 5))
    shares = [list(train_batches(dataset, 0, 4, 5, places=places)) for places in (range(2), range(2, 5))]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert torch.equal(batch.video, torch.cat([part.video for part in parts]))
        assert batch.rows == tuple(row for part in parts for row in part.rows)
        assert batch.skipped == tuple(line for part in parts for line in part.skipped)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 11])
def test_of_several_processes_each_video_is_evaluated_by_one(video_folder: Path, count: int) -> None:
    dataset = evaluation(video_folder, broken=(3,))
    shares = [list(eval_batches(dataset, 3, rank=rank, count=count)) for rank in range(count)]
    whole = list(eval_batches(dataset, 3))
    for first, second in zip(whole, [batch for share in shares for batch in share], strict=True):
        assert_same(first, second)
        assert first.left_out == second.left_out


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_workers_go_on_when_the_whole_job_is_asked_to_end(video_folder: Path, asked: signal.Signals) -> None:
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
    samples = [dataset.sample(3, i, 5) for i in range(5)]
    assert batch.video.shape == (5, 1, 4, 3, 24, 24)
    assert batch.video.dtype == torch.uint8
    assert batch.labels.dtype == torch.int64
    assert batch.labels.tolist() == [sample.label for sample in samples]
    assert batch.rows == tuple(sample.index for sample in samples)
    for video, sample in zip(batch.video, samples, strict=True):
        assert sample.video is not None
        assert torch.equal(video, sample.video)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_evaluation_sees_every_row_once(video_folder: Path, workers: int, batch_size: int) -> None:
    batches = list(eval_batches(evaluation(video_folder), batch_size, workers))
    assert [row for batch in batches for row in batch.rows] == list(range(10))
    assert [label for batch in batches for label in batch.labels.tolist()] == [row % 3 for row in range(10)]
    video = torch.cat([batch.video for batch in batches])
    assert video.shape == (10, 2, 4, 3, 24, 24)
    assert torch.equal(video, torch.cat([b.video for b in eval_batches(evaluation(video_folder), 10)]))


def test_evaluation_leaves_broken_videos_out_and_says_so(video_folder: Path) -> None:
    batches = list(eval_batches(evaluation(video_folder, broken=(2, 3, 7)), 2))
    assert [batch.rows for batch in batches] == [(0, 1), (), (4, 5), (6,), (8, 9)]
    assert [batch.left_out for batch in batches] == [(), (2, 3), (), (7,), ()]
    assert batches[1].video.shape == (0, 2, 4, 3, 24, 24)
    assert batches[1].labels.shape == (0,)
    assert batches[3].skipped[0].startswith("list.csv:8: ")


@pytest.mark.parametrize("workers", [0, 1])
def test_fault_16_a_broken_video_is_one_line_also_from_a_worker(video_folder: Path, workers: int) -> None:
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
