"""Watched processes: what they send stays, innocents are not blamed, and none outlives the one that started it."""

import multiprocessing
import multiprocessing.forkserver
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from misbehaving import hang, nap, send_and_die
from vitaclip.data.workers import worker as worker_module
from vitaclip.data.workers.worker import Worker, WorkerFailure, answers, end, pack

TESTS = Path(__file__).parents[2]


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


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_what_was_sent_is_there_when_the_sender_is_gone(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if method != "forkserver":
        monkeypatch.setattr(worker_module, "process_context", lambda: multiprocessing.get_context(method))
    worker = Worker(pack(send_and_die))
    for item in range(3):
        worker.submit(item)
    worker.process.join(60)
    for item in range(2):
        ((_, answer),) = answers([worker])
        assert torch.equal(answer["large"], torch.full((300, 100), item))
        assert torch.equal(answer["small"], torch.tensor([item]))
        assert answer["none"].shape == (0, 3)
        assert answer["small"].untyped_storage().nbytes() == 8  # keeping it does not keep the large one
        answer["large"] += 1  # ours
    ((_, lost),) = answers([worker])
    assert lost == WorkerFailure(None, False, "ended the process that read it (exit code 1)")
    end([worker])


def test_a_process_that_hangs_is_killed_and_what_it_was_at_is_told() -> None:
    workers = [Worker(pack(task)) for task in (hang, nap)]
    for number, worker in enumerate(workers):
        worker.submit(number + 5)
    got: dict[Worker, object] = {}
    while len(got) < 2:
        got |= dict(answers([worker for worker in workers if worker not in got], 1.0))
    assert got == {workers[0]: WorkerFailure(5, True, "took longer than the time limit"), workers[1]: "slept"}
    end(workers)


def test_a_job_that_was_stopped_for_a_while_blames_nobody() -> None:
    """Ctrl-Z, or a cluster that suspends jobs."""
    worker = Worker(pack(nap))
    worker.submit(0)
    while not worker.heartbeat.since:
        time.sleep(0.001)
    assert worker.process.pid is not None
    os.kill(worker.process.pid, signal.SIGSTOP)
    time.sleep(1.2)
    os.kill(worker.process.pid, signal.SIGCONT)
    found: list[object] = []
    while not found:
        found = [answer for _, answer in answers([worker], 1.0)]
    assert found == ["slept"]
    end([worker])


# ------------------------------------------------------------------------------------------ the end of the main process

PROGRAM = """
import multiprocessing.forkserver, signal, sys, threading, time
sys.path.insert(0, sys.argv[1])
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has what it starts in the background ignore it
from dataclasses import replace
from pathlib import Path
from misbehaving import MisbehavingClips
from video_files import SAMPLING, TRANSFORM, rows_of
from vitaclip.data import TrainDataset, train_batches

how, folder = sys.argv[2], Path(sys.argv[3])
rows = rows_of(folder)
if how == "hang":
    rows = [replace(row, path=folder / "hang.mp4") for row in rows]
batches = train_batches(TrainDataset(rows, MisbehavingClips(SAMPLING, TRANSFORM), 0), 0, 1000, 2, 2)

def say():
    while len(multiprocessing.active_children()) < 2:
        time.sleep(0.1)
    time.sleep(1)
    server = multiprocessing.forkserver._forkserver._forkserver_pid
    print(server, *(worker.pid for worker in multiprocessing.active_children()), flush=True)

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
    assert len(pids) == 3
    if sent == signal.SIGKILL:
        process.kill()
    elif sent:
        os.killpg(process.pid, sent)
    assert process.wait(60) == status
    assert_gone(pids)
    process.communicate()


DIES_AT_ONCE = """
import os, signal
from vitaclip.data.workers.worker import Worker, pack

started = Worker(pack(print))
print(started.process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)  # long before the process has imported this program
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_worker_whose_parent_dies_while_it_starts_ends_too() -> None:
    command = [sys.executable, "-c", DIES_AT_ONCE]  # a worker that stays would hold the pipe open
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=30)
    assert ended.returncode == -signal.SIGKILL
    assert_gone([int(ended.stdout)])


def test_a_job_of_which_every_process_gets_sigterm_loses_none_but_the_main_one(video_folder: Path) -> None:
    """As clusters end jobs. Also whatever else is started: the server that processes are forked from."""
    program = PROGRAM.replace("how, folder =", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nhow, folder =")
    program += "\nos.killpg(0, signal.SIGTERM)\ntime.sleep(1)\nsay()\nprint([b.skipped for b in islice(batches, 20)])"
    command = [
        sys.executable,
        "-c",
        f"import os\nfrom itertools import islice\n{program}",
        str(TESTS),
        "end",
        str(video_folder),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, start_new_session=True)
    before, after, skipped = ended.stdout.splitlines()
    assert before == after
    assert skipped == str([()] * 20)


def test_a_server_that_is_killed_takes_no_worker_with_it() -> None:
    """As when the system is short of memory and takes it."""
    worker = Worker(pack(nap))
    worker.submit(7)
    while not worker.heartbeat.since:
        time.sleep(0.001)
    server = multiprocessing.forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]  # it has no other name
    os.kill(server, signal.SIGKILL)
    assert_gone([server])
    after = Worker(pack(nap))
    for each in (worker, after):
        each.submit(8)
    assert [answer for each in (worker, worker, after) for _, answer in answers([each])] == ["slept"] * 3
    pids = [each.process.pid for each in (worker, after)]
    end([worker, after])
    assert_gone([pid for pid in pids if pid is not None])


def test_the_server_is_there_before_the_first_process_where_some_are_expected() -> None:
    program = (
        "from multiprocessing.forkserver import _forkserver\n"
        "from vitaclip.data.config import DataConfig\n"
        "from vitaclip.data import expect_processes\n"
        "for data in (DataConfig(workers=0), DataConfig(workers=2, feature_cache='kept'), DataConfig(workers=2)):\n"
        "    expect_processes(data)\n"
        "    print(_forkserver._forkserver_pid is not None)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.split() == ["False", "False", "True"]


def test_a_script_that_starts_processes_as_it_is_imported_is_told_what_it_lacks(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from vitaclip.data.workers.worker import Worker, answers, pack\n"
        "worker = Worker(pack(print))\n"
        "worker.submit(0)\n"
        "print(list(answers([worker])))\n"
    )
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=60)
    remedy = "processes cannot be started (exit code 1); a script needs `if __name__ == '__main__':` around its calls"
    assert ended.stderr.splitlines()[-1] == f"RuntimeError: {remedy}"
