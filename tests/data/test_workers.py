"""Watched workers: what they send stays, innocents are not blamed, and none outlives the process that started it."""

import multiprocessing
import multiprocessing.forkserver
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from misbehaving import misbehave, nap, read_two, take, tensors_or_die
from vitaclip.data import workers
from vitaclip.data.workers import MAX_BYTES, Outcome, WorkerPool, run_in_processes

TESTS = Path(__file__).parents[1]
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has it")


def collect_all(pool: WorkerPool[Any, Any]) -> list[Any]:
    found: list[Any] = []
    while pool.pending:
        found += pool.collect()
    return found


# -------------------------------------------------------------------------------------------- one task on many items


def test_every_item_is_reported_once(forked_workers: None) -> None:
    items = ["a", "hang", "b", "segfault", "c", "exit", "refuse", "raise", "hang", "d"]
    outcomes = list(run_in_processes(misbehave, items, 2, time_limit_seconds=1))
    assert sorted(outcome.item for outcome in outcomes) == sorted(items)
    reported = {outcome.item: outcome for outcome in outcomes}
    assert [reported[item] for item in "abcd"] == [Outcome(item, "done", item.upper()) for item in "abcd"]
    assert {item: (outcome.ending, outcome.problem.split(": leave")[0]) for item, outcome in reported.items()} == {
        **dict.fromkeys("abcd", ("done", "")),
        "hang": ("timed out", "hang: took longer than the time limit"),
        "segfault": ("died", "segfault: ended the process that read it (SIGSEGV)"),
        "exit": ("died", "ended the process that read it (exit code 3)"),
        "refuse": ("refused", "refuse: not this one"),
        "raise": ("failed", "raise: KeyError: 'two\\nlines'"),
    }
    assert not multiprocessing.active_children()


def test_one_process_answers_in_order() -> None:
    assert [outcome.item for outcome in run_in_processes(misbehave, "dacb", 1, 60.0)] == list("dacb")
    assert list(run_in_processes(misbehave, [], 2, 1.0)) == []


def test_stopping_early_ends_the_processes(forked_workers: None) -> None:
    outcomes = run_in_processes(misbehave, ["a", "hang", "hang"], 2, 3600.0)
    assert next(outcomes).item == "a"
    outcomes.close()
    assert not multiprocessing.active_children()


def test_without_processes_items_are_done_here() -> None:
    outcomes = list(run_in_processes(misbehave, ["a", "refuse", "raise"], 0, 1.0))
    assert [(each.ending, each.result) for each in outcomes] == [("done", "A"), ("refused", None), ("failed", None)]


