"""Wordings tried on videos: against loops over candidates, videos and views, and where the winner is known."""

import csv
import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from small_world import NAMES
from tiny import tiny_model
from vitaclip.catalog import load_templates, template_names
from vitaclip.cli import main
from vitaclip.config import TextPromptConfig
from vitaclip.evaluate.scoring import VideoFeatures
from vitaclip.evaluate.wording import Wording
from vitaclip.evaluate.wording_trials import AS_GIVEN, LEARNED, SUGGESTED, try_wordings
from vitaclip.miniature.videos import write_clip
from vitaclip.miniature.world import class_names
from vitaclip.model import VitaCLIP

GIVEN = ("JumpUp", "moving_left", "SitStandRun", "a very LongName")
BETTER = ("jump up", "moving left", "sit stand run", "a very long name")
SETS = {name: load_templates(name) for name in template_names()}


def embedded(features: Tensor, labels: Tensor) -> VideoFeatures:
    """Videos of given vectors (n, V, D)."""
    return VideoFeatures(F.normalize(features, dim=-1).unsqueeze(1), labels, torch.arange(len(labels)), {})


def random_videos(n: int, views: int, seed: int = 0) -> VideoFeatures:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(len(GIVEN), (n,), generator=generator)
    return embedded(torch.randn(n, views, 8, generator=generator), labels)


@torch.no_grad()
def top1_by_hand(model: VitaCLIP, videos: VideoFeatures, text: Tensor) -> float:
    """One video and one view at a time."""
    right = 0
    for views, label in zip(videos.features[:, 0], videos.labels.tolist(), strict=True):
        probabilities = [(model.prompts.logit_scale.exp() * text @ view).softmax(dim=0) for view in views]
        right += int(sum(probabilities).argmax()) == label
    return right / len(videos.labels)


def test_every_candidate_equals_a_loop_over_videos_and_views() -> None:
    model, videos = tiny_model(), random_videos(40, 2)
    found = try_wordings(model, GIVEN, videos, Wording())
    texts: dict[str, list[str] | None] = {template: [template] for each in SETS.values() for template in each}
    texts |= {f"{name} ({len(each)} templates)": list(each) for name, each in SETS.items() if len(each) > 1}
    texts |= {LEARNED: None, "a video of {}.": ["a video of {}."]}
    expected = {
        (wording, label): top1_by_hand(model, videos, model.encode_text(names, templates))
        for (wording, names), (label, templates) in itertools.product(
            ((AS_GIVEN, GIVEN), (SUGGESTED, BETTER)), texts.items()
        )
    }
    assert {(each.wording, each.text): each.top1 for each in found.trials} == pytest.approx(expected)
    assert len(set(expected.values())) > 5
    shares = [each.top1 for each in found.trials]
    assert shares == sorted(shares, reverse=True)
    assert (found.present.wording, found.present.text) == (AS_GIVEN, LEARNED)
    for each in found.trials:
        assert each.compared.difference == pytest.approx(each.top1 - found.present.top1)
    assert (found.num_videos, found.not_tried, found.suggestions_differ) == (40, (), True)


@pytest.mark.parametrize(
    ("templates", "text"),
    [
        (("a photo of a {}.",), "a photo of a {}."),
        (SETS["clip48"], "clip48 (48 templates)"),
        (("one {}", "two {}"), "the 2 templates given"),
    ],
)
def test_the_present_choice_is_what_is_given(templates: tuple[str, ...], text: str) -> None:
    model, videos = tiny_model(), random_videos(20, 1)
    found = try_wordings(model, GIVEN, videos, Wording(templates))
    assert found.present.text == text
    assert found.present.top1 == pytest.approx(top1_by_hand(model, videos, model.encode_text(GIVEN, templates)))
    assert found.present.compared.p_value == 1.0


def planted(model: VitaCLIP, templates: tuple[str, ...], names: tuple[str, ...]) -> VideoFeatures:
    """Videos that are the text vectors of the names in these templates, and some noise."""
    labels = torch.arange(120) % len(names)
    with torch.no_grad():
        text = model.encode_text(names, templates)
    noise = 0.1 * torch.randn(120, 1, 8, generator=torch.Generator().manual_seed(1))
    return embedded(text[labels][:, None] + noise, labels)


def test_a_planted_wording_and_set_win_by_more_than_chance() -> None:
    model = tiny_model()
    found = try_wordings(model, GIVEN, planted(model, SETS["actionclip16"], BETTER), Wording())
    best = found.trials[0]
    assert best.wording == SUGGESTED
    assert best.compared.beyond_chance
    assert "is better than the present choice by more than chance" in found.verdict
    assert best.top1 > 0.9 > found.present.top1
    assert found.held_out_top1 > 0.8
    trials = {(each.wording, each.text): each.top1 for each in found.trials}
    text = "actionclip16 (16 templates)"
    assert trials[SUGGESTED, text] > trials[AS_GIVEN, text]


@torch.no_grad()
def test_a_name_whose_videos_say_so_is_suggested_alone() -> None:
    """Videos show the first class as suggested and all others as given."""
    model, templates = tiny_model(), SETS["clip28"]
    videos = planted(model, templates, (BETTER[0], *GIVEN[1:]))
    found = try_wordings(model, GIVEN, videos, Wording())
    assert (found.trials[0].wording, found.trials[0].text) == (AS_GIVEN, "clip28 (28 templates)")
    (gain,) = found.names
    assert (gain.name, gain.suggestion) == (GIVEN[0], BETTER[0])
    given = top1_by_hand(model, videos, model.encode_text(GIVEN, templates))
    alone = top1_by_hand(model, videos, model.encode_text((BETTER[0], *GIVEN[1:]), templates))
    assert gain.compared.difference == pytest.approx(alone - given)
    assert gain.compared.difference > 0.05


