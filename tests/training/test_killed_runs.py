"""A run that is killed, wherever, and started again ends with the same bits as one that never was."""

import os
import random
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import killing
from small_world import changed, lines_of, train_config
from torchrun import fork, run_on_ranks, status_of
from vitaclip.training.config import TrainConfig
from vitaclip.training.trainer import Trainer

# Runs are copies of this process, and what is a copy cannot use its server of workers.
pytestmark = pytest.mark.usefixtures("forked_workers")


def hard_case(world: Path, out: Path) -> TrainConfig:
    config = train_config(world, out, steps=8, batch_size=5)
    config = changed(config, runtime={"device": "cpu", "precision": "float32"})
    return killing.hard_case(config, str(world / "videos"))


def train(config: TrainConfig, moment: str = "", number: int = 1, rank: int = 0) -> int:
    """Train; this rank is killed or asked to end at the moment, if one is given."""
    if moment and os.environ.get("RANK", "0") == str(rank):
        killing.MOMENTS[moment](number)
    return killing.train(config)


def status_of_run(config: TrainConfig, moment: str = "", number: int = 1) -> int:
    return status_of(fork(partial(train, config, moment, number)))


def steps_saved(out: Path) -> list[int]:
    return sorted(int(file.stem.removeprefix("step_")) for file in (out / "checkpoints").iterdir())


@pytest.fixture(scope="module")
def expected(world: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outcome of the run that is never killed."""
    config = hard_case(world, tmp_path_factory.mktemp("whole"))
    Trainer(config).fit()
    return killing.outcome(Path(config.out))


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("between micro-batches", 14),
        ("before an update", 1),
        ("in a checkpoint", 1),
        ("in a checkpoint", 3),
        ("before a checkpoint is renamed", 3),
        ("in a line of metrics", 7),
        ("in a validation", 2),
    ],
)
def test_killed_at_a_chosen_moment(
    world: Path, tmp_path: Path, expected: dict[str, Any], moment: str, number: int
) -> None:
    config = hard_case(world, tmp_path / "run")
    assert status_of_run(config, moment, number) == -signal.SIGKILL
    assert status_of_run(config) == 0
    assert killing.outcome(tmp_path / "run") == expected
    assert not list((tmp_path / "run").rglob("*.tmp"))


def test_killed_at_random_moments(world: Path, tmp_path: Path, expected: dict[str, Any]) -> None:
    config = hard_case(world, tmp_path / "run")
    draw = random.Random(0)
    kills = 0
    for _ in range(30):
        child = fork(partial(train, config))
        time.sleep(draw.uniform(0, 0.4 + 0.1 * kills))
        os.kill(child, signal.SIGKILL)
        if status_of(child) == 0:
            break
        kills += 1
    else:
        assert status_of_run(config) == 0
    assert kills > 0
    assert killing.outcome(tmp_path / "run") == expected


@pytest.mark.parametrize(
    ("moment", "number", "step"), [("asked before an update", 11, 4), ("asked in a validation", 2, 3)]
)
def test_signal_saves_state_before_exit(
    world: Path, tmp_path: Path, expected: dict[str, Any], moment: str, number: int, step: int
) -> None:
    config = hard_case(world, tmp_path / "run")
    assert status_of_run(config, moment, number) == 143
    assert steps_saved(tmp_path / "run")[-1] == step
    logged = [line["step"] for line in lines_of(tmp_path / "run")]
    assert logged[-1] == step
    assert logged == [line["step"] for line in expected["metrics"]][: len(logged)]
    assert status_of_run(config) == 0
    assert killing.outcome(tmp_path / "run") == expected


def test_two_ranks_resume_exactly_after_kill_or_signal(world: Path, tmp_path: Path) -> None:
    """One of them is killed, or asked to end; a signal to one stops both after the same step."""
    assert run_on_ranks(partial(train, hard_case(world, tmp_path / "whole"))) == [0, 0]
    expected_of_two = killing.outcome(tmp_path / "whole")
    # Rank 1 has 3 of 5 clips, in micro-batches of 2 and 1: its tenth is in the fifth step.
    for name, moment in {"killed": ("in a checkpoint", 2, 0), "asked": ("asked before an update", 10, 1)}.items():
        config = hard_case(world, tmp_path / name)
        assert 0 not in run_on_ranks(partial(train, config, *moment))
        assert not (tmp_path / name / "model").exists()
        assert name != "asked" or steps_saved(tmp_path / name)[-1] == 5
        assert run_on_ranks(partial(train, config)) == [0, 0]
        assert killing.outcome(tmp_path / name) == expected_of_two
