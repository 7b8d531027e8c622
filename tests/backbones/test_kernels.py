"""Linear layers and attention by several torch operations: equal numbers by each, and the fast one where it is fast."""

from unittest.mock import Mock

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vitaclip.backbones import kernels


def random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("leading", [(6,), (1, 6), (3, 5), (2, 3, 5)])
def test_a_convolution_of_size_one_is_the_linear_layer(leading: tuple[int, ...]) -> None:
    x, weight, bias = random(*leading, 8), random(12, 8), random(12)
    expected = x.double() @ weight.double().T + bias.double()
    torch.testing.assert_close(kernels.linear_by_convolution(x, weight, bias).double(), expected, atol=1e-5, rtol=1e-5)


def test_a_part_of_the_tokens_and_of_the_weights_is_a_convolution_too() -> None:
    """As the last block has it, whose keys alone are of all tokens."""
    x, weight, bias = random(3, 9, 8), random(12, 8), random(12)
    got = kernels.linear_by_convolution(x[:, 2:7], weight[4:], bias[4:])
    torch.testing.assert_close(got, F.linear(x[:, 2:7], weight[4:], bias[4:]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("many", [False, True], ids=["few_rows", "many_rows"])
@pytest.mark.parametrize("training", [False, True], ids=["testing", "training"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_convolution_is_taken_for_many_rows_that_nothing_is_kept_of(
    many: bool, training: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "_WITH_ONEDNN", True)
    convolve = Mock(wraps=kernels.linear_by_convolution)
    monkeypatch.setattr(kernels, "linear_by_convolution", convolve)
    x, weight, bias = random(2 if many else 1, 600, 8, dtype=dtype), random(4, 8, dtype=dtype), random(4, dtype=dtype)
    with torch.set_grad_enabled(training):
        got = kernels.linear(x, weight, bias)
    assert convolve.called == (many and not training and dtype == torch.float32)
    torch.testing.assert_close(got, F.linear(x, weight, bias), atol=1e-5, rtol=1e-5)


def test_frozen_layers_keep_nothing_of_what_comes_in_for_the_way_back() -> None:
    """A convolution would: it costs the memory of the MLP's inner activations."""
    x, weight, bias = random(2000, 8).requires_grad_(), random(4, 8), random(4)
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        kernels.linear(x, weight, bias)
    assert max(kept) <= weight.numel()


@pytest.mark.parametrize("causal", [False, True])
def test_plain_products_are_attention_with_its_gradients(causal: bool) -> None:
    keys = 5 if causal else 7
    inputs = [random(2, 3, length, 4, dtype=torch.float64) for length in (5, keys, keys)]
    grad = random(2, 3, 5, 4, dtype=torch.float64)
    query, key, value = leaves = [tensor.requires_grad_() for tensor in inputs]
    got = kernels.attend_by_products(query, key, value, causal=causal)
    expected = F.scaled_dot_product_attention(query, key, value, is_causal=causal)
    for mine, theirs in zip(
        [got, *torch.autograd.grad(got, leaves, grad)],
        [expected, *torch.autograd.grad(expected, leaves, grad)],
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, atol=1e-12, rtol=1e-12)


def test_training_in_bfloat16_on_a_cpu_is_as_exact_as_bfloat16_is() -> None:
    """Against float64 on the same rounded numbers: a per cent of the length, of the output and of each gradient."""
    inputs = [random(2, 2, length, 32, dtype=torch.bfloat16).requires_grad_() for length in (50, 66, 66)]
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    out = kernels.scaled_dot_product_attention(*inputs, causal=False)
    expected = F.scaled_dot_product_attention(exact[0], exact[1], exact[2])
    grad = random(*out.shape, dtype=torch.bfloat16)
    got = [out, *torch.autograd.grad(out, inputs, grad)]
    wanted = [expected, *torch.autograd.grad(expected, exact, grad.double())]
    for mine, theirs in zip(got, wanted, strict=True):
        assert mine.dtype == torch.bfloat16
        assert (mine.double() - theirs).norm() < 0.01 * theirs.norm()


@pytest.mark.parametrize(
    ("dtype", "training", "by_products"),
    [(torch.bfloat16, True, True), (torch.bfloat16, False, False), (torch.float32, True, False)],
)
def test_attention_is_fused_but_where_its_way_back_is_slow(
    dtype: torch.dtype, training: bool, by_products: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    multiply = Mock(wraps=kernels.attend_by_products)
    monkeypatch.setattr(kernels, "attend_by_products", multiply)
    query, key = random(1, 1, 4, 8, dtype=dtype), random(1, 1, 16, 8, dtype=dtype)
    with torch.set_grad_enabled(training):
        kernels.scaled_dot_product_attention(query, key, key, causal=False)
    assert multiply.called == by_products
