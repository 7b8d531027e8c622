"""The losses against plain loops, the batches, and a few steps of training."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import normalize

from vitaclip.clip import CLIP
from vitaclip.clip.tokenizer import Tokenizer
from vitaclip.miniature import captions, pretrain, stills, world
from vitaclip.miniature.vocabulary import train_tokenizer
from vitaclip.weights.backbone import load_backbone


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer()


@pytest.fixture(scope="module")
def pool() -> stills.Stills:
    return stills.render_stills(1, 0, 400, 64)


TINY = pretrain.PretrainConfig(
    word_steps=2, steps=2, batch_size=20, groups=3, group_size=5, caption_count=12, warmup_steps=1
)


def test_contrastive_loss_by_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    matches = torch.tensor(
        [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]], dtype=torch.bool
    )  # still 3 has no caption, caption 3 no still
    by_still, by_caption = [], []
    for i in range(5):
        partners = [j for j in range(4) if matches[i, j]]
        total = math.log(sum(math.exp(logits[i, j]) for j in range(4)))
        if partners:
            by_still.append(sum(total - logits[i, j].item() for j in partners) / len(partners))
    for j in range(4):
        partners = [i for i in range(5) if matches[i, j]]
        total = math.log(sum(math.exp(logits[i, j]) for i in range(5)))
        if partners:
            by_caption.append(sum(total - logits[i, j].item() for i in partners) / len(partners))
    expected = (sum(by_still) / len(by_still) + sum(by_caption) / len(by_caption)) / 2
    assert pretrain.contrastive_loss(logits, matches).item() == pytest.approx(expected, rel=1e-12)


def test_attribute_loss_by_loops() -> None:
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    codes = torch.tensor([[0, 2], [1, 3], [1, 0]])  # 3 is beyond the second attribute: no motion
    rows = {0: [0, 1, 2], 1: [0, 2]}
    losses = []
    for attribute, (start, stop) in enumerate(((0, 2), (2, 5))):
        part = [
            math.log(sum(math.exp(v) for v in logits[i, start:stop])) - logits[i, start + codes[i, attribute]].item()
            for i in rows[attribute]
        ]
        losses.append(sum(part) / len(part))
    assert pretrain.attribute_loss(logits, [2, 3], codes).item() == pytest.approx(sum(losses) / 2, rel=1e-12)


def test_batches_are_pure_and_hold_true_captions(pool: stills.Stills, tokenizer: Tokenizer) -> None:
    batches = pretrain.Batches(pool, tokenizer, TINY)
    one, again, other = batches(7), pretrain.Batches(pool, tokenizer, TINY)(7), batches(8)
    assert torch.equal(one.tokens.ids, again.tokens.ids)
    assert torch.equal(one.pixels, again.pixels)
    assert not torch.equal(one.pixels, other.pixels)
    still_count, caption_count = one.matches.shape
    assert still_count == 20
    assert len(one.tokens.end) == caption_count + sum(pretrain.Batches.attribute_sizes)
    appearance = one.codes[:15, captions.COLOUR] * 6 + one.codes[:15, captions.SHAPE]
    assert [len(set(group.tolist())) for group in appearance.split(5)] == [1, 1, 1]
    assert len(set(appearance.tolist())) == 3
    # The last captions are the class names of the three pairs: true of the stills that show just that motion.
    names = one.matches[:, -24:]
    moving = one.codes[:15, captions.MOTION] < 8
    assert torch.equal(names[:15].sum(dim=1) == 1, moving)


def test_halves_of_the_texts_change_nothing(tokenizer: Tokenizer) -> None:
    torch.manual_seed(0)
    clip = CLIP(pretrain.clip_config(tokenizer.vocab_size)).eval()
    tokens = tokenizer(["red arrow", "a tiny blue fish pointing up at the top left.", "moon", "a green key growing"])
    with torch.no_grad():
        whole = normalize(clip.encode_text(tokens.ids, tokens.end), dim=-1)
        assert torch.allclose(pretrain.encode_texts(clip, tokens), whole, atol=1e-6)


def test_a_few_steps_train_both_towers_the_same_way_twice(pool: stills.Stills, tokenizer: Tokenizer) -> None:
    torch.manual_seed(TINY.seed)
    start = {name: value.clone() for name, value in CLIP(pretrain.clip_config(tokenizer.vocab_size)).named_parameters()}
    losses: list[list[float]] = [[], []]
    for run in losses:

        def keep(step: int, loss: float, model: CLIP, run: list[float] = run) -> None:
            run.append(loss)

        clip = pretrain.pretrain(pool, tokenizer, TINY, keep)
    assert losses[0] == losses[1]
    assert len(losses[0]) == 4
    assert not clip.training
    unchanged = [name for name, value in clip.named_parameters() if torch.equal(value, start[name])]
    assert unchanged == []


def test_the_rate_warms_up_twice_and_falls_to_nothing() -> None:
    config = pretrain.PretrainConfig(word_steps=100, steps=100, warmup_steps=10)
    rates = [pretrain._rate(step, config) for step in range(201)]
    assert rates[0] == 0.0
    assert rates[100] == 0.0
    assert max(rates) == rates[10] > 0.95
    assert rates[110] > 0.3
    assert rates[200] == pytest.approx(0.0, abs=1e-9)


def test_words_can_be_learned(pool: stills.Stills) -> None:
    """The linear guess fits what it is given: its loss falls on features that hold the answer."""
    codes = torch.from_numpy(pool.codes[:100].astype(np.int64))
    features = torch.cat(
        [nn.functional.one_hot(codes[:, i], size + 1) for i, size in enumerate(pretrain.Batches.attribute_sizes)], dim=1
    ).float()
    head = nn.Linear(features.shape[1], sum(pretrain.Batches.attribute_sizes), bias=False)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        loss = pretrain.word_loss(head, features, codes)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


def test_the_command_writes_a_backbone_with_its_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pool, training, storing and measuring, as in `python -m vitaclip.miniature.pretrain`."""
    sizes = "--pool-size 600 --word-steps 1 --steps 1 --batch-size 20 --groups 3 --group-size 5 --caption-count 12"
    out = tmp_path / "backbone"
    pretrain.main([*sizes.split(), "--held-out", "80", "--pool", str(tmp_path / "pool"), "--out", str(out)])
    printed = capsys.readouterr().out
    measured = json.loads(printed[printed.index("{\n") :])
    assert set(measured["zero_shot"]) == set(pretrain.ASKED)
    assert set(measured["motions"]) == set(world.MOTIONS)
    assert set(measured["pose"]) == {"feature", "cls"}
    card = (out / "CARD.md").read_text(encoding="utf-8")
    assert "--pool-size 600 --word-steps 1 --steps 1 --batch-size 20" in card
    assert f"{100 * measured['zero_shot']['colour']:.1f} %" in card
    backbone = load_backbone(out)
    assert {value.dtype for value in load_file(out / "model.safetensors").values()} == {torch.float16}
    assert backbone.clip.config.vision.image_size == 64


@pytest.mark.parametrize(("name", "value"), [("groups", 37), ("group_size", 100), ("batch_size", 0)])
def test_a_wrong_recipe_names_its_field(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=name):
        pretrain.PretrainConfig(**{name: value})
