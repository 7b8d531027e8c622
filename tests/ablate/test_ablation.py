"""The table, end to end on a small world: each run once, its figures those of an evaluation of its model."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from small_world import NAMES, train_config
from vitaclip.ablate.ablation import AblationResult, run_ablation
from vitaclip.ablate.runs import ScoredList, read_scored_list
from vitaclip.ablate.table import write_ablation
from vitaclip.ablate.variants import Claim, Comparison, Variant
from vitaclip.data.config import DataConfig
from vitaclip.evaluate.evaluation import Evaluator
from vitaclip.interpolation import InterpolateConfig
from vitaclip.model import VideoModel
from vitaclip.train.config import TrainConfig

FULL = Variant(name="full", about="all of them", scores=(0.5,))
LESS = Variant(name="less", overrides={"model.context.summary": None, "model.context.time": None})
FROZEN = Variant(
    name="frozen",
    trains=False,
    overrides={"model.context": {}, "model.head": "templates"},
)
CLAIMS = (
    Claim(says="more is better", better="full", than="less"),
    Claim(says="prompts help", better="full", than="frozen", test="novel"),
    Claim(says="nobody asked", better="full", than="absent"),
)
COMPARISON = Comparison((FULL, LESS, FROZEN), CLAIMS)
SEEDS = (0, 3)


def config_of(world: Path, out: Path) -> TrainConfig:
    return train_config(world, out, steps=2)


def lists_of(world: Path) -> list[ScoredList]:
    """The trained names, and the same videos under other names."""
    data = DataConfig()
    folder = world / "other"
    if not folder.exists():
        folder.mkdir()
        for name, other in zip(NAMES, ("run", "sit down", "stand"), strict=True):
            (folder / other).symlink_to(world / "videos" / name.replace(" ", "_"))
    return [
        read_scored_list(f"{name}={world / place}", data) for name, place in (("trained", "videos"), ("novel", "other"))
    ]


@pytest.fixture(scope="module")
def finished(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[AblationResult, Path]:
    out = tmp_path_factory.mktemp("ablation")
    return run_ablation(config_of(world, out), COMPARISON, SEEDS, lists_of(world)), out


def test_figures_are_those_of_an_evaluation_of_each_model(world: Path, finished: tuple[AblationResult, Path]) -> None:
    result, out = finished
    rows = {row.name: row for row in result.rows}
    assert list(rows) == ["full", "full scores 0.5", "less", "frozen"]
    for place, seed in enumerate(SEEDS):
        config = config_of(world, out)
        for name, space in (("full", ""), ("full scores 0.5", "scores"), ("less", "")):
            model = VideoModel.from_pretrained(out / name.split()[0] / f"seed{seed}" / "model")
            for test in result.tests:
                mixed = InterpolateConfig(space=space)  # type: ignore[arg-type]
                evaluator = Evaluator(model, config.runtime, config.data, interpolation=mixed)
                expected = evaluator.run(test.videos.samples, test.videos.class_names, config.views)
                assert rows[name].values[test.name, "top1"][place] == expected.result.top1
                assert rows[name].values[test.name, "per_class"][place] == expected.result.mean_class_accuracy
    assert rows["full"].trained > rows["less"].trained > rows["frozen"].trained == 0
    assert len(set(rows["frozen"].values["trained", "top1"])) == 1


def test_a_run_is_an_ordinary_run_folder_of_the_overrides_and_the_seed(finished: tuple[AblationResult, Path]) -> None:
    folder = finished[1] / "less" / "seed3"
    config = json.loads((folder / "config.json").read_text())
    assert (config["seed"], config["model"]["context"].get("summary"), config["out"]) == (3, None, str(folder))
    assert (folder / "metrics.jsonl").exists()
    assert not (finished[1] / "frozen" / "seed3").exists()


def test_finished_runs_are_kept_and_a_new_list_is_tested_without_training(
    world: Path, finished: tuple[AblationResult, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    result, out = finished
    kept: list[bool] = []
    monkeypatch.setattr("vitaclip.train.trainer.Trainer.train_step", None)
    for file in out.glob("*/seed*/result.json"):  # older versions called these settings of views otherwise
        saved = file.read_text().replace('"aggregation"', '"average"').replace('"normalization"', '"pixels"')
        assert '"average"' in saved
        file.write_text(saved)
    config, lists = config_of(world, out), lists_of(world)
    again = run_ablation(config, COMPARISON, SEEDS, lists, on_done=lambda _run, _result, found: kept.append(found))
    assert kept == [True] * 5
    assert again.rows == result.rows
    kept.clear()
    one = Comparison((LESS,), ())
    fewer = run_ablation(config, one, SEEDS, lists[:1], on_done=lambda _run, _result, found: kept.append(found))
    assert kept == [False] * 2
    (row,) = fewer.rows
    assert row.values["trained", "top1"] == result.rows[2].values["trained", "top1"]


def test_a_stopped_run_goes_on(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, lists = Comparison((LESS,), ()), lists_of(world)
    expected = run_ablation(config_of(world, tmp_path / "whole"), one, (0,), lists)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as before_the_tests:
        before_the_tests.setattr("vitaclip.ablate.runs._test", stop)
        with pytest.raises(KeyboardInterrupt):
            run_ablation(config_of(world, tmp_path / "stopped"), one, (0,), lists)
    monkeypatch.setattr("vitaclip.train.trainer.Trainer.train_step", None)
    assert run_ablation(config_of(world, tmp_path / "stopped"), one, (0,), lists).rows == expected.rows


def test_another_config_in_the_same_folder_is_refused(world: Path, finished: tuple[AblationResult, Path]) -> None:
    config = config_of(world, finished[1])
    config = replace(config, optim=replace(config.optim, learning_rate=0.5))
    with pytest.raises(ValueError, match=r"full.seed0 holds a run with another config: optim.learning_rate was 0.01"):
        run_ablation(config, COMPARISON, SEEDS, lists_of(world))


def test_several_processes_give_the_same_table(
    world: Path, finished: tuple[AblationResult, Path], tmp_path: Path
) -> None:
    config, comparison = config_of(world, tmp_path), Comparison((LESS, FROZEN), CLAIMS)
    result = run_ablation(config, comparison, SEEDS, lists_of(world), processes=2)
    assert result.rows == finished[0].rows[2:]


def test_what_is_written_says_what_was_found(finished: tuple[AblationResult, Path], tmp_path: Path) -> None:
    result, _ = finished
    page = write_ablation(tmp_path, result, "Synthetic data.").read_text()
    with (tmp_path / "ablation.csv").open(newline="") as file:
        values = list(csv.DictReader(file))
    assert len(values) == 4 * 2 * 2 * 3
    for row in result.rows:
        of_row = [
            float(v["value"]) for v in values if (v["variant"], v["test"], v["figure"]) == (row.name, "novel", "top1")
        ]
        assert f"{100 * np.mean(of_row):.1f} ± {100 * np.std(of_row):.1f}" in line_of(page, row.name)
    content = json.loads((tmp_path / "ablation.json").read_text())
    assert [claim["claim"]["says"] for claim in content["claims"]] == ["more is better"] * 2 + ["prompts help"]
    counts = {"videos_listed": 12, "videos_scored": 12, "skipped": [], "candidates": 3}
    assert content["tests"]["novel"] == {**counts, "sha256": dict(result.tests[1].sha256)}
    assert "Synthetic data." in page
    assert page.count("](ablation.svg)") == 1
    assert (tmp_path / "ablation.svg").read_text().startswith("<svg")


def test_videos_that_are_left_out_are_told_wherever_the_table_is(world: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"gone.mp4,0\n{world}/videos/jump_up/0.mp4,0\n")
    config = config_of(world, tmp_path / "out")
    lists = [read_scored_list(f"test={tmp_path}/list.csv:jump up,run", DataConfig()), *lists_of(world)[:1]]
    for result in [
        run_ablation(config, Comparison((FROZEN,), ()), (0,), lists) for _ in range(2)
    ]:  # the second is found
        (line,) = result.skipped["test"]
        assert line.startswith("list.csv:1: ")
        assert "gone.mp4 does not exist" in line
        assert (result.videos, result.skipped["trained"]) == ({"test": 1, "trained": 12}, ())
        page = write_ablation(tmp_path, result).read_text()
        assert f"Skipped in test:\n\n- {line}\n" in page
        assert "Skipped in trained" not in page
        assert json.loads((tmp_path / "ablation.json").read_text())["tests"]["test"]["skipped"] == [line]
    with pytest.raises(ValueError, match=r"list\.csv:1: .*gone\.mp4 cannot be read"):
        read_scored_list(f"test={tmp_path}/list.csv:jump up,run", DataConfig(on_error="raise"))


def line_of(page: str, row: str) -> str:
    return next(line for line in page.splitlines() if line.startswith(f"| {row} |"))


@pytest.mark.parametrize("text", ["test.csv", "=test.csv", "novel="])
def test_a_list_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="write NAME=VIDEOS or NAME=VIDEOS:CLASSES"):
        read_scored_list(text, DataConfig())


def test_a_list_brings_its_candidates_and_its_sums(world: Path, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text(f"{world}/videos/jump_up/0.mp4,stand\n")
    found = read_scored_list(f"novel={file}:run,stand", DataConfig(classes="jump,sit"))
    assert found.videos.class_names == ("run", "stand")
    assert found.videos.samples[0].label == 1
    assert set(found.sha256) == {"list", "candidates"}
    with pytest.raises(ValueError, match="stand"):
        read_scored_list(f"novel={file}", DataConfig(classes="jump,sit"))
