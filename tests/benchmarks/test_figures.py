"""What `make bench` leaves in bench/."""

import argparse
import json
from pathlib import Path

import timing
import torch


def test_figures_come_with_machine_and_settings(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    timing.add_out(parser)
    file = parser.parse_args(["--out", str(tmp_path / "new" / "x.json")]).out
    timing.write_figures(file, {"kills": 3}, {"seconds": {"a": 1.5}})
    found = json.loads(file.read_text())
    assert found["machine"] == timing.machine()
    assert found["settings"]["kills"] == 3
    assert found["settings"]["torch"] == torch.__version__
    assert found["seconds"] == {"a": 1.5}
