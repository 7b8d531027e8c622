"""A run that is killed, wherever, and started again ends with the same bits as one that never was."""

import json
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import killing
import torchrun
from small_world import train_config
from vitaclip.runtime import RuntimeConfig
from vitaclip.settings import to_dict
from vitaclip.train.config import TrainConfig
from vitaclip.train.trainer import Trainer

# `start` copies this process, and what is a copy cannot use its server of workers.
pytestmark = pytest.mark.usefixtures("forked_workers")


def hard_case(world: Path, out: Path) -> TrainConfig:
    config = train_config(world, out, steps=8, batch_size=5)
    config = replace(config, runtime=RuntimeConfig(device="cpu", precision="float32"))
    return killing.hard_case(config, str(world / "videos"))


@pytest.fixture(scope="module")
def expected(world: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outcome of the run that is never killed."""
    config = hard_case(world, tmp_path_factory.mktemp("whole"))
    Trainer(config).fit()
    return killing.outcome(Path(config.out))


def status_of(child: int) -> int:
    """How a child process ended, as a shell would say, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def start(run: Callable[[], object]) -> int:
    """Call a function in a process of its own, at once (a new interpreter would take seconds to load torch)."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            run()
            status = 0
        finally:
            os._exit(status)
    return child


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("between micro-batches", 14),
        ("before an update", 1),
        ("before an update", 6),
        ("in a checkpoint", 1),
        ("in a checkpoint", 3),
        ("before a checkpoint is renamed", 3),
        ("in a line of metrics", 4),
        ("in a line of metrics", 7),
        ("in a validation", 2),
    ],
)
def test_killed_at_a_chosen_moment(
    world: Path, tmp_path: Path, expected: dict[str, Any], moment: str, number: int
) -> None:
    config = hard_case(world, tmp_path / "run")

    def killed() -> None:
        killing.MOMENTS[moment](number)
        Trainer(config).fit()

    assert status_of(start(killed)) == -signal.SIGKILL
    assert status_of(start(lambda: Trainer(config).fit())) == 0
    assert killing.outcome(tmp_path / "run") == expected
    assert not list((tmp_path / "run").rglob("*.tmp"))


def test_killed_at_random_moments(world: Path, tmp_path: Path, expected: dict[str, Any]) -> None:
    config = hard_case(world, tmp_path / "run")
    draw = random.Random(0)
    kills = 0
    for _ in range(30):
        child = start(lambda: Trainer(config).fit())
        time.sleep(draw.uniform(0, 0.4 + 0.1 * kills))
        os.kill(child, signal.SIGKILL)
        if status_of(child) == 0:
            break
        kills += 1
    else:
        assert status_of(start(lambda: Trainer(config).fit())) == 0
    assert kills > 0
    assert killing.outcome(tmp_path / "run") == expected


@pytest.mark.parametrize(
    ("moment", "number", "step"), [("asked before an update", 11, 4), ("asked in a validation", 2, 3)]
)
def test_signal_saves_state_before_exit(
    world: Path, tmp_path: Path, expected: dict[str, Any], moment: str, number: int, step: int
) -> None:
    config = hard_case(world, tmp_path / "run")

    def asked() -> None:
        killing.MOMENTS[moment](number)
        os._exit(killing.train(config))

    assert status_of(start(asked)) == 143
    assert steps_saved(tmp_path / "run")[-1] == step
    logged = logged_steps(tmp_path / "run")
    assert logged[-1] == step
    assert logged == [line["step"] for line in expected["metrics"]][: len(logged)]
    assert status_of(start(lambda: Trainer(config).fit())) == 0
    assert killing.outcome(tmp_path / "run") == expected


def steps_saved(out: Path) -> list[int]:
    return sorted(int(file.stem.removeprefix("step_")) for file in (out / "checkpoints").iterdir())


def logged_steps(out: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def expected_of_two(world: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outcome of two processes that are never killed."""
    out = tmp_path_factory.mktemp("two")
    assert launch_two(world, out) == 0
    return killing.outcome(out)


def launch_two(world: Path, out: Path, *moment: str) -> int:
    file = out.with_suffix(".json")
    file.write_text(json.dumps(to_dict(hard_case(world, out))))
    return torchrun.launch(2, killing.__file__, str(file), *moment).returncode


def test_kill_of_one_rank_resumes_exactly(world: Path, tmp_path: Path, expected_of_two: dict[str, Any]) -> None:
    out = tmp_path / "run"
    assert launch_two(world, out, "in a checkpoint", "2", "0") != 0
    assert not (out / "model").exists()
    assert launch_two(world, out) == 0
    assert killing.outcome(out) == expected_of_two


def test_signal_to_one_rank_stops_both_alike(world: Path, tmp_path: Path, expected_of_two: dict[str, Any]) -> None:
    out = tmp_path / "run"
    # Process 1 has 3 of 5 clips, in micro-batches of 2 and 1: its tenth is in the fifth step.
    assert launch_two(world, out, "asked before an update", "10", "1") != 0
    assert steps_saved(out)[-1] == 5
    assert launch_two(world, out) == 0
    assert killing.outcome(out) == expected_of_two
