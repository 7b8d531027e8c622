"""The two operations that take the time, linear layers and attention, each by the torch operation that is fastest here.

Which one that is was measured, `python benchmarks/kernels.py`; they differ by rounding alone.

Axes: ... any leading axes, L queries, S keys, C channels of a head, I channels in, O channels out.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_MANY_ROWS = 1024
"""Rows from which on a linear layer is faster as a convolution."""
_FEW_KEYS = 64
"""Keys up to which filling them up saves nothing."""
_WITH_ONEDNN = torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
"""Whether the CPU has instructions, and torch the library, that this was measured with."""


class Linear(nn.Linear):
    """torch's linear layer, computed by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) -> (..., O)."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x W^T + b: (..., I), (O, I), (O,) -> (..., O).

    Of many rows on a CPU with AVX512 it is a convolution of size one, since oneDNN's are faster than the products torch
    uses; but not on the way to gradients, for which a convolution would keep what comes in, frozen weights or not.
    """
    many = x.numel() >= _MANY_ROWS * x.shape[-1] and x.dtype in (torch.float32, torch.bfloat16)
    if many and _WITH_ONEDNN and x.device.type == "cpu" and not _need_gradient(x, weight, bias):
        return linear_by_convolution(x, weight, bias)
    return F.linear(x, weight, bias)


def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor, *, causal: bool) -> Tensor:
    """softmax(q k^T / sqrt(C)) v: (..., L, C), (..., S, C), (..., S, C) -> (..., L, C); causal: query l sees keys 0..l.

    Fused, so that the weights are never in memory, but for training in bfloat16 on a CPU: torch's fused way back takes
    two to eight times as long there as plain products, which store the weights. In bfloat16 a CPU takes up to three
    times as long for a number of keys that is no multiple of 32, so masked ones fill them up.
    """
    if query.dtype == torch.bfloat16 and query.device.type == "cpu":
        if _need_gradient(query, key, value):
            return attend_by_products(query, key, value, causal=causal)
        if key.shape[-2] > _FEW_KEYS and not causal:
            return attend_padded(query, key, value)
    return F.scaled_dot_product_attention(query, key, value, is_causal=causal)


def _need_gradient(*inputs: Tensor) -> bool:
    return torch.is_grad_enabled() and any(each.requires_grad for each in inputs)


def linear_by_convolution(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """What `linear` computes; x has at least two axes."""
    pixels = x.reshape(-1, 1, *x.shape[-2:]).permute(0, 3, 1, 2)  # (..., 1, L, I) -> channels first, as a view
    out = F.conv2d(pixels, weight[:, :, None, None], bias)
    return out.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)


def attend_padded(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """What `scaled_dot_product_attention` computes, the number of keys filled up to a multiple of 32."""
    missing = -key.shape[-2] % 32
    mask = F.pad(query.new_zeros(1, 1, 1, key.shape[-2]), (0, missing), value=-torch.inf)
    key, value = (F.pad(each, (0, 0, 0, missing)) for each in (key, value))
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def attend_by_products(query: Tensor, key: Tensor, value: Tensor, *, causal: bool) -> Tensor:
    """What `scaled_dot_product_attention` computes. In bfloat16 the weights' logarithms are rounded to it."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    if causal:
        scores = scores + torch.full(scores.shape[-2:], -torch.inf, dtype=scores.dtype, device=scores.device).triu(1)
    return scores.softmax(dim=-1) @ value
