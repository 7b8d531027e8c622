"""How the miniature CLIP was trained: losses against plain loops, stills against decoded frames, what it must know."""

import json
import math
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from miniature_clip import captions, pretrain, probes, stills
from miniature_clip.vocabulary import train_tokenizer
from vitaclip.backbones.loading import load_backbone
from vitaclip.backbones.model import CLIP
from vitaclip.miniature import videos, world

FRESH_SEED = 2_000_003
"""Of stills that neither training nor the card has seen."""
SMALL = "--pool-size 600 --word-steps 1 --steps 1 --batch-size 20 --groups 3 --group-size 5 --caption-count 12"


def test_contrastive_loss_equals_plain_loops() -> None:
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matches = torch.tensor(
        [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]], dtype=torch.bool
    )  # still 3 has no caption, caption 3 no still
    expected = 0.0
    for scores, pairs in ((logits, matches), (logits.T, matches.T)):
        means = []
        for row, is_pair in zip(scores.tolist(), pairs.tolist(), strict=True):
            total = math.log(sum(math.exp(score) for score in row))
            positives = [total - score for score, true in zip(row, is_pair, strict=True) if true]
            means += [sum(positives) / len(positives)] if positives else []
        expected += sum(means) / len(means) / 2
    assert pretrain.contrastive_loss(logits, matches).item() == pytest.approx(expected, rel=1e-12)


def test_attribute_loss_equals_plain_loops() -> None:
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    codes = torch.tensor([[0, 2], [1, 3], [1, 0]])  # 3 is beyond the second attribute: no motion
    losses = []
    for attribute, (start, stop, rows) in enumerate(((0, 2, [0, 1, 2]), (2, 5, [0, 2]))):
        part = [
            math.log(sum(math.exp(v) for v in logits[i, start:stop])) - logits[i, start + codes[i, attribute]].item()
            for i in rows
        ]
        losses.append(sum(part) / len(part))
    assert pretrain.attribute_loss(logits, [2, 3], codes).item() == pytest.approx(sum(losses) / 2, rel=1e-12)


def test_still_at_rest_resembles_decoded_frame(tmp_path: Path) -> None:
    """The same scene once through H.264 and once through `halve_chroma`, both at the CLIP's size."""
    class_id, path = world.class_id_of("red heart moving left"), tmp_path / "clip.mp4"
    videos.encode_video(path, world.render_video(0, class_id, 1))
    with av.open(str(path)) as container:
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    drawn = world.render_video(0, class_id, 1)

    def small(frames: np.ndarray) -> np.ndarray:
        return stills.resize(torch.from_numpy(frames.copy()).permute(0, 3, 1, 2), 64).numpy().astype(float)

    shape = np.abs(small(drawn) - small(drawn[::-1])).max(axis=(0, 1)) > 20
    assert np.abs(small(stills.halve_chroma(drawn)) - small(decoded))[:, :, shape].mean() < 3.0


def test_every_world_word_is_one_token() -> None:
    tokenizer = train_tokenizer()
    for word in set(" ".join([*world.class_names(), *captions.SIZES, *captions.DIRECTIONS]).split()):
        assert len(tokenizer.encode(word)) == 1, word
    assert tokenizer.vocabulary.content() == load_backbone("miniature").tokenizer.vocabulary.content()


def test_sigmoid_loss_equals_plain_loops() -> None:
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matches = torch.tensor([[1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]], dtype=torch.bool)
    pairs = zip(logits.flatten().tolist(), matches.flatten().tolist(), strict=True)
    expected = sum(math.log(1 + math.exp(-logit if true else logit)) for logit, true in pairs) / 3
    assert pretrain.sigmoid_loss(logits, matches).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "start"), [("clip", ""), ("siglip", "miniature"), ("pe", "")])
def test_command_writes_the_same_backbone_twice(
    kind: str, start: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pool, training, storing and measuring, as in `python -m miniature_clip.pretrain`."""
    options = ["--kind", kind, "--start", start, *SMALL.split(), "--held-out", "80", "--pool", str(tmp_path / "pool")]
    for out in (tmp_path / "one", tmp_path / "two"):
        pretrain.main([*options, "--out", str(out)])
        printed = capsys.readouterr().out
        measured = json.loads(printed[printed.index("{\n") :])
        card = (out / "CARD.md").read_text(encoding="utf-8")
        assert "--pool-size 600 --word-steps 1 --steps 1 --batch-size 20" in card
        assert f"{100 * measured['zero_shot']['colour']:.1f} %" in card
        assert {value.dtype for value in load_file(out / "model.safetensors").values()} == {torch.float16}
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two


def test_kinds_are_what_they_are_called() -> None:
    configs = {kind: pretrain.tower_config(kind, train_tokenizer()) for kind in pretrain.KINDS}
    assert configs["clip"] == load_backbone("miniature").clip.config
    towers = {kind: (c.vision.class_token, c.vision.rope, c.vision.pool, c.similarity) for kind, c in configs.items()}
    assert towers["siglip"] == (False, "none", "attention", "sigmoid")
    assert towers["pe"] == (True, "pe", "attention", "softmax")
    text = configs["siglip"].text
    assert (text.order, text.layout.start, text.layout.feature) == ("all", (), "last")


@pytest.mark.slow
def test_shipped_backbone_knows_its_world() -> None:
    """Bounds a few points below the card's figures; an untrained CLIP of the same shape stays far below them."""
    backbone = load_backbone("miniature")
    backbone.clip.tokenizer = backbone.tokenizer
    fresh = stills.render_stills(FRESH_SEED, 0, 1200, 64)
    scores = probes.zero_shot_scores(backbone.clip, fresh)
    bounds = {"colour": 0.99, "shape": 0.95, "motion": 0.79, "place": 0.84, "size": 0.47, "direction": 0.83}
    assert {name: round(scores[name], 3) for name in bounds if scores[name] < bounds[name]} == {}
    pose = probes.pose_scores(backbone.clip, fresh)["token"]
    assert min(pose.values()) > 0.75
    torch.manual_seed(0)
    untrained = CLIP(backbone.clip.config)
    untrained.tokenizer = backbone.tokenizer
    assert max(probes.zero_shot_scores(untrained, fresh).values()) < 0.5
