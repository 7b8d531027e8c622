"""Losses against their definitions, and training and evaluation on videos with several labels."""

import json
from pathlib import Path

import pytest
import torch
from sklearn.metrics import average_precision_score

from small_world import NAMES, changed, lines_of, train_config, write_list
from vitaclip.cli.main import main
from vitaclip.training.config import OptimConfig, TrainConfig
from vitaclip.training.losses import find_loss
from vitaclip.training.trainer import Trainer


def test_binary_cross_entropy_follows_its_definition() -> None:
    logits = torch.randn(4, 5, dtype=torch.float64) * 3 + 20
    labels = torch.tensor([[0, 3], [1, -1], [2, 4], [0, -1]])
    expected = 0.0
    for row, own in zip(logits.tolist(), labels.tolist(), strict=True):
        mean = sum(row) / 5
        chances = [1 / (1 + 2.718281828459045 ** (mean - logit)) for logit in row]
        terms = [chance if k in own else 1 - chance for k, chance in enumerate(chances)]
        expected -= sum(torch.tensor(terms, dtype=torch.float64).log().tolist()) / 5
    assert float(find_loss(OptimConfig(loss="bce")).sum_losses(logits, labels, OptimConfig())) == pytest.approx(
        expected, rel=1e-12
    )


@pytest.fixture
def several(world: Path, tmp_path: Path) -> TrainConfig:
    """A run on the small world's list in which each video of the last two classes has both."""
    paths = sorted((world / "videos").rglob("*.mp4"))
    videos = write_list(
        tmp_path / "list.csv", [(path, 0 if path.parent.name == "jump_up" else "1|2") for path in paths]
    )
    data = {"train": videos, "val": videos, "classes": ", ".join(NAMES)}
    return changed(train_config(world, tmp_path / "run"), optim={"loss": "bce"}, data=data, validate_every=6)


def test_several_labels_train_and_are_evaluated(
    several: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Trainer(several).fit()
    lines = lines_of(tmp_path / "run")
    losses = [line["train/loss"] for line in lines if "train/loss" in line]
    assert losses[-1] < losses[0]
    out = [f"--out={tmp_path}/out.json", f"--predictions={tmp_path}/p.jsonl", f"--report={tmp_path}/r"]
    arguments = ["--model", several.out, "--classes", several.data.classes, "--workers", "0", "--views.temporal", "2"]
    assert main(["eval", several.data.train, *arguments, *out]) == 0
    printed, result = " ".join(capsys.readouterr().out.split()), json.loads((tmp_path / "out.json").read_text())
    rows = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [row["class"] for row in rows] == ["jump up"] * 4 + ["moving left|moving right"] * 8
    expected = []
    for name in NAMES:
        score = [next(row[f"probability{k}"] for k in (1, 2, 3) if row[f"name{k}"] == name) for row in rows]
        expected.append(average_precision_score([name in row["class"].split("|") for row in rows], score))
    assert result["mean_average_precision"] == pytest.approx(sum(expected) / 3, abs=1e-6)
    assert "mAP" in printed
    assert f"{result['mean_average_precision']:.2%}" in printed
    assert "mAP" in (tmp_path / "r" / "index.html").read_text()
    assert [line["val/mAP"] for line in lines if "val/mAP" in line][-1] == pytest.approx(
        result["mean_average_precision"], abs=1e-3
    )


def test_cross_entropy_refuses_several_labels(several: TrainConfig) -> None:
    with pytest.raises(ValueError, match=r"list\.csv:5: .* has several labels; set optim\.loss = bce, or give it one"):
        Trainer(changed(several, optim={"loss": "cross_entropy"})).fit()


def test_smoothing_with_several_labels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"label_smoothing = 0\.1: must be 0 with bce"):
        find_loss(OptimConfig(loss="bce", label_smoothing=0.1))
