"""The GPU benchmark, at tiny size on a CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


@pytest.mark.slow
def test_parts_report_figures_and_a_table(tmp_path: Path) -> None:
    options = ["--small", "--device", "cpu", "--out", str(tmp_path / "gpu.json"), "--parts", "card", "correct"]
    subprocess.run([sys.executable, str(PROGRAM), *options], check=True)
    assert json.loads((tmp_path / "gpu.json").read_text())["correct"]["right"] is True
    assert "| float32: logits |" in (tmp_path / "gpu.md").read_text()
