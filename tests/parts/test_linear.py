"""The linear probe: a cosine classifier on frozen video features, against one written by hand in float64."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from small_world import NAMES, train_config
from tiny import tiny_model
from vitaclip.backbones.families.vitaclip import to_published
from vitaclip.backbones.model import CLIP
from vitaclip.data.loading.loader import TrainBatch
from vitaclip.evaluation.class_texts import encode_classes, resolve_templates
from vitaclip.model import VideoModel
from vitaclip.parts.heads.linear import LinearHead
from vitaclip.training.config import TrainConfig
from vitaclip.training.optim import Schedule
from vitaclip.training.trainer import Trainer

TEMPLATES = ("a photo of {}.", "a video {}.")
PROBE: dict[str, Any] = {"head": "linear", "templates": TEMPLATES}
NO_PROMPTS: dict[str, Any] = {"num_frames": 4, "context": {}}


def probe_config(world: Path, out: Path, **optim: float) -> TrainConfig:
    config = train_config(world, out, **optim)
    return replace(config, model=replace(config.model, **NO_PROMPTS, **PROBE))


def test_probe_starts_at_the_untrained_clip() -> None:
    model = tiny_model(NAMES, **PROBE)
    torch.testing.assert_close(model.encode_text(NAMES), model.encode_text(NAMES, TEMPLATES))
    counts = model.trained_counts()
    assert counts["linear"] == 3 * 8
    assert not {"learned_text", "backbone"} & counts.keys()


def test_probe_serves_its_own_classes_alone() -> None:
    model = tiny_model(NAMES, **PROBE)
    assert isinstance(model.head, LinearHead)
    vectors = torch.nn.init.normal_(model.head.vectors).detach()
    expected = F.normalize(torch.stack([vectors[2], vectors[0]]), dim=1)
    torch.testing.assert_close(model.encode_text([NAMES[2], NAMES[0]]), expected)
    torch.testing.assert_close(encode_classes(model, [NAMES[2], NAMES[0]]).features, expected)
    with pytest.raises(ValueError, match=r"one vector for each of its own 3 classes.*pass templates"):
        model.encode_text([NAMES[0], "stand"])
    assert "a vector for each of its 3 classes" in resolve_templates(model, ["stand"])[1]
    torch.testing.assert_close(
        encode_classes(model, ["stand", NAMES[0]]).features, model.encode_text(["stand", NAMES[0]], TEMPLATES)
    )


def test_training_equals_a_handwritten_cosine_classifier(world: Path, tmp_path: Path) -> None:
    config = probe_config(world, tmp_path, steps=20, learning_rate=0.05, weight_decay=0.1)
    trainer = Trainer(config)
    model = trainer.model.double()
    pixels = torch.Generator().manual_seed(0)
    video = torch.randint(0, 256, (4, 4, 3, 16, 16), generator=pixels, dtype=torch.uint8)
    batch = TrainBatch(0, video, torch.arange(4) % len(NAMES), tuple(range(4)), ())
    with torch.no_grad():
        features = F.normalize(model.encode_video(video, normalize=False), dim=1)
    assert isinstance(model.head, LinearHead)
    vectors = model.head.vectors.detach().clone().requires_grad_()
    scale = model.head.logit_scale.detach().clone().requires_grad_()
    optimizer = torch.optim.AdamW([vectors, scale], weight_decay=0.1)
    for step in range(20):
        optimizer.param_groups[0]["lr"] = Schedule(config.optim, 4).rate(step)
        logits = scale.exp() * features @ (vectors / vectors.norm(dim=1, keepdim=True)).T
        optimizer.zero_grad()
        (-logits.log_softmax(dim=1)[range(4), batch.labels]).mean().backward()
        optimizer.step()
        trainer.train_step(batch)
        trainer.step += 1
    for ours, expected in ((model.head.vectors, vectors), (model.head.logit_scale, scale)):
        torch.testing.assert_close(ours.detach(), expected.detach(), rtol=1e-10, atol=1e-12)


def test_loading_reads_no_texts(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Trainer(probe_config(world, tmp_path)).fit()
    expected = model.encode_text(NAMES)
    assert not torch.allclose(expected, model.encode_text(NAMES, TEMPLATES))
    monkeypatch.setattr(CLIP, "encode_ids", None)
    loaded = VideoModel.from_pretrained(tmp_path / "model")
    assert torch.equal(loaded.encode_text(NAMES), expected)
    assert "| compared with | linear |" in (tmp_path / "model" / "README.md").read_text()


def test_unfit_uses_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no name in that format for 1 tensors: \['head.vectors'\]"):
        to_published({}, tiny_model(NAMES, **PROBE).adapter_state())
    for towers in ("text", "both"):
        with pytest.raises(ValueError, match=r"ModelConfig.train = .*so that no text trains; set image or none"):
            tiny_model(NAMES, **PROBE, train=towers)
    with pytest.raises(ValueError, match=r"a vector per class needs the class names.*choose another model.head"):
        tiny_model(**PROBE)
