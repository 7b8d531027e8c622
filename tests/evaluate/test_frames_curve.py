"""Top-1 over the number of frames, against an evaluation of its own for each."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from small_world import NAMES, train_config
from vitaclip.backbones.loading import load_backbone
from vitaclip.cli import main
from vitaclip.cli.evaluate.runs import read_frames
from vitaclip.data import read_folder
from vitaclip.data.config import DataConfig, ViewsConfig
from vitaclip.evaluate.evaluation import Evaluated, Evaluator
from vitaclip.evaluate.frames_curve import frames_curve, views_by_frames
from vitaclip.evaluate.metrics import Scores, summarize
from vitaclip.model import VideoModel
from vitaclip.runtime import RuntimeConfig


@pytest.fixture(scope="module")
def model(world: Path) -> VideoModel:
    config = train_config(world, world / "unused").model
    return VideoModel(load_backbone(config.backbone), config, NAMES).eval()


def evaluated(choices: Tensor, labels: Tensor, rows: Tensor) -> Evaluated:
    """Two classes, of which some are chosen."""
    scores = Scores(torch.nn.functional.one_hot(choices, 2).float(), labels, rows)
    return Evaluated(scores, summarize(scores, ["a", "b"]))


def test_every_point_is_an_evaluation_of_its_own(world: Path, model: VideoModel) -> None:
    rows = read_folder(world / "videos").rows
    views = ViewsConfig(temporal=2, aggregation="logits")
    runtime, data = RuntimeConfig(precision="float32"), DataConfig(workers=0)
    evaluator = Evaluator(model, runtime, data)
    by_frames = views_by_frames(evaluator, views, (6, 1, 4, 2, 1))
    assert list(by_frames) == [4, 1, 2, 6]  # its own number of frames is the first
    curve = frames_curve({n: evaluator.run(rows, NAMES, each) for n, each in by_frames.items()}, 4)
    expected = {
        frames: Evaluator(model, runtime, data).run(rows, NAMES, replace(views, frames=frames)).result.top1
        for frames in (1, 2, 4, 6)
    }
    assert curve.top1 == pytest.approx(expected)
    assert len(set(expected.values())) > 1
    assert (curve.reference, curve.num_videos) == (4, 12)
    for point in curve.points:
        assert point.difference == pytest.approx(expected[point.frames] - expected[4])


def test_all_points_are_on_the_videos_that_all_could_read() -> None:
    labels = torch.tensor([0, 1, 0, 1])
    few = evaluated(torch.tensor([0, 1, 0, 0]), labels, torch.arange(4))
    many = evaluated(torch.tensor([0, 0, 1]), labels[:3], torch.arange(3))  # the last could not be read
    assert frames_curve({1: few, 8: many}, 8).top1 == {1: 1.0, 8: pytest.approx(1 / 3)}
    with pytest.raises(ValueError, match="no video could be read with every number"):
        frames_curve({1: few, 8: evaluated(labels[:1], labels[:1], torch.tensor([9]))}, 8)


def test_difference_and_error_are_paired() -> None:
    """Of 60 videos the first 50 are named correctly with 8 frames, the first 41 with 4, the first 52 with 16."""
    labels, rows = torch.zeros(60, dtype=torch.int64), torch.arange(60)
    curve = frames_curve({n: evaluated((rows >= k).long(), labels, rows) for n, k in ((4, 41), (8, 50), (16, 52))}, 8)
    few, same, many = curve.points
    gains = np.array([-1] * 9 + [0] * 51)
    assert few.difference == pytest.approx(gains.mean())
    assert few.standard_error == pytest.approx(gains.std() / np.sqrt(60))
    assert (same.difference, same.standard_error) == (0, 0)
    assert many.difference == pytest.approx(2 / 60)


def test_the_command_prints_writes_and_draws_it(
    world: Path, model: VideoModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.save_pretrained(tmp_path / "model")
    arguments = ["eval", str(world / "videos"), "--model", str(tmp_path / "model"), "--workers", "0"]
    arguments += ["--runtime.precision", "float32", "--out", str(tmp_path / "out.json")]
    expected = {}
    for frames in (1, 4, 8):
        assert main([*arguments, "--views.frames", str(frames)]) == 0
        expected[frames] = json.loads((tmp_path / "out.json").read_text())["top1"]
    capsys.readouterr()
    report = ["--report", str(tmp_path / "report"), "--predictions", str(tmp_path / "p.parquet")]
    assert main([*arguments, "--frames_curve", "8, 1", *report]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "points from 4" in printed
    assert (tmp_path / "p.parquet").exists()
    for file in (tmp_path / "out.json", tmp_path / "report" / "result.json"):
        points = json.loads(file.read_text())["frames_curve"]["points"]
        assert {point["frames"]: point["top1"] for point in points} == pytest.approx(expected)
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "How many frames are enough" in page
    assert "; ".join(f"{frames}: {share:.1%}" for frames, share in expected.items()) in page
    assert main([*arguments, "--frames_curve", "4"]) == 2
    assert "4 frames are the evaluation itself; give other numbers too" in capsys.readouterr().err
    for wrong in ("1,two", "0", "1,,2", "4-8"):
        assert main([*arguments, "--frames_curve", wrong]) == 2
        assert "give numbers of frames with commas between" in capsys.readouterr().err
    assert read_frames("1000, 1") == (1, 1000)
    assert main([*arguments, "--frames_curve", "1,2,1000000000"]) == 2
    assert "1000000000 frames a clip are more than 1,000, and all frames" in capsys.readouterr().err
