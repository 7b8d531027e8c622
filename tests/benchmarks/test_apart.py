"""Benchmarks' runs in processes of their own: what they say when they fail."""

import sys
from collections.abc import Callable
from pathlib import Path

import apart
import pytest

PROGRAM = """
import sys
sys.path.insert(0, {benchmarks!r})
import torch
from apart import memory_may_run_out
with memory_may_run_out():
    print("said before")
    {line}
"""


Run = Callable[[str], str | None]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a line as a benchmark runs itself."""
    file = tmp_path / "program.py"
    monkeypatch.setattr(sys, "argv", [str(file)])

    def run_line(line: str) -> str | None:
        file.write_text(PROGRAM.format(benchmarks=str(Path(apart.__file__).parent), line=line))
        return apart.run_apart("--more")

    return run_line


def test_running_out_of_memory_is_an_answer(run: Run) -> None:
    assert run("torch.empty(2 ** 60)") is None


def test_what_it_prints_comes_back(run: Run) -> None:
    assert run("print(sys.argv[1:])") == "said before\n['--more']\n"
