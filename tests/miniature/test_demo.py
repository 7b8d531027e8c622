"""The demo from end to end, with a few steps and a ninth of its classes; and the prompts that are shipped."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from vitaclip.cli import main
from vitaclip.evaluation.metrics import Scores
from vitaclip.miniature import world
from vitaclip.miniature.demo import motion_accuracies
from vitaclip.model import VideoModel

pytestmark = pytest.mark.slow


ARGUMENTS = ("--steps", "3", "--train_clips", "1")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Its folder; three of the trained pairs of colour and shape and one of the others, with all motions."""
    out = tmp_path_factory.mktemp("demo")
    trained, novel = world.trained_classes()[:24], world.novel_classes()[:8]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "trained_classes", lambda: trained)
        patch.setattr(world, "novel_classes", lambda: novel)
        assert main(["demo", "--out", str(out), *ARGUMENTS]) == 0
        yield out


def results(demo: Path) -> dict[tuple[str, str], dict[str, Any]]:
    found = json.loads((demo / "result.json").read_text())["results"]
    return {(each["model"].split()[0], each["classes"]): each for each in found}


def test_page_shows_results_and_leads_to_reports(demo: Path) -> None:
    page = (demo / "index.html").read_text()
    assert "<svg" in page
    assert "<script" not in page
    found = results(demo)
    assert len(found) == 6
    for each in found.values():
        assert each["num_videos"] == 24
        for accuracy in ("top1", "appearance", "motion"):
            assert f"{100 * each[accuracy]:.1f}\xa0%" in page
        assert f'href="{each["report"]}"' in page
        # The report shows clips that were named wrongly.
        assert (", frame 1 of 8" in (demo / each["report"]).read_text()) == (each["top1"] < 1)
    assert VideoModel.from_pretrained(demo / "run" / "model").class_names == world.trained_classes()


def test_shipped_prompts_know_motion_of_new_names(demo: Path) -> None:
    """Loose bounds, far below what the card says and far above frozen CLIP's motion, which is chance (1 in 8)."""
    found = results(demo)
    for classes in ("trained", "novel"):
        frozen, shipped = found["Frozen", classes], found["Shipped", classes]
        assert frozen["motion"] < 0.3
        assert shipped["motion"] > 0.5
        assert shipped["top1"] > 2 * frozen["top1"]
    assert not set(world.novel_classes()) & set(VideoModel.from_pretrained("miniature").class_names)


def test_demo_can_be_run_again_in_its_folder(demo: Path) -> None:
    before = (demo / "run" / "model" / "prompts.safetensors").read_bytes()
    assert main(["demo", "--out", str(demo), *ARGUMENTS]) == 0
    assert (demo / "run" / "model" / "prompts.safetensors").read_bytes() == before


def test_accuracies_equal_counting_by_hand() -> None:
    names, generator = world.class_names()[:16], torch.Generator().manual_seed(0)  # one colour, two shapes, all motions
    probabilities = torch.rand(200, 16, generator=generator).softmax(dim=1)
    labels = torch.randint(0, 16, (200,), generator=generator)
    counts = dict.fromkeys(("top1", "appearance", "motion"), 0)
    for row, label in zip(probabilities.tolist(), labels.tolist(), strict=True):
        truth, best = names[label], names[row.index(max(row))]
        look = truth.split()[:2]
        of_look = {name: p for name, p in zip(names, row, strict=True) if name.split()[:2] == look}
        counts["top1"] += truth == best
        counts["appearance"] += look == best.split()[:2]
        counts["motion"] += max(of_look, key=of_look.__getitem__).split()[2:] == truth.split()[2:]
    found = motion_accuracies(Scores(probabilities, labels, torch.arange(200)), names)
    assert found == pytest.approx({name: count / 200 for name, count in counts.items()})
