"""Commands on files that hang the codec or end the process that reads them: the work is done, the files are listed."""

import json
import shutil
from pathlib import Path

import pytest

from misbehaving import open_or_misbehave
from vitaclip.cli import main


@pytest.fixture
def deadly_world(world: Path, tmp_path: Path, forked_workers: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small world with a video more that hangs the codec."""
    monkeypatch.setattr("vitaclip.data.loading.clips.open_video", open_or_misbehave)
    shutil.copytree(world, tmp_path / "world")
    shutil.copy(world / "videos" / "jump_up" / "0.mp4", tmp_path / "world" / "videos" / "jump_up" / "hang.mp4")
    return tmp_path / "world"


def train(world: Path, out: Path, *options: str) -> int:
    arguments = ["train", "--config", "own_videos", "--data.train", str(world / "videos"), "--out", str(out)]
    arguments += ["--model.backbone", str(world / "backbone"), "--optim.steps", "4", "--optim.batch_size", "4"]
    return main([*arguments, "--log_every", "1", *options])


def test_deadly_file_counts_as_broken_in_training(
    deadly_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limit = ("--data.workers", "2", "--data.time_limit_seconds", "1")
    assert train(deadly_world, tmp_path / "run", *limit, "--data.val", str(deadly_world / "videos")) == 0
    assert "1 video that could not be read: left out or replaced by others, see " in capsys.readouterr().out
    hanging = deadly_world / "videos" / "jump_up" / "hang.mp4"
    (line,) = (tmp_path / "run" / "bad_videos.txt").read_text().splitlines()
    assert line == f"{hanging} took longer than the time limit: leave it out, or raise time_limit_seconds"
    metrics = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [values["train/bad_videos"] for values in metrics if "train/bad_videos" in values][-1] == 1
    assert metrics[-1]["val/skipped"] == 1

    hanging.write_text("no video")
    hanging = hanging.rename(hanging.with_name("text.mp4"))  # keeps its place among the videos
    assert train(deadly_world, tmp_path / "broken", "--data.workers", "0") == 0
    prompts = [tmp_path / run / "model" / "prompts.safetensors" for run in ("run", "broken")]
    assert prompts[0].read_bytes() == prompts[1].read_bytes()


def test_evaluation_leaves_it_out(deadly_world: Path, tmp_path: Path) -> None:
    arguments = ["eval", str(deadly_world / "videos"), "--backbone", str(deadly_world / "backbone")]
    arguments += ["--data.time_limit_seconds", "1", "--data.limits.frames", "12"]
    assert main([*arguments, "--out", str(tmp_path / "result.json")]) == 0
    (line,) = json.loads((tmp_path / "result.json").read_text())["skipped"]
    assert "hang.mp4 took longer than the time limit" in line


def test_limits_are_settings_of_the_commands(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video, backbone = str(world / "videos" / "jump_up" / "0.mp4"), str(world / "backbone")  # 12 frames
    predict = ["predict", video, "--backbone", backbone, "--classes", "jump, run", "--data.limits.frames"]
    assert main([*predict, "12"]) == 0
    assert main([*predict, "11"]) == 1
    assert f"{video} has 12 frames, beyond limits.frames = 11: copy it again, or raise the limit" in (
        capsys.readouterr().err
    )
    assert main(["data", "scan", str(world / "videos"), "--limits.frames", "12"]) == 0
    assert main(["data", "scan", str(world / "videos"), "--limits.frames", "11"]) == 1
    assert train(world, tmp_path / "run", "--data.limits.frames", "12") == 0
