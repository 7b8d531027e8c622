"""What the towers leave out, or do piece by piece, changes nothing: against the whole computation, in float64."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tiny import tiny_backbone
from vitaclip.backbones import text as text_module
from vitaclip.backbones.text import TextTower
from vitaclip.backbones.transformer import Block, quick_gelu
from vitaclip.backbones.vision import resize_positions


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradients(value: Tensor, *of: Tensor) -> tuple[Tensor, ...]:
    """Of a random weighing of all numbers."""
    return torch.autograd.grad((value * random(*value.shape, seed=9)).sum(), of)


def test_quick_gelu_is_x_times_sigmoid() -> None:
    x = random(7, 5).requires_grad_()
    expected = x * torch.sigmoid(1.702 * x)
    torch.testing.assert_close(quick_gelu(x), expected, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(gradients(quick_gelu(x), x), gradients(expected, x), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("keep", [1, 3])
def test_kept_tokens_equal_the_whole_block(keep: int) -> None:
    block = tiny_backbone().clip.vision.blocks[0].double()
    assert isinstance(block, Block)
    x, shared, own = (
        random(*shape, seed=len(shape)).requires_grad_() for shape in [(2, 4, 5, 16), (3, 16), (2, 1, 16)]
    )
    context = [shared, own[:, None]]
    whole, kept = block(x, context)[..., :keep, :], block(x, context, keep=keep)
    torch.testing.assert_close(kept, whole, rtol=1e-12, atol=1e-12)
    both = [gradients(value, x, shared, own) for value in (kept, whole)]
    torch.testing.assert_close(*both, rtol=1e-12, atol=1e-12)


def one_by_one(tower: TextTower, embeddings: Tensor, end: Tensor) -> Tensor:
    """Features (K, D) of texts that never share a batch."""
    features = []
    for text, last in zip(embeddings, end.tolist(), strict=True):
        x = text[None, : last + 1] + tower.pos_embed[: last + 1]
        for block in tower.blocks:
            x = block(x, causal=True)
        features.append(tower.norm_final(x[0, last]) @ tower.proj)
    return torch.stack(features)


@pytest.mark.parametrize("kept", [0, 4, 100])
def test_texts_in_parts_equal_texts_alone(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_module, "CHUNK_SIZE", 3)
    monkeypatch.setattr(text_module, "MAX_STORED_TEXTS", kept)
    tower = tiny_backbone().clip.text.double()
    embeddings = random(11, 9, 12).requires_grad_()
    end = torch.tensor([8, 2, 5, 5, 1, 7, 3, 8, 2, 6, 4])
    trained = (embeddings, *tower.blocks[0].parameters(), tower.pos_embed)
    features, expected = tower(embeddings, end), one_by_one(tower, embeddings, end)
    torch.testing.assert_close(features, expected, rtol=1e-12, atol=1e-12)
    both = [gradients(value, *trained) for value in (features, expected)]
    torch.testing.assert_close(*both, rtol=1e-11, atol=1e-11)


def test_texts_beyond_the_kept_are_recomputed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_module, "CHUNK_SIZE", 2)
    monkeypatch.setattr(text_module, "MAX_STORED_TEXTS", 2)
    tower = tiny_backbone().clip.text
    encoded: list[int] = []
    encode = TextTower._encode

    def counted(self: TextTower, embeddings: Tensor, end: Tensor, *deep: Any) -> Tensor:
        encoded.append(len(end))
        return encode(self, embeddings, end, *deep)

    monkeypatch.setattr(TextTower, "_encode", counted)
    embeddings, end = random(5, 4, 12).float().requires_grad_(), torch.tensor([3, 1, 2, 3, 2])
    tower(embeddings, end).sum().backward()
    assert encoded == [2, 2, 1, 1, 2]
    encoded.clear()
    with torch.no_grad():
        tower(embeddings, end)
    assert encoded == [2, 2, 1]


@pytest.mark.parametrize("resample", ["bicubic_antialias", "bicubic", "bilinear"])
def test_resampled_positions_keep_their_meaning(resample: str) -> None:
    """Rows and columns keep their meaning: a value that grows to the right still does, and by the same slope, from
    which transformers' bicubic (a = -0.75) strays by a twentieth."""
    ramp = torch.arange(8.0).expand(8, 8)
    positions = torch.cat([torch.zeros(1, 2), torch.stack([ramp, ramp.T], dim=-1).reshape(64, 2)])
    config = tiny_backbone(image_size=128, resample=resample).clip.config.vision
    grid = resize_positions(positions, config)[1:].view(16, 16, 2)
    inner = grid[4:12, 4:12]
    centres = (torch.arange(16.0) + 0.5) / 2 - 0.5
    torch.testing.assert_close(inner[..., 0], centres[4:12].expand(8, 8), atol=0.05, rtol=0)
    torch.testing.assert_close(inner[..., 1], centres[4:12, None].expand(8, 8), atol=0.05, rtol=0)
