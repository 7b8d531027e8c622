"""What `make bench` leaves in bench/."""

import argparse
import json
import re
from pathlib import Path

import timing
import torch

ROOT = Path(__file__).parents[2]


def test_every_benchmark_of_make_bench_writes_a_file_of_its_own() -> None:
    target = re.search(r"^bench:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert target is not None
    files = {}
    for line in target[1].splitlines():
        found = re.search(r"benchmarks/(\w+)\.py.* --out bench/(\w+)\.json$", line)
        assert found is not None, line
        files[found[1]] = found[2]
        source = (ROOT / "benchmarks" / f"{found[1]}.py").read_text()
        assert "timing.add_out(parser)" in source or '"--out"' in source, line
    assert files == {name: name for name in files}
    assert {"parity", "many_processes", "kill_and_resume", "feature_cache"} < set(files)


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
