"""Linear layers and attention by several torch operations: equal numbers by each, and the fast one where it is fast."""

from typing import Any
from unittest.mock import Mock

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tiny import all_kinds, learned_text, tiny_backbone
from vitaclip.backbones import kernels, transformer
from vitaclip.backbones.transformer import Attention
from vitaclip.model import VideoModel
from vitaclip.parts.config import ModelConfig


def random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("x", [random(6, 8), random(2, 3, 5, 8), random(3, 9, 8)[:, 2:7]])
def test_convolution_of_size_one_is_the_linear_layer(x: Tensor) -> None:
    """Of a part of the tokens and of the weights too, as the last block has it, whose keys alone are of all tokens."""
    weight, bias = random(12, 8)[4:], random(12)[4:]
    expected = x.double() @ weight.double().T + bias.double()
    torch.testing.assert_close(kernels.linear_by_convolution(x, weight, bias).double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("many", [False, True], ids=["few_rows", "many_rows"])
@pytest.mark.parametrize("training", [False, True], ids=["testing", "training"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_convolution_is_taken_for_many_rows_without_gradients(
    many: bool, training: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "_WITH_ONEDNN", True)
    convolve = Mock(wraps=kernels.linear_by_convolution)
    monkeypatch.setattr(kernels, "linear_by_convolution", convolve)
    x, weight, bias = random(2 if many else 1, 600, 8, dtype=dtype), random(4, 8, dtype=dtype), random(4, dtype=dtype)
    got = kernels.linear(x, weight.requires_grad_(training), bias)
    assert convolve.called == (many and not training and dtype == torch.float32)
    torch.testing.assert_close(got, F.linear(x, weight, bias), atol=1e-5, rtol=1e-5)


def test_frozen_layers_keep_no_inputs() -> None:
    """A convolution would: it costs the memory of the MLP's inner activations."""
    x, weight, bias = random(2000, 8).requires_grad_(), random(4, 8), random(4)
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        kernels.linear(x, weight, bias)
    assert max(kept) <= weight.numel()


def test_attention_to_context_keeps_nothing_twice() -> None:
    """Keys and values are copied to stand beside the context's, so what they were copied from need not stay."""
    attention, x, context = Attention(8, 2), random(1, 3, 40, 8).requires_grad_(), random(1, 3, 1, 8)
    weights = {p.untyped_storage().data_ptr() for p in attention.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes() * (storage.data_ptr() not in weights)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = attention(x, [context])
    assert result.requires_grad
    parts = 5.5  # what comes in, queries, keys, values, their mixture; and small things
    assert sum(kept.values()) < parts * x.numel() * x.element_size()


@pytest.mark.parametrize("causal", [False, True])
def test_plain_products_are_attention(causal: bool) -> None:
    keys = 5 if causal else 7
    inputs = [random(2, 3, length, 4, dtype=torch.float64) for length in (5, keys, keys)]
    grad = random(2, 3, 5, 4, dtype=torch.float64)
    query, key, value = leaves = [tensor.requires_grad_() for tensor in inputs]
    got = kernels.attend_by_products(query, key, value, causal=causal)
    expected = F.scaled_dot_product_attention(query, key, value, is_causal=causal)
    torch.testing.assert_close(got, expected, atol=1e-12, rtol=1e-12)
    gradients = [torch.autograd.grad(value, leaves, grad) for value in (got, expected)]
    torch.testing.assert_close(*gradients, atol=1e-12, rtol=1e-12)


def test_bfloat16_training_on_a_cpu_is_exact() -> None:
    """Against float64 on the same rounded numbers: a per cent of the length, of the output and of each gradient."""
    inputs = [random(2, 2, length, 32, dtype=torch.bfloat16).requires_grad_() for length in (50, 66, 66)]
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    query, key, value = inputs
    out = kernels.scaled_dot_product_attention(query, [key], [value], causal=False)
    expected = F.scaled_dot_product_attention(exact[0], exact[1], exact[2])
    grad = random(*out.shape, dtype=torch.bfloat16)
    got = [out, *torch.autograd.grad(out, inputs, grad)]
    wanted = [expected, *torch.autograd.grad(expected, exact, grad.double())]
    for mine, theirs in zip(got, wanted, strict=True):
        assert mine.dtype == torch.bfloat16
        assert (mine.double() - theirs).norm() < 0.01 * theirs.norm()


@pytest.mark.parametrize("context", [(), (1,), (8, 1), (17,)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_padded_attention_is_exact(dtype: torch.dtype, context: tuple[int, ...]) -> None:
    """Against float64 on the same rounded numbers: 47, 48, 56 and 64 keys, of which the last need no filling."""
    query, *keys = [random(2, 3, 4, count, 32, dtype=dtype) for count in (47, 47, *context)]
    got = kernels.attend_padded(query, keys, [key.flip(-1) for key in keys]).unflatten(0, (2, 3))
    key = torch.cat(keys, dim=-2).double()
    expected = F.scaled_dot_product_attention(query.double(), key, key.flip(-1))
    assert got.dtype == dtype
    assert (got.double() - expected).norm() < (0.01 if dtype == torch.bfloat16 else 1e-12) * expected.norm()


@pytest.mark.parametrize(
    ("dtype", "training", "keys", "way"),
    [
        (torch.bfloat16, True, 70, "attend_by_products"),
        (torch.bfloat16, False, 70, "attend_padded"),
        (torch.bfloat16, False, 16, "fused"),
        (torch.float32, True, 70, "fused"),
        (torch.float32, False, 70, "fused"),
    ],
)
def test_attention_takes_the_fast_way(
    dtype: torch.dtype, training: bool, keys: int, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = {name: Mock(wraps=getattr(kernels, name)) for name in ("attend_by_products", "attend_padded")}
    for name, wrapped in ways.items():
        monkeypatch.setattr(kernels, name, wrapped)
    query, key = random(1, 1, 4, 8, dtype=dtype), random(1, 1, keys, 8, dtype=dtype)
    kernels.scaled_dot_product_attention(query.requires_grad_(training), [key], [key], causal=False)
    assert {name: wrapped.called for name, wrapped in ways.items()} == {name: name == way for name in ways}


TOWERS: dict[str, dict[str, Any]] = {
    "class token, a rest of pixels": {"image_size": 18},
    "rotated": {"rope": "pe", "depth": 3},
    "gated, norms inside": {"gated": True, "inner_norm": True, "activation": "silu"},
    "attention pool": {"class_token": False, "norm_pre": False, "pool": "attention", "activation": "gelu_tanh"},
}


def features_and_gradients(vision: dict[str, Any]) -> list[Tensor]:
    """Logits of two clips in float64, and the gradients of all that trains."""
    config = ModelConfig(backbone="tiny", num_frames=3, context=all_kinds(2), head=learned_text(2), train="both")
    model = VideoModel(tiny_backbone(**vision), config, ("jump", "run up")).double()
    side = model.image_size
    video = torch.randint(256, (2, 3, 3, side, side), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    logits = model(video, model.encode_text(model.class_names))
    F.cross_entropy(logits, torch.tensor([0, 1])).backward()
    return [logits.detach(), *(p.grad for p in model.trainable_parameters().values() if p.grad is not None)]


def take_gpu_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (kernels, transformer):
        monkeypatch.setattr(module, "on_gpu", lambda _: True)


@pytest.mark.parametrize("vision", TOWERS.values(), ids=TOWERS)
def test_ways_of_a_gpu_give_the_same_numbers(vision: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = features_and_gradients(vision)
    take_gpu_ways(monkeypatch)
    torch.testing.assert_close(features_and_gradients(vision), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("vision", TOWERS.values(), ids=TOWERS)
def test_gpu_blocks_keep_bfloat16_as_near_as_autocast(vision: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The errors of what leaves a block, and of the gradient of what came in, are at most twice those of autocast."""
    tokens, context, grad = random(3, 9, 16).requires_grad_(), random(3, 2, 16), random(3, 9, 16)

    def run(dtype: torch.dtype) -> list[Tensor]:
        block = tiny_backbone(**vision).clip.vision.blocks[0].requires_grad_(False).to(dtype)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.float32):
            out = block(tokens.to(dtype), [context.to(dtype)])
        assert out.dtype == (torch.bfloat16 if kernels.on_gpu(out) and dtype == torch.float32 else dtype)
        return [out.detach().double(), torch.autograd.grad(out, tokens, grad.to(out.dtype))[0].double()]

    exact, plain = run(torch.float64), run(torch.float32)
    take_gpu_ways(monkeypatch)
    for mine, usual, expected in zip(run(torch.float32), plain, exact, strict=True):
        assert (mine - expected).norm() < 2 * (usual - expected).norm()
