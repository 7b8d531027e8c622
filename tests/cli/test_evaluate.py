"""Options of `vitaclip eval`, `predict` and `explain` about texts and views, against evaluations made in Python."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from small_world import NAMES, small_model
from tiny import learned_text
from vitaclip.cli import main
from vitaclip.data.config import DataConfig, ViewsConfig
from vitaclip.data.lists.sources import read_folder
from vitaclip.evaluation.evaluation import Evaluator
from vitaclip.model import VideoModel
from vitaclip.runtime import RuntimeConfig

RUNTIME = ("--runtime.precision", "float32")
TEMPLATES = ("a very long photo of {}.", "two {}")


@pytest.fixture(scope="module")
def per_class(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It has a context for each of its classes, which serves no other name."""
    model = small_model(world, head=learned_text(3, per_class=True), templates=("a photo {}.",))
    return model.save_pretrained(tmp_path_factory.mktemp("per_class") / "model")


def evaluated(world: Path, model: Path, out: Path, *options: str) -> tuple[dict[str, dict[str, float]], str]:
    """Probabilities by path and name, and what the text tower was given."""
    arguments = ["eval", str(world / "videos"), "--model", str(model), "--workers", "0", *RUNTIME, *options]
    assert main([*arguments, "--predictions", str(out / "p.csv"), "--out", str(out / "out.json")]) == 0
    with (out / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {row["path"]: {row[f"name{k}"]: float(row[f"probability{k}"]) for k in (1, 2, 3)} for row in rows}
    return found, json.loads((out / "out.json").read_text())["text"]


def expected(world: Path, model: Path, templates: Sequence[str] = (), views: ViewsConfig | None = None) -> torch.Tensor:
    """(videos, classes) in Python."""
    rows, settings = read_folder(world / "videos").samples, (RuntimeConfig(precision="float32"), DataConfig(workers=0))
    loaded = VideoModel.from_pretrained(model)
    return Evaluator(loaded, *settings, templates).run(rows, NAMES, views or ViewsConfig()).scores.probabilities


def as_table(found: dict[str, dict[str, float]]) -> torch.Tensor:
    return torch.tensor([[of_video[name] for name in NAMES] for of_video in found.values()])


def test_template_files_are_read_everywhere(world: Path, model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "templates.txt").write_text("\n".join(TEMPLATES), encoding="utf-16")
    given, video = ("--template", str(tmp_path / "templates.txt")), str(world / "videos" / "moving_left" / "1.mp4")
    found, note = evaluated(world, model_folder, tmp_path, *given)
    assert "2 templates given" in note
    wanted = expected(world, model_folder, TEMPLATES)
    torch.testing.assert_close(as_table(found), wanted, atol=1e-6, rtol=0)
    assert not torch.allclose(wanted, expected(world, model_folder), atol=1e-4)
    out = tmp_path / "p.jsonl"
    assert main(["predict", video, "--model", str(model_folder), *RUNTIME, *given, "--out", str(out)]) == 0
    predicted = json.loads(out.read_text())
    named = {predicted[f"name{k}"]: predicted[f"probability{k}"] for k in (1, 2, 3)}
    assert named == pytest.approx(found[video], abs=1e-5)


def test_named_views_may_be_changed_in_part(world: Path, model_folder: Path, tmp_path: Path) -> None:
    found, _ = evaluated(world, model_folder, tmp_path, "--views", "xclip_4x3", "--views.temporal", "2")
    views = ViewsConfig(temporal=2, spatial=3, sampling="segments", normalization="imagenet")
    wanted = expected(world, model_folder, (), views)
    torch.testing.assert_close(as_table(found), wanted, atol=1e-6, rtol=0)
    assert not torch.allclose(wanted, expected(world, model_folder), atol=1e-4)


def test_new_names_of_a_context_per_class(
    world: Path, per_class: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, others = world / "videos" / "jump_up" / "0.mp4", ("run", "stand", "jump up")
    (tmp_path / "list.csv").write_text(f"{video},run\n")
    common = ["--model", str(per_class), *RUNTIME, "--classes", ", ".join(others)]
    evaluation = ["eval", str(tmp_path / "list.csv"), *common, "--workers", "0", "--predictions"]
    assert main([*evaluation, str(tmp_path / "p.csv")]) == 0
    with (tmp_path / "p.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    wanted = {row[f"name{k}"]: float(row[f"probability{k}"]) for k in (1, 2, 3)}
    note = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("text: "))
    assert "cannot serve 2 of these 3 names (such as 'run')" in note
    assert main(["predict", str(video), *common, "--out", str(tmp_path / "p.jsonl")]) == 0
    assert note in capsys.readouterr().out.splitlines()
    predicted = json.loads((tmp_path / "p.jsonl").read_text())
    assert {predicted[f"name{k}"]: predicted[f"probability{k}"] for k in (1, 2, 3)} == pytest.approx(wanted, abs=1e-5)
    assert main(["explain", str(video), *common, "--out", str(tmp_path / "explained")]) == 0
    assert note in capsys.readouterr().out.splitlines()
    candidates = json.loads((tmp_path / "explained" / "0.json").read_text())["candidates"]
    assert {each["name"]: each["probability"] for each in candidates} == pytest.approx(wanted, abs=1e-5)
