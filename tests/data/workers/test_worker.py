"""Watched processes: what they send stays, innocents are not blamed, and none outlives the one that started it."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from misbehaving import misbehave, send_and_die
from vitaclip.data.workers.worker import Lost, Mark, Worker, answers, end

TESTS = Path(__file__).parents[2]


def nap(item: int, mark: Mark) -> str:
    with mark.at(item):
        for _ in range(20):  # a single sleep would be over at once after a stop
            time.sleep(0.01)
    return "slept"


def hang(item: int, mark: Mark) -> str:
    with mark.at(item):
        return misbehave("hang")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_what_was_sent_is_there_when_the_sender_is_gone(method: str) -> None:
    worker = Worker(multiprocessing.get_context(method), send_and_die)
    for item in range(3):
        worker.give(item)
    worker._process.join(60)
    for item in range(2):
        ((_, answer),) = answers([worker])
        assert torch.equal(answer["large"], torch.full((300, 100), item))
        assert torch.equal(answer["small"], torch.tensor([item]))
        assert answer["none"].shape == (0, 3)
        assert answer["small"].untyped_storage().nbytes() == 8  # keeping it does not keep the large one
        answer["large"] += 1  # ours
    ((_, lost),) = answers([worker])
    assert lost == Lost(None, False, "ended the process that read it (exit code 1)")
    end([worker])


def test_a_process_that_hangs_is_killed_and_what_it_was_at_is_told() -> None:
    workers = [Worker(multiprocessing.get_context(), task) for task in (hang, nap)]
    for number, worker in enumerate(workers):
        worker.give(number + 5)
    got: dict[Worker, object] = {}
    while len(got) < 2:
        got |= dict(answers([worker for worker in workers if worker not in got], 1.0))
    assert got == {workers[0]: Lost(5, True, "took longer than the time limit"), workers[1]: "slept"}
    end(workers)


def test_a_job_that_was_stopped_for_a_while_blames_nobody() -> None:
    """Ctrl-Z, or a cluster that suspends jobs."""
    worker = Worker(multiprocessing.get_context(), nap)
    worker.give(0)
    while not worker.mark.since:
        time.sleep(0.001)
    assert worker._process.pid is not None
    os.kill(worker._process.pid, signal.SIGSTOP)
    time.sleep(1.2)
    os.kill(worker._process.pid, signal.SIGCONT)
    found: list[object] = []
    while not found:
        found = [answer for _, answer in answers([worker], 1.0)]
    assert found == ["slept"]
    end([worker])


# ------------------------------------------------------------------------------------------ the end of the main process

PROGRAM = """
import os, signal, sys, threading, time
sys.path.insert(0, sys.argv[1])
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has what it starts in the background ignore it
from dataclasses import replace
from pathlib import Path
import vitaclip.data.loading.dataset
from misbehaving import open_or_misbehave
from video_files import SAMPLING, TRANSFORM, rows_of
from vitaclip.data import TrainDataset, train_batches

how, folder = sys.argv[2], Path(sys.argv[3])
rows = rows_of(folder)
if how == "hang":
    vitaclip.data.loading.dataset.open_clip = open_or_misbehave
    rows = [replace(row, path=folder / "hang.mp4") for row in rows]
batches = train_batches(TrainDataset(rows, SAMPLING, TRANSFORM, 0), 0, 1000, 2, 2)

def say():
    time.sleep(1)
    print(Path(f"/proc/self/task/{os.getpid()}/children").read_text(), flush=True)

if how == "hang":
    threading.Thread(target=say, daemon=True).start()
    next(batches)
next(batches)
say()
if how == "wait":
    time.sleep(3600)
"""


def launch(how: str, folder: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PROGRAM, str(TESTS), how, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def assert_gone(pids: list[int]) -> None:
    for _ in range(200):
        if not any(map(is_alive, pids)):
            return
        time.sleep(0.05)
    raise AssertionError(f"{[pid for pid in pids if is_alive(pid)]} still run")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("how", "sent", "status"),
    [
        ("hang", signal.SIGKILL, -signal.SIGKILL),
        ("wait", signal.SIGTERM, -signal.SIGTERM),
        ("wait", signal.SIGINT, -signal.SIGINT),
        ("end", None, 0),
    ],
)
def test_no_worker_is_left_behind(how: str, sent: signal.Signals | None, status: int, video_folder: Path) -> None:
    process = launch(how, video_folder)
    assert process.stdout is not None
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == 2
    if sent == signal.SIGKILL:
        process.kill()
    elif sent:
        os.killpg(process.pid, sent)
    assert process.wait(60) == status
    assert_gone(pids)
    process.communicate()


DIES_AT_ONCE = """
import multiprocessing, os, signal, time
from vitaclip.data.workers import worker

at_once = signal.signal
worker.signal.signal = lambda *what: (time.sleep(0.5), at_once(*what))  # a slow start; the fork has it too
started = worker.Worker(multiprocessing.get_context("fork"), print)
print(started._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_worker_whose_parent_dies_while_it_starts_ends_too() -> None:
    command = [sys.executable, "-c", DIES_AT_ONCE]  # a worker that stays would hold the pipe open
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=30)
    assert ended.returncode == -signal.SIGKILL
    assert_gone([int(ended.stdout)])
