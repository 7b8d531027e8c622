"""The GPU benchmark, at tiny size on a CPU."""

import json
import runpy
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


@pytest.mark.slow
def test_a_part_reports_figures_and_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--small", "--device", "cpu", "--out", str(tmp_path / "gpu.json"), "--parts", "correct"]
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), *options])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(PROGRAM), run_name="__main__")
    assert not ended.value.code
    assert json.loads((tmp_path / "gpu.json").read_text())["correct"]["right"] is True
    assert "| vitaclip: float32: logits |" in (tmp_path / "gpu.md").read_text()
