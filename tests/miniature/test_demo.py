"""The demo from end to end, with a few steps only; and the prompts that are shipped."""

import json
from pathlib import Path

import pytest

from vitaclip.cli import main
from vitaclip.miniature.world import novel_classes, trained_classes
from vitaclip.model import VideoModel


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo")
    assert main(["demo", "--out", str(out), "--steps", "3", "--batch_size", "4", "--train_clips", "1"]) == 0
    return out


def test_demo_leaves_a_page_a_result_and_a_model(demo: Path) -> None:
    page = (demo / "index.html").read_text()
    assert "<svg" in page
    assert page.count("data:image/png") >= 8 * 8
    result = json.loads((demo / "result.json").read_text())
    assert result["after"]["trained"]["num_videos"] == 216
    assert result["after"]["novel"]["num_videos"] == 216
    assert result["train_videos"] == 216
    assert len(result["curve"]) >= 1
    model = VideoModel.from_pretrained(demo / "run" / "model")
    assert model.class_names == trained_classes()


def test_shipped_prompts_know_motion_and_names_never_trained_on(demo: Path) -> None:
    """Loose bounds, far below what the card says and far above frozen CLIP's motion, which is chance (1 in 8)."""
    result = json.loads((demo / "result.json").read_text())
    before, shipped = result["before"], result["shipped"]
    for split in ("trained", "novel"):
        assert before[split]["motion"] < 0.3
        assert shipped[split]["motion"] > 0.5
        assert shipped[split]["top1"] > 2 * before[split]["top1"]
    assert not set(novel_classes()) & set(VideoModel.from_pretrained("miniature").class_names)


def test_demo_can_be_run_again_in_its_folder(demo: Path) -> None:
    before = (demo / "run" / "model" / "prompts.safetensors").read_bytes()
    assert main(["demo", "--out", str(demo), "--steps", "3", "--batch_size", "4", "--train_clips", "1"]) == 0
    assert (demo / "run" / "model" / "prompts.safetensors").read_bytes() == before
