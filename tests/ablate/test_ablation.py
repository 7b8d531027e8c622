"""The table, end to end on a small world: each run once, its figures those of an evaluation of its model; verdicts
against a paired t statistic computed with NumPy."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from small_world import NAMES, train_config
from vitaclip.ablate.ablation import AblationResult, TestList, judge, read_test_list, run_ablation, write_ablation
from vitaclip.ablate.variants import Claim, Variant
from vitaclip.data.config import DataConfig
from vitaclip.evaluation.evaluation import Evaluator
from vitaclip.model import VideoModel
from vitaclip.training.config import TrainConfig

FULL = Variant(name="full", about="all of them and the towers", overrides={"model.train": "both"})
LESS = Variant(name="less", overrides={"model.context.summary": None, "model.context.time": None})
FROZEN = Variant(name="frozen", trains=False, overrides={"model.context": {}, "model.head": "templates"})
CLAIMS = (
    Claim(says="more is better", better="full", than="less"),
    Claim(says="prompts help", better="full", than="frozen", test="novel"),
    Claim(says="nobody asked", better="full", than="absent"),
)
VARIANTS = (FULL, LESS, FROZEN)
SEEDS = (0, 3)


def config_of(world: Path, out: Path) -> TrainConfig:
    return train_config(world, out, steps=2)


def lists_of(world: Path) -> list[TestList]:
    """The trained names, and the same videos under other names."""
    data = DataConfig()
    folder = world / "other"
    if not folder.exists():
        folder.mkdir()
        for name, other in zip(NAMES, ("run", "sit down", "stand"), strict=True):
            (folder / other).symlink_to(world / "videos" / name.replace(" ", "_"))
    return [
        read_test_list(f"{name}={world / place}", data) for name, place in (("trained", "videos"), ("novel", "other"))
    ]


@pytest.fixture(scope="module")
def finished(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[AblationResult, Path]:
    out = tmp_path_factory.mktemp("ablation")
    return run_ablation(config_of(world, out), VARIANTS, SEEDS, lists_of(world), CLAIMS), out


def test_figures_are_those_of_an_evaluation(world: Path, finished: tuple[AblationResult, Path]) -> None:
    result, out = finished
    rows = {row.variant.name: row for row in result.rows}
    assert list(rows) == ["full", "less", "frozen"]
    for place, seed in enumerate(SEEDS):
        config = config_of(world, out)
        for name in ("full", "less"):
            model = VideoModel.from_pretrained(out / name / f"seed{seed}" / "model")
            for test, videos in lists_of(world):
                evaluator = Evaluator(model, config.runtime, config.data)
                expected = evaluator.run(videos.samples, videos.class_names, config.views)
                assert rows[name].values(test, "top1")[place] == expected.result.top1
                assert rows[name].values(test, "per_class")[place] == expected.result.mean_class_accuracy
    full, less, frozen = (rows[name].runs[0].trained for name in ("full", "less", "frozen"))
    assert full > less > frozen == 0
    assert len(set(rows["frozen"].values("trained", "top1"))) == 1


def test_finished_runs_are_kept(
    world: Path, finished: tuple[AblationResult, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    result, out = finished
    kept: list[bool] = []
    monkeypatch.setattr("vitaclip.training.trainer.Trainer.train_step", None)
    config, lists = config_of(world, out), lists_of(world)
    again = run_ablation(config, VARIANTS, SEEDS, lists, on_done=lambda _run, _result, found: kept.append(found))
    assert kept == [True] * 5
    assert again.rows == result.rows
    kept.clear()
    fewer = run_ablation(config, [LESS], SEEDS, lists[:1], on_done=lambda _run, _result, found: kept.append(found))
    assert kept == [False] * 2
    (row,) = fewer.rows
    assert row.values("trained", "top1") == result.rows[1].values("trained", "top1")


def test_a_run_stopped_before_its_tests_goes_on(
    world: Path, tmp_path: Path, finished: tuple[AblationResult, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as before_the_tests:
        before_the_tests.setattr("vitaclip.evaluation.evaluation.Evaluator.encode", stop)
        with pytest.raises(KeyboardInterrupt):
            run_ablation(config_of(world, tmp_path), [LESS], SEEDS[:1], lists_of(world))
    monkeypatch.setattr("vitaclip.training.trainer.Trainer.train_step", None)
    (row,) = run_ablation(config_of(world, tmp_path), [LESS], SEEDS[:1], lists_of(world)).rows
    assert row.runs[0].values == finished[0].rows[1].runs[0].values


def test_list_beyond_a_classifier_is_a_dash(world: Path, tmp_path: Path) -> None:
    overrides = {"model.context": {}, "model.pool": {"name": "decode", "blocks": 2}, "model.head": "classifier"}
    claims = (Claim(says="texts help", better="less", than="classifier"),)
    variants = [Variant(name="classifier", overrides=overrides), LESS]
    result = run_ablation(config_of(world, tmp_path), variants, (0,), lists_of(world)[::-1], claims)
    runs = [run for row in result.rows for run in row.runs]
    assert list(runs[0].values) == ["trained"]
    assert all(run.step_seconds > 0 and 0.1 < run.memory_gib < 20 for run in runs)
    table = [line for line in write_ablation(tmp_path, result).read_text().splitlines() if line.startswith("| ")]
    assert table[0].startswith("| variant | parameters trained | seconds a step | GiB | trained top1")
    assert table[2].endswith("| - | - | - |")
    assert " - " not in table[3]
    (claim,) = json.loads((tmp_path / "ablation.json").read_text())["claims"]
    assert claim["test"] == "trained"


def test_page_and_json_say_what_was_found(finished: tuple[AblationResult, Path], tmp_path: Path) -> None:
    result, _ = finished
    page = write_ablation(tmp_path, result, "Synthetic data.").read_text()
    content = json.loads((tmp_path / "ablation.json").read_text())
    for row in content["rows"]:
        values = [run["values"]["novel"]["top1"] for run in row["runs"]]
        assert len(values) == len(SEEDS)
        (line,) = (
            line for line in page.splitlines() if line.startswith(f"| {row['variant']['name']} |") and "±" in line
        )
        assert f"{100 * np.mean(values):.1f} ± {100 * np.std(values):.1f}" in line
    assert [claim["claim"]["says"] for claim in content["claims"]] == ["more is better"] * 2 + ["prompts help"]
    del content["tests"]["novel"]["sha256"]
    assert content["tests"]["novel"] == {"videos": 12, "candidates": 3}
    assert "| novel | 12 | 3 |" in page
    assert "Synthetic data." in page


def test_skipped_videos_are_told(world: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"gone.mp4,0\n{world}/videos/jump_up/0.mp4,0\n")
    config = config_of(world, tmp_path / "out")
    lists = [read_test_list(f"test={tmp_path}/list.csv:jump up,run", DataConfig()), *lists_of(world)[:1]]
    for result in [run_ablation(config, [FROZEN], (0,), lists) for _ in range(2)]:  # the second is found
        page = write_ablation(tmp_path, result).read_text()
        assert re.search(r"Skipped in test:\n\n- list.csv:1: .*gone.mp4 does not exist", page)
        assert "| test | 1 | 2 |" in page
        assert "Skipped in trained" not in page
    with pytest.raises(ValueError, match=r"list\.csv:1: .*gone\.mp4 cannot be read"):
        read_test_list(f"test={tmp_path}/list.csv:jump up,run", DataConfig(on_error="raise"))


@pytest.mark.parametrize("text", ["test.csv", "=test.csv", "novel="])
def test_a_list_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="write NAME=VIDEOS or NAME=VIDEOS:CLASSES"):
        read_test_list(text, DataConfig())


def test_a_list_brings_candidates(world: Path, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text(f"{world}/videos/jump_up/0.mp4,stand\n")
    name, found = read_test_list(f"novel={file}:run,stand", DataConfig(classes="jump,sit"))
    assert (name, found.class_names, found.samples[0].labels) == ("novel", ("run", "stand"), (1,))
    with pytest.raises(ValueError, match="stand"):
        read_test_list(f"novel={file}", DataConfig(classes="jump,sit"))


CLAIM = Claim(says="a helps", better="a", than="b")


@pytest.mark.parametrize("seed", range(20))
def test_outcome_is_twice_the_standard_error(seed: int) -> None:
    draw = np.random.default_rng(seed)
    a, b = draw.normal(0.02, 0.03, size=(2, 4)) + np.array([[0.02], [0.0]])
    verdict = judge(CLAIM, "test", a.tolist(), b.tolist())
    difference = a - b
    error = difference.std(ddof=1) / math.sqrt(4)
    assert verdict.difference == pytest.approx(difference.mean())
    assert verdict.standard_error == pytest.approx(error)
    t = difference.mean() / error
    assert verdict.outcome == ("held" if t > 2 else "reversed" if t < -2 else "not shown")


@pytest.mark.parametrize(
    ("better", "than", "outcome"),
    [
        ((0.1, 0.5, 0.9), (0.05, 0.44, 0.86), "held"),  # far apart between seeds, never within one
        ((0.05, 0.44, 0.86), (0.1, 0.5, 0.9), "reversed"),
        ((0.1, 0.5, 0.9), (0.44, 0.86, 0.05), "not shown"),
        ((0.9,), (0.1,), "not shown"),
        ((0.5, 0.6), (0.5, 0.6), "not shown"),
    ],
)
def test_values_are_paired_by_seed(better: tuple[float, ...], than: tuple[float, ...], outcome: str) -> None:
    assert judge(CLAIM, "test", better, than).outcome == outcome
