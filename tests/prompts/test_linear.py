"""The linear probe: a cosine classifier on frozen video features, against one written by hand in float64."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from small_world import NAMES, train_config
from tiny import tiny_model
from vitaclip.clip import CLIP
from vitaclip.config import TextPromptConfig, TrainConfig, VideoPromptConfig
from vitaclip.data import TrainBatch
from vitaclip.evaluate.wording import Wording, encode_names, plan_text
from vitaclip.model import VitaCLIP
from vitaclip.prompts import ClassVectors
from vitaclip.train.build import build_trainer, run_training
from vitaclip.train.schedule import cosine

TEMPLATES = ("a photo of {}.", "a video {}.")
PROBE = TextPromptConfig(num_context=0, linear=True, templates=TEMPLATES)
NO_PROMPTS = VideoPromptConfig(num_frames=4, num_global=0, local=False, summary=False, time=False)


def probe_config(world: Path, out: Path, **optim: float) -> TrainConfig:
    config = train_config(world, out, **optim)
    return replace(config, model=replace(config.model, video=NO_PROMPTS, text=PROBE))


def test_it_starts_where_clip_is_without_training() -> None:
    model = tiny_model(NAMES, text=PROBE)
    torch.testing.assert_close(model.encode_text(NAMES), model.encode_text(NAMES, TEMPLATES))
    counts = model.trained_counts()
    assert (counts["linear"], counts["text"], counts["towers"]) == (3 * 8, 0, 0)


def test_it_serves_its_own_classes_in_any_order_and_no_others() -> None:
    model = tiny_model(NAMES, text=PROBE)
    assert isinstance(model.prompts.text, ClassVectors)
    vectors = torch.nn.init.normal_(model.prompts.text.vectors).detach()
    expected = F.normalize(torch.stack([vectors[2], vectors[0]]), dim=1)
    torch.testing.assert_close(model.encode_text([NAMES[2], NAMES[0]]), expected)
    torch.testing.assert_close(encode_names(model, [NAMES[2], NAMES[0]]), expected)
    with pytest.raises(ValueError, match=r"one vector for each of its own 3 classes.*pass templates"):
        model.encode_text([NAMES[0], "stand"])
    assert "a vector for each of its 3 classes" in plan_text(model, ["stand"], Wording()).note
    torch.testing.assert_close(
        encode_names(model, ["stand", NAMES[0]]), model.encode_text(["stand", NAMES[0]], TEMPLATES)
    )


def test_training_equals_a_cosine_classifier_written_by_hand(world: Path, tmp_path: Path) -> None:
    config = probe_config(world, tmp_path, steps=20, learning_rate=0.05, weight_decay=0.1)
    trainer = build_trainer(config)
    model = trainer.model.double()
    pixels = torch.Generator().manual_seed(0)
    video = torch.randint(0, 256, (4, 1, 4, 3, 16, 16), generator=pixels, dtype=torch.uint8)
    batch = TrainBatch(0, video, torch.arange(4) % len(NAMES), tuple(range(4)), ())
    with torch.no_grad():
        features = F.normalize(model.encode_video(video[:, 0], normalize=False), dim=1)
    assert isinstance(model.prompts.text, ClassVectors)
    vectors = model.prompts.text.vectors.detach().clone().requires_grad_()
    scale = model.prompts.logit_scale.detach().clone().requires_grad_()
    optimizer = torch.optim.AdamW([vectors, scale], weight_decay=0.1)
    for step in range(20):
        optimizer.param_groups[0]["lr"] = 0.05 * cosine(step, 20, 0)
        logits = scale.exp() * features @ (vectors / vectors.norm(dim=1, keepdim=True)).T
        optimizer.zero_grad()
        (-logits.log_softmax(dim=1)[range(4), batch.labels]).mean().backward()
        optimizer.step()
        trainer.train_step(batch)
        trainer.step += 1
    for ours, expected in ((model.prompts.text.vectors, vectors), (model.prompts.logit_scale, scale)):
        torch.testing.assert_close(ours.detach(), expected.detach(), rtol=1e-10, atol=1e-12)


def test_a_folder_brings_it_back_without_a_look_at_the_texts(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = run_training(probe_config(world, tmp_path))
    expected = model.encode_text(NAMES)
    assert not torch.allclose(expected, model.encode_text(NAMES, TEMPLATES))
    monkeypatch.setattr(CLIP, "encode_text", None)
    loaded = VitaCLIP.from_pretrained(tmp_path / "model")
    assert torch.equal(loaded.encode_text(NAMES), expected)
    assert "a learned vector stands for each class" in (tmp_path / "model" / "README.md").read_text()


def test_the_published_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no place for a linear probe's vectors; save a folder instead"):
        tiny_model(NAMES, text=PROBE).save_published(tmp_path / "model.pth")


def test_it_needs_classes_and_stands_in_place_of_a_context() -> None:
    with pytest.raises(ValueError, match=r"a vector per class needs the class names.*text.linear = false"):
        tiny_model(text=PROBE)
    with pytest.raises(ValueError, match=r"linear = True: stands in place of texts, but num_context = 8; set it to 0"):
        TextPromptConfig(linear=True)


def test_with_towers_the_image_tower_alone_trains_and_a_run_goes_on(world: Path, tmp_path: Path) -> None:
    config = probe_config(world, tmp_path, steps=4)
    config = replace(config, model=replace(config.model, train_towers=True))
    model = build_trainer(config).model
    towers = {f"clip.vision.{name}" for name, _ in model.clip.vision.named_parameters()}
    assert set(model.trainable_parameters()) == towers | {"text.vectors", "logit_scale"}
    trainer = build_trainer(config)
    trainer.steps = 2
    trainer.train()
    assert build_trainer(config).step == 2