@on_linux
def test_item_taking_too_much_memory_fails_alone() -> None:
    sizes = [MAX_BYTES // 2, 2 * MAX_BYTES, 1000]
    outcomes = list(run_in_processes(take, sizes, 1, 60.0))
    assert [outcome.ending for outcome in outcomes] == ["done", "failed", "done"]
    assert "MemoryError" in outcomes[1].problem


# -------------------------------------------------------------------------------------------------- jobs and workers


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_sent_tensors_outlive_their_sender(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if method != "forkserver":
        monkeypatch.setattr(workers, "process_context", lambda: multiprocessing.get_context(method))
    with WorkerPool(tensors_or_die, 1) as pool:
        for item in range(3):
            pool.submit(item)
        multiprocessing.active_children()[0].join(60)
        *answers, last = (outcome for outcome in collect_all(pool))
        for item, outcome in enumerate(answers):
            assert torch.equal(outcome.result["large"], torch.full((300, 100), item))
            assert torch.equal(outcome.result["small"], torch.tensor([item]))
            assert outcome.result["none"].shape == (0, 3)
            assert outcome.result["small"].untyped_storage().nbytes() == 8  # keeping it does not keep the large one
            outcome.result["large"] += 1  # ours
        assert (last.item, last.ending) == (2, "died")


@pytest.mark.usefixtures("forked_workers")
@pytest.mark.parametrize(("how", "ending"), [("hang", "timed out"), ("segfault", "died")])
def test_item_being_read_is_blamed_and_refused(how: str, ending: str) -> None:
    refused: dict[int, str] = {}
    with WorkerPool(read_two, 2, 0.6, refused) as pool:
        for job in (how, "nap", how, "nap"):  # the line of each worker
            pool.submit(job)
        outcomes = collect_all(pool)
        assert list(refused) == [8]
        assert {outcome.ending for outcome in outcomes if outcome.item == how} <= {ending, "refused"}
        pool.submit("nap")
        (after,) = collect_all(pool)
    assert after.ending == "refused"
    assert refused[8] in after.problem


def start_napping(pool: WorkerPool[Any, Any]) -> int:
    """A worker that reads something: its process id."""
    pool.submit("nap")
    (worker,) = multiprocessing.active_children()
    time.sleep(0.5)
    assert worker.pid is not None
    return worker.pid


@pytest.mark.usefixtures("forked_workers")
def test_job_stopped_for_a_while_blames_nobody() -> None:
    """Ctrl-Z, or a cluster that suspends jobs."""
    with WorkerPool(read_two, 1, 1.0) as pool:
        pid = start_napping(pool)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(1.2)
        os.kill(pid, signal.SIGCONT)
        assert [outcome.result for outcome in collect_all(pool)] == ["slept"]


# ------------------------------------------------------------------------------------------ the end of the main process


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


PROGRAM = """
import multiprocessing.forkserver, os, signal, sys, threading, time
from itertools import islice
sys.path.insert(0, sys.argv[1])
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has what it starts in the background ignore it
from dataclasses import replace
from pathlib import Path
from misbehaving import MisbehavingClips
from video_files import SAMPLING, TRANSFORM, rows_of
from vitaclip.data.loading.loader import TrainDataset
from vitaclip.data.config import DataConfig
from vitaclip.data.loading.loader import train_batches
from vitaclip.data.workers import expect_processes

how, folder = sys.argv[2], Path(sys.argv[3])
if sys.argv[4] == "forked":
    expect_processes(DataConfig(workers=2))
rows = rows_of(folder)
if how == "hang":
    rows = [replace(row, path=folder / "hang.mp4") for row in rows]
batches = train_batches(TrainDataset(rows, MisbehavingClips(SAMPLING, TRANSFORM), 0), 0, 1000, 2, 2)

def say():
    while len(multiprocessing.active_children()) < 2:
        time.sleep(0.1)
    time.sleep(0.5)
    server = multiprocessing.forkserver._forkserver._forkserver_pid
    print(server, *(worker.pid for worker in multiprocessing.active_children()), flush=True)

if how == "hang":
    threading.Thread(target=say, daemon=True).start()
    next(batches)
next(batches)
say()
if how == "wait":
    time.sleep(3600)
if how == "ignore":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    time.sleep(0.5)
    say()
    print([batch.skipped for batch in islice(batches, 20)])
"""


ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def launch(how: str, folder: Path, server: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PROGRAM, str(TESTS), how, str(folder), server]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **pipes, start_new_session=True, env=ONE_THREAD)


@pytest.mark.slow
@on_linux
@pytest.mark.parametrize(
    ("how", "sent", "status", "server"),
    [
        ("hang", signal.SIGKILL, -signal.SIGKILL, "program"),
        ("hang", signal.SIGKILL, -signal.SIGKILL, "forked"),
        ("wait", signal.SIGINT, -signal.SIGINT, "forked"),
        ("end", None, 0, "program"),
    ],
)
def test_no_worker_is_left_behind(
    how: str, sent: signal.Signals | None, status: int, server: str, video_folder: Path
) -> None:
    process = launch(how, video_folder, server)
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


@pytest.mark.slow
@pytest.mark.parametrize("server", ["program", "forked"])
def test_sigterm_to_process_group_stops_only_main(server: str, video_folder: Path) -> None:
    """As clusters end jobs. Also whatever else is started: the server that processes are forked from."""
    before, after, skipped = launch("ignore", video_folder, server).communicate(timeout=60)[0].splitlines()
    assert before == after
    assert skipped == str([()] * 20)


STARTS_SERVER = """
import multiprocessing.forkserver, os, sys, threading, time
from pathlib import Path
from vitaclip.data.config import DataConfig
from vitaclip.data.workers import expect_processes, run_in_processes

held, _ = os.pipe()
ours = os.readlink(f"/proc/self/fd/{held}")
print("waits in a buffer,", end=" ")
if sys.argv[1] == "thread":
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
expect_processes(DataConfig(workers=1))
(outcome,) = run_in_processes(str.upper, ["done"], 1, 60.0)
server = Path(f"/proc/{multiprocessing.forkserver._forkserver._forkserver_pid}")
is_fork = (server / "cmdline").read_bytes() == Path("/proc/self/cmdline").read_bytes()
print(outcome.result, is_fork, ours in [os.readlink(file) for file in (server / "fd").iterdir()])
"""


@pytest.mark.slow
@on_linux
@pytest.mark.parametrize(("threads", "is_fork"), [("alone", True), ("thread", False)])
def test_server_is_a_fork_without_our_files(threads: str, is_fork: bool) -> None:
    """Unless another thread may hold a lock."""
    command = [sys.executable, "-c", STARTS_SERVER, threads]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=ONE_THREAD)
    assert ended.stdout == f"waits in a buffer, DONE {is_fork} False\n"


DIES_AT_ONCE = """
import multiprocessing, os, signal
from vitaclip.data.workers import WorkerPool

WorkerPool(print, 1).submit("")
print(multiprocessing.active_children()[0].pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)  # long before the process has imported this program
"""


@pytest.mark.slow
@on_linux
def test_worker_ends_whose_parent_dies_while_it_starts() -> None:
    command = [sys.executable, "-c", DIES_AT_ONCE]  # a worker that stays would hold the pipe open
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=30)
    assert ended.returncode == -signal.SIGKILL
    assert_gone([int(ended.stdout)])


def test_killed_server_takes_no_worker_with_it() -> None:
    """As when the system is short of memory and takes it."""
    with WorkerPool(nap, 2) as pool:
        pool.submit(7)
        server = multiprocessing.forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]  # no other name
        os.kill(server, signal.SIGKILL)
        assert_gone([server])
        for job in (8, 9, 10):
            pool.submit(job)
        pids = [worker.pid for worker in multiprocessing.active_children()]
        assert sorted((outcome.item, outcome.result) for outcome in collect_all(pool)) == [
            (job, "slept") for job in (7, 8, 9, 10)
        ]
    assert_gone([pid for pid in pids if pid is not None])


@pytest.mark.slow
def test_script_without_main_guard_is_told(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from vitaclip.data.workers import run_in_processes\nprint(list(run_in_processes(print, [0], 1, 60)))\n"
    )
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=60)
    remedy = "processes cannot be started (exit code 1); a script needs `if __name__ == '__main__':` around its calls"
    assert ended.stderr.splitlines()[-1] == f"RuntimeError: {remedy}"