def test_noise_is_not_taken_for_a_better_wording() -> None:
    found = try_wordings(tiny_model(), GIVEN, random_videos(40, 1, seed=2), Wording())
    best = found.trials[0]
    assert best.top1 > found.present.top1
    assert not best.compared.beyond_chance
    assert "Label more videos before you change anything" in found.verdict
    assert found.names == ()
    assert found.held_out_top1 < best.top1 - 0.1  # what was picked does not keep what it promised


def test_names_that_read_the_same_are_tried_once() -> None:
    names = ("jump_up", "Sit", "moving left")
    videos = random_videos(12, 1)
    videos = replace(videos, labels=videos.labels % 3)
    found = try_wordings(tiny_model(), names, videos, Wording())
    assert {each.wording for each in found.trials} == {AS_GIVEN}
    assert not found.suggestions_differ


def test_a_context_for_each_class_serves_the_names_it_was_trained_on() -> None:
    videos = random_videos(12, 1)
    text = TextPromptConfig(num_context=3, per_class=True)
    found = try_wordings(tiny_model(GIVEN, text=text), GIVEN, videos, Wording())
    assert [each.wording for each in found.trials if each.text == LEARNED] == [AS_GIVEN]
    assert found.present.text == LEARNED
    found = try_wordings(tiny_model(("run", "sit"), text=text), GIVEN, videos, Wording())
    assert LEARNED not in {each.text for each in found.trials}
    assert found.present.text == "a video of {}."


def test_texts_that_a_name_does_not_fit_are_named_or_stop_it() -> None:
    model = tiny_model()
    names = (" ".join(["very"] * 75), *BETTER[1:])  # 77 tokens with start and end
    found = try_wordings(model, names, random_videos(9, 1), Wording(("{}",)))
    assert {each.text for each in found.trials} == {"{}"}
    assert {LEARNED, "clip28 (28 templates)", "a photo of a {}."} <= set(found.not_tried)
    with pytest.raises(ValueError, match="the text tower takes 77; shorten"):
        try_wordings(model, names, random_videos(9, 1), Wording())
    with pytest.raises(ValueError, match="1 video could be read: comparing wordings needs at least 2"):
        try_wordings(model, GIVEN, random_videos(1, 1), Wording())


def test_the_command_agrees_with_separate_evaluations(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--backbone", str(world / "backbone"), "--workers", "0", "--runtime.precision", "float32"]
    common += ["--views.temporal", "2"]
    videos, out = str(world / "videos"), tmp_path / "out.json"
    command = ["classes", "check", "JumpUp, moving_left, MovingRight", "--videos", videos, *common]
    assert main([*command, "--out_json", str(out), "--near", "1"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "candidates on 12 videos of 3 classes" in printed
    assert "(mean over random halves)" in printed
    content = json.loads(out.read_text())
    assert [finding["suggestion"] for finding in content["findings"]] == ["jump up", "moving left", "moving right"]
    trials = {(each["wording"], each["text"]): each["top1"] for each in content["trials"]["trials"]}
    for text, template in (("clip28 (28 templates)", "clip28"), ("{}", "name")):
        for wording, names in ((AS_GIVEN, "JumpUp, moving_left, MovingRight"), (SUGGESTED, ", ".join(NAMES))):
            arguments = ["eval", videos, *common, "--classes", names, "--template", template]
            assert main([*arguments, "--out", str(out)]) == 0
            assert trials[wording, text] == pytest.approx(json.loads(out.read_text())["top1"])


def test_the_command_leaves_out_what_is_not_there_and_names_it(world: Path, tmp_path: Path) -> None:
    videos, out = [f"{world}/videos/jump_up/{n}.mp4,0" for n in range(3)], tmp_path / "out.json"
    (tmp_path / "list.csv").write_text("\n".join(["gone.mp4,1", *videos]))
    command = ["classes", "check", "jump up, run", "--videos", str(tmp_path / "list.csv"), "--workers", "0"]
    command += ["--backbone", str(world / "backbone"), "--views.temporal", "1", "--out_json", str(out)]
    assert main(command) == 0
    trials = json.loads(out.read_text())["trials"]
    (line,) = trials["left_out"]
    assert line.startswith("list.csv:1: ")
    assert trials["num_videos"] == 3
    assert main([*command, "--on_error", "raise"]) == 2


def test_in_the_miniature_world_joined_words_lose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Shipped prompts on rendered videos of eight names, written with their words run together."""
    chosen = class_names()[:16:2]
    with (tmp_path / "list.csv").open("w", newline="") as file:
        for n, name in enumerate(chosen * 2):
            write_clip(tmp_path / f"{n}.mp4", 5, class_names().index(name), n, 64, 32)
            csv.writer(file).writerow((f"{n}.mp4", name))
    joined = ", ".join("".join(word.capitalize() for word in name.split()) for name in chosen)
    out = tmp_path / "out.json"
    arguments = ["classes", "check", joined, "--videos", str(tmp_path / "list.csv"), "--workers", "0"]
    assert main([*arguments, "--out_json", str(out)]) == 0
    assert "is better than the present choice by more than chance" in capsys.readouterr().out
    trials = json.loads(out.read_text())["trials"]
    assert (trials["trials"][0]["text"], trials["trials"][0]["wording"]) == (LEARNED, SUGGESTED)
    assert trials["present"]["top1"] < 0.5 < trials["trials"][0]["top1"]
