"""The pages on runs and on many processes: settings, metrics and statuses are those of the code."""

import json
import re
from dataclasses import replace
from pathlib import Path

from small_world import train_config
from vitaclip.config import TrainConfig, to_dict
from vitaclip.train.build import run_training
from vitaclip.train.comparison import MAY_CHANGE_ON_RESUME
from vitaclip.train.pace import MEASURED
from vitaclip.train.stopping import EXIT_STATUS

DOCS = Path(__file__).parents[2] / "docs"
RUNS = (DOCS / "runs.md").read_text(encoding="utf-8")
MANY = (DOCS / "many_processes.md").read_text(encoding="utf-8")


def has_setting(path: str) -> bool:
    value = to_dict(TrainConfig())
    for key in path.split("."):
        if key not in value:
            return False
        value = value[key]
    return True


def test_every_setting_named_exists() -> None:
    named = re.findall(r"`((?:data|optim|model|runtime|views)\.[a-z_.]+)", RUNS + MANY)
    named += re.findall(r"--((?:data|optim|model|runtime|views)\.[a-z_.]+)", RUNS + MANY)
    assert named
    assert [path for path in named if not has_setting(path)] == []


def test_what_may_change_is_listed() -> None:
    listed = re.search(r"What may change: (.*?)\.\n\n", RUNS, re.DOTALL)
    assert listed is not None
    assert set(re.findall(r"`([a-z_.]+)`", listed[1])) == MAY_CHANGE_ON_RESUME


def test_metrics_are_those_of_a_run(world: Path, tmp_path: Path) -> None:
    config = train_config(world, tmp_path, max_gradient_norm=1.0)
    run_training(replace(config, data=replace(config.data, val=str(world / "videos"))))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    table = RUNS.split("| metric | |")[1].split("\n\n")[0]
    named = {name for row in table.splitlines()[2:] for name in re.findall(r"`([a-z_/0-9]+)`", row.split("|")[1])}
    assert named >= set(MEASURED)
    assert named == {name for line in lines for name in line} - {"step"}


def test_statuses() -> None:
    assert f"| {EXIT_STATUS} | SIGTERM" in RUNS
