"""The attention shown is the attention computed: against what the fused kernel was given, one head and key at a time.

Axes: T frames, S tokens looked at.
"""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tiny import all_kinds, tiny_backbone, tiny_model
from vitaclip.backbones.vision import VisionTower
from vitaclip.explain.explanation import attention_weights, last_attention
from vitaclip.model import VideoModel

T = 4
PLAIN: dict[str, Any] = {"num_frames": T, "context": {}}
SETTINGS: list[dict[str, Any]] = [
    PLAIN,
    {"num_frames": T, "context": all_kinds(2)},
    {"num_frames": 6, "context": {"global": {"count": 3}, "summary": {}, "time": {}}},  # time is interpolated
    {"num_frames": T, "context": {"local": {}, "time": {}}},
    {"num_frames": T, "context": {"summary": {}}},
]
Kernels = Callable[[VideoModel], tuple[Tensor, ...]]
NAMES = ["-".join(each["context"]) or "none" for each in SETTINGS]


def double_model(video: dict[str, Any]) -> VideoModel:
    return tiny_model(**video).double()


def random_clip(size: int = 16) -> Tensor:
    return torch.randn(T, 3, size, size, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def plain_weights(query: Tensor, keys: Tensor) -> list[float]:
    """Softmax of scaled products, number by number."""
    scores = [sum(a * b for a, b in zip(query.tolist(), key.tolist(), strict=True)) for key in keys]
    powers = [math.exp(score / math.sqrt(len(query))) for score in scores]
    return [power / sum(powers) for power in powers]


@pytest.fixture
def run_kernels(monkeypatch: pytest.MonkeyPatch) -> Kernels:
    """Runs a model on the random clip; returns query, key, value and output of its last block's fused attention."""
    calls: list[tuple[Tensor, ...]] = []
    fused = F.scaled_dot_product_attention

    def recorded(query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False) -> Tensor:
        mixed = fused(query, key, value, is_causal=is_causal)
        calls.append((query, key, value, mixed))
        return mixed

    def run(model: VideoModel) -> tuple[Tensor, ...]:
        with torch.no_grad():
            model.encode_video(random_clip()[None])
        return calls[-1]  # its prompts were made before

    monkeypatch.setattr(F, "scaled_dot_product_attention", recorded)
    return run


@pytest.mark.parametrize("config", SETTINGS, ids=NAMES)
def test_weights_are_those_of_the_fused_kernel(config: dict[str, Any], run_kernels: Kernels) -> None:
    model = double_model(config)
    ours = last_attention(model, random_clip()).weights
    query, key, value, mixed = run_kernels(model)
    weights = torch.cat([ours["itself"], *(part for kind, part in ours.items() if kind != "itself")], dim=-1)
    heads = query.shape[1]
    assert weights.shape == (heads, T, key.shape[-2])
    for t in range(T):
        for head in range(heads):
            expected = plain_weights(query[t, head, 0], key[t, head])
            assert weights[head, t].tolist() == pytest.approx(expected, rel=1e-9)
            output = weights[head, t] @ value[t, head]
            torch.testing.assert_close(output, mixed[t, head, 0], rtol=1e-9, atol=1e-12)


POOLED: dict[str, dict[str, Any]] = {
    "siglip": {"class_token": False, "norm_pre": False, "pool": "attention"},
    "pe": {"rope": "pe", "pool": "attention", "pool_heads": 4},
    "clipa": {"norm_pre": False, "pool": "mean"},
}


def pooled_fractions(tower: VisionTower, tokens: Tensor) -> Tensor:
    """(T, L) of what each of the last block's tokens gives to the frame's feature, by torch's own attention."""
    config = tower.config
    if config.pool == "mean":
        return torch.tensor([[0.0, *[1 / config.num_patches] * config.num_patches]], dtype=tokens.dtype).expand(T, -1)
    of, normed = tower.pool.attention, tower.norm_post(tokens)
    theirs = torch.nn.MultiheadAttention(config.width, of.heads, batch_first=True).double()
    theirs.in_proj_weight.data = torch.cat([of.query.weight, of.key.weight, of.value.weight])
    theirs.in_proj_bias.data = torch.cat([of.query.bias, torch.zeros_like(of.query.bias), of.value.bias])
    fractions: Tensor = theirs(tower.pool.probe.expand(T, 1, -1), normed, normed)[1][:, 0]
    return fractions


@pytest.mark.parametrize("name", POOLED)
@pytest.mark.parametrize("context", [{}, all_kinds(2)], ids=["frozen", "prompted"])
def test_pooled_tokens_are_weighed_by_the_pool(name: str, context: dict[str, Any], run_kernels: Kernels) -> None:
    backbone = tiny_backbone(**POOLED[name])
    model = VideoModel(backbone, double_model(PLAIN | {"context": context}).config).double().eval()
    ours = last_attention(model, random_clip()).weights
    query, key, *_ = run_kernels(model)
    tower = model.backbone.vision
    with torch.no_grad():
        fractions = pooled_fractions(tower, model.run_tower(random_clip()[None])[-1].output[0])
    cls = ["cls tokens"] if tower.config.class_token else []
    weights = torch.cat([ours[kind] for kind in (*cls, *(k for k in ours if k not in cls))], dim=-1)
    assert list(ours) == ["patches", *cls, *(["global", "local", "summary"] if context else [])]
    for t in range(T):
        for head in range(query.shape[1]):
            looks = torch.tensor([plain_weights(each, key[t, head]) for each in query[t, head]], dtype=torch.float64)
            torch.testing.assert_close(weights[head, t], fractions[t] @ looks, rtol=1e-9, atol=1e-12)


def test_heat_lies_where_the_patches_lie() -> None:
    """Patches go row by row. In a tower of one block another content of a patch changes its own score alone, and all
    others by the same factor."""
    model = VideoModel(tiny_backbone(image_size=24, depth=1), double_model(PLAIN).config).double().eval()
    clip = random_clip(24)
    changed = clip.clone()
    changed[1, :, 8:16, 16:24] += 9
    before, after = last_attention(model, clip), last_attention(model, changed)
    factors = after.weights["patches"] / before.weights["patches"]  # (heads, T, N)
    assert torch.equal(factors[:, [0, 2, 3]], torch.ones_like(factors[:, [0, 2, 3]]))  # prompts alone join frames
    others = torch.cat([factors[:, 1, :5], factors[:, 1, 6:]], dim=1)
    torch.testing.assert_close(others, others[:, :1].expand(2, 8))
    assert float((factors[:, 1, 5] / others[:, 0] - 1).abs().min()) > 0.01
    assert float(after.heat[1, 1, 2]) == pytest.approx(float(after.weights["patches"][:, 1, 5].mean()))


def test_the_softmax_is_in_float32_under_autocast() -> None:
    layer = tiny_model().backbone.vision.blocks[-1].attention
    tokens = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        weights = attention_weights(layer, tokens, 1)[..., 0, :]  # type: ignore[arg-type]
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2), rtol=0, atol=1e-6)
