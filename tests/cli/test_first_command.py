"""The first commands of a new user: which model answers, what is said offline, and what a toy does not know."""

import shutil
import time
from pathlib import Path

import pytest
import torch

import peers
from fake_hub import hub, use_hub
from small_world import Refusal
from vitaclip.backbones.hub import DEFAULT_BACKBONE
from vitaclip.backbones.loading import load_backbone, save_backbone
from vitaclip.cli import main
from vitaclip.predictor import Predictor

DOORS = ("--classes", "opening a door, closing a door")


def test_first_command_takes_a_real_model(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = tmp_path / "hub" / DEFAULT_BACKBONE
    peers.transformers_clip().save_pretrained(repository)
    peers.write_tokenizer(repository)
    for offline in (False, True):
        with hub(tmp_path / "hub") as server:
            use_hub(monkeypatch, tmp_path / "home", server.address, offline=offline)
            assert main(["predict", str(world / "videos" / "jump_up"), *DOORS]) == 0
        said = capsys.readouterr().out
        assert said.startswith(f"model: {DEFAULT_BACKBONE}, because neither --model nor --backbone is named")
        assert "opening a door" in said
        assert bool(server.fetched) is not offline


def test_without_network_one_line_says_what_to_do(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Refusal
) -> None:
    use_hub(monkeypatch, tmp_path)
    start = time.monotonic()
    line = refusal("predict", world / "videos", *DOORS)
    assert all(words in line for words in (f"hf download {DEFAULT_BACKBONE}", "--model miniature", "shapes alone"))
    assert time.monotonic() - start < 25  # the client's own retries alone are half a minute


def test_miniature_says_what_it_never_read(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said, out = "never read 'opening', 'door', 'closing': what it answers for names with them means nothing", "o.json"
    arguments = [str(world / "videos"), "--model", "miniature", *DOORS, "--views.temporal", "1"]
    assert main(["predict", *arguments]) == 0
    printed = capsys.readouterr()
    assert f"vitaclip: warning: this model knows a small synthetic world alone and {said}" in printed.err
    assert "means nothing" not in printed.out
    (tmp_path / "list.csv").write_text(f"{world / 'videos' / 'jump_up' / '0.mp4'},0\n")
    assert main(["eval", str(tmp_path / "list.csv"), *arguments[1:], "--out", str(tmp_path / out)]) == 0
    assert said in (tmp_path / out).read_text()
    with pytest.warns(UserWarning, match="means nothing"):
        Predictor("miniature").set_classes(["opening a door", "closing a door"])
    capsys.readouterr()
    known = [*arguments[:3], "--classes", "red heart growing, blue key moving up", "--views.temporal", "1"]
    assert main(["predict", *known]) == 0
    assert "means nothing" not in "".join(capsys.readouterr())


def test_run_whose_backbone_moved_goes_on(
    world: Path, tmp_path: Path, refusal: Refusal, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there, run = tmp_path / "clip", tmp_path / "disk" / "clip", str(tmp_path / "run")
    shutil.copytree(world / "backbone", here)
    short = ("--optim.steps", "2", "--optim.batch_size", "2", "--data.workers", "0", "--out", run)
    training = ["train", "own_videos", "--data.train", str(world / "videos"), *short, "--model.backbone"]
    assert main([*training, str(here)]) == 0
    assert f"vitaclip convert {run} FOLDER" in capsys.readouterr().out
    assert str(tmp_path) not in (tmp_path / "run" / "model" / "README.md").read_text()
    there.parent.mkdir()
    here.rename(there)
    video = str(world / "videos" / "jump_up" / "0.mp4")
    assert "say where it is now with --backbone" in refusal("predict", video, "--model", run)
    assert main(["predict", video, "--model", run, "--backbone", str(there)]) == 0
    assert main(["predict", run, video, "--backbone", str(there)]) == 0
    assert main([*training, str(there)]) == 0
    assert "was finished at step 2 of 2" in capsys.readouterr().out
    write_other_backbone(there)
    assert "the backbone's fingerprint was" in refusal(*training, there)


def write_other_backbone(folder: Path) -> None:
    """The same, but for one weight."""
    backbone = load_backbone(folder)
    with torch.no_grad():
        backbone.clip.vision.pos_embed.add_(1.0)
    save_backbone(backbone.clip, backbone.tokenizer, folder)
