"""Benchmarks' runs in processes of their own: what they say when they fail, and which of two runs is reported."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import timing
import torch
import training_speed
from apart import run_apart

PROGRAM = """
import sys
sys.path.insert(0, {benchmarks!r})
import torch
from apart import memory_may_run_out
with memory_may_run_out():
    print("said before")
    {line}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Run":
    return Run(tmp_path / "program.py", monkeypatch)


class Run:
    """Runs a line as a benchmark runs itself."""

    def __init__(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.file = file
        monkeypatch.setattr(sys, "argv", [str(file)])

    def __call__(self, line: str) -> str | None:
        self.file.write_text(PROGRAM.format(benchmarks=str(Path(timing.__file__).parent), line=line))
        return run_apart("--more")


@pytest.mark.parametrize(
    "line",
    [
        "raise torch.OutOfMemoryError('CUDA out of memory')",
        "torch.empty(2 ** 60)",
        "import os; os.kill(os.getpid(), 9)",
    ],
)
def test_running_out_of_memory_is_an_answer(run: Run, line: str) -> None:
    assert run(line) is None


def test_what_it_prints_comes_back(run: Run) -> None:
    assert run("print(sys.argv[1:])") == "said before\n['--more']\n"


def test_another_failure_ends_all_and_its_message_is_seen(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        run("raise RuntimeError('what is wrong')")
    assert "RuntimeError: what is wrong" in capfd.readouterr().err


@pytest.mark.parametrize(("compiled", "runs"), [(False, 1), (True, 2)])
def test_of_compiled_code_a_long_first_run_is_only_a_warm_up(
    compiled: bool, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "LONG_SECONDS", 0.01)
    ran: list[int] = []

    def work(number: int) -> None:
        time.sleep(0.1 if not ran else 0.0)
        ran.append(number)

    found = training_speed.measure_here(work, torch.device("cpu"), compiled=compiled)
    assert len(ran) == runs
    assert found["first"] >= 0.1
    assert (found["wall"] < found["first"]) == compiled


def test_a_table_names_what_ran_out_of_memory(capsys: pytest.CaptureFixture[str]) -> None:
    times = {"ours float32": timing.Times([2.0], [1.0]), "published float32": None}
    timing.print_table("train", times, "ours float32")
    training_speed.print_ratios(times)
    training_speed.print_memory("train", list(times), {"ours float32": 2**20})
    printed = capsys.readouterr().out
    assert "| ours float32 | 1000.0 | 2000.0 | 1.00 | 1.00 |" in printed
    assert "| published float32 | out of memory | | | |" in printed
    assert "| published float32 | out of memory |  |" in printed
    assert "published / ours, float32" not in printed
