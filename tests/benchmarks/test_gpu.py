"""The GPU benchmark, at tiny size on a CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


def run(out: Path, *parts: str, minutes: float = 2) -> tuple[int, dict[str, dict[str, object]]]:
    options = ["--small", "--device", "cpu", "--minutes", str(minutes), "--out", str(out), "--parts", *parts]
    ended = subprocess.run([sys.executable, str(PROGRAM), *options], capture_output=True, text=True, check=False)
    return ended.returncode, json.loads(out.read_text())


@pytest.mark.slow
def test_parts_report_figures_and_a_table(tmp_path: Path) -> None:
    status, found = run(tmp_path / "gpu.json", "card", "correct")
    assert status == 0
    assert found["correct"]["right"] is True
    assert "| float32: logits |" in (tmp_path / "gpu.md").read_text()


def test_parts_without_time_are_named(tmp_path: Path) -> None:
    status, found = run(tmp_path / "gpu.json", "card", "correct", minutes=0.1)
    assert status == 1
    assert found["correct"] == {"failed": "no time was left"}
