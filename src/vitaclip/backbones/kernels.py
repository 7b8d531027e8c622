"""The two operations that take the time, linear layers and attention, each by the torch operation that is fastest here.

Which one that is was measured, `python benchmarks/kernels.py`; they differ by rounding alone.

Axes: ... any leading axes, L queries, S keys, C channels of a head, I channels in, O channels out.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitaclip.backbones.int8 import Int8Layers

_MANY_ROWS = 1024
"""Rows from which on a linear layer is faster as a convolution."""
_FEW_KEYS = 64
"""Keys up to which filling them up saves nothing."""
_WITH_ONEDNN = (
    torch.backends.mkldnn.is_available()
    and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    and not torch.cpu._is_amx_tile_supported()
)
"""Whether the CPU has instructions, and torch the library, that convolutions were measured to be faster with. On a CPU
with AMX they take 1.0 to 1.3 times as long as products."""


class Linear(nn.Linear):
    """torch's linear layer, computed by `linear`, or in `int8`."""

    int8: Int8Layers | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) -> (..., O)."""
        return self.int8(x) if self.int8 is not None else linear(x, self.weight, self.bias)

    def cast_once(self) -> Callable[[Tensor, slice], Tensor]:
        """What gives a slice of the O channels, for several products: of few rows, to cast the weights to the precision
        that autocast computes in takes longer than a product."""
        if self.int8 is not None:
            return self.int8
        weight, bias = in_autocast(self.weight), in_autocast(self.bias)
        return lambda x, rows: linear(x, weight[rows], bias[rows])


def on_gpu(x: Tensor) -> bool:
    """Whether to take the ways of a GPU, where all but the products waits for memory: fewer passes over the tokens, and
    half the bytes, count for more there than products of some rows more. Measured by `python benchmarks/gpu.py`."""
    return x.device.type == "cuda"


def enter_blocks(x: Tensor) -> Tensor:
    """Tokens in the precision in which they go from block to block: under a GPU's autocast that is bfloat16. A CPU
    keeps their own, as autocast does."""
    casts = on_gpu(x) and torch.is_autocast_enabled(x.device.type) and x.dtype != torch.float64
    return x.to(torch.get_autocast_dtype(x.device.type)) if casts else x


class LayerNorm(nn.LayerNorm):
    """torch's norm of what `enter_blocks` gives, in that precision; its sums are float32 all the same.

    Autocast alone would make float32 tokens of them, which the next product casts back: three passes in place of one.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        x = enter_blocks(x)
        if x.dtype == self.weight.dtype or not on_gpu(x):
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return F.layer_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


def join(x: Tensor, context: Sequence[Tensor]) -> Tensor:
    """Tokens (..., L, C) and behind them groups (..., P, C), whose leading axes broadcast. Each group is laid out whole
    before, since to copy a broadcast one takes a GPU several times as long."""
    return torch.cat([x, *(group.expand(*x.shape[:-2], *group.shape[-2:]).contiguous() for group in context)], dim=-2)


def embed_patches(images: Tensor, layer: nn.Conv2d) -> Tensor:
    """Cut images (B, 3, H, W) into patches, row by row, and project them: (B, N, C). A rest that fills no patch is left
    out. On a GPU it is a product: a convolution of three channels took a twelfth of a whole test's time there."""
    if not on_gpu(images):
        return layer(images).flatten(2).transpose(1, 2)
    side = layer.kernel_size[0]
    rows, columns = (length // side for length in images.shape[-2:])
    cut = in_autocast(images[..., : rows * side, : columns * side]).unflatten(-2, (rows, side))
    patches = cut.unflatten(-1, (columns, side)).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
    assert layer.bias is not None
    return F.linear(patches, layer.weight.flatten(1), layer.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x W^T + b: (..., I), (O, I), (O,) -> (..., O).

    Of many rows on a CPU with AVX512 and without AMX it is a convolution of size one, since oneDNN's are faster there
    than the products torch uses; but not on the way to gradients, for which a convolution would keep what comes in,
    frozen weights or not.
    """
    measured = _WITH_ONEDNN and x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16)
    if measured and not torch.compiler.is_exporting() and x.numel() >= _MANY_ROWS * x.shape[-1]:
        return F.linear(x, weight, bias) if _need_gradient(x, weight, bias) else linear_by_convolution(x, weight, bias)
    return F.linear(x, weight, bias)


def in_autocast(parameter: Tensor) -> Tensor:
    """The parameter in the precision that autocast computes in, so that it is cast once for several products: of few
    rows the cast takes longer than the product. Autocast leaves float64 alone."""
    kind = parameter.device.type
    casts = torch.is_autocast_enabled(kind) and parameter.dtype != torch.float64
    return parameter.to(torch.get_autocast_dtype(kind)) if casts else parameter


def scaled_dot_product_attention(
    query: Tensor, keys: Sequence[Tensor], values: Sequence[Tensor], *, causal: bool
) -> Tensor:
    """softmax(q k^T / sqrt(C)) v for groups of keys and values that are joined: (..., L, C), (..., S, C) of each group
    -> (batch, heads, L, C), the leading axes but the last as one. causal: query l sees keys 0..l.

    Fused, so that the weights are never in memory, but for training in bfloat16 on a CPU: torch's fused way back takes
    two to eight times as long there as plain products, which store the weights. In bfloat16 a CPU takes up to three
    times as long for a number of keys that is no multiple of 32, so masked ones fill them up.
    """
    in_bfloat16 = query.dtype == torch.bfloat16 and query.device.type == "cpu"
    trains = _need_gradient(query, *keys, *values)
    if in_bfloat16 and not trains and not causal and sum(key.shape[-2] for key in keys) > _FEW_KEYS:
        return attend_padded(query, keys, values)
    query, key, value = _one_batch(query), _join(keys), _join(values)
    if in_bfloat16 and trains:
        return attend_by_products(query, key, value, causal=causal)
    return F.scaled_dot_product_attention(query, key, value, is_causal=causal)


def _need_gradient(*inputs: Tensor) -> bool:
    return torch.is_grad_enabled() and any(each.requires_grad for each in inputs)


def linear_by_convolution(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """What `linear` computes; x has at least two axes."""
    pixels = x.reshape(-1, 1, *x.shape[-2:]).permute(0, 3, 1, 2)  # (..., 1, L, I) -> channels first, as a view
    out = F.conv2d(pixels, weight[:, :, None, None], bias)
    return out.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)


def attend_padded(query: Tensor, keys: Sequence[Tensor], values: Sequence[Tensor]) -> Tensor:
    """What `scaled_dot_product_attention` computes, the number of keys filled up to a multiple of 32."""
    count = sum(key.shape[-2] for key in keys)
    mask = F.pad(query.new_zeros(1, 1, 1, count), (0, -count % 32), value=-torch.inf)
    filling = query.new_zeros(()).expand(*keys[0].shape[:-2], -count % 32, keys[0].shape[-1])
    key, value = _join([*keys, filling]), _join([*values, filling])
    return F.scaled_dot_product_attention(_one_batch(query), key, value, attn_mask=mask)


def _join(groups: Sequence[Tensor]) -> Tensor:
    return _one_batch(torch.cat(list(groups), dim=-2) if groups[1:] else groups[0])


def _one_batch(x: Tensor) -> Tensor:
    """The fused kernels want exactly one batch axis."""
    return x.flatten(end_dim=-4) if x.dim() > 4 else x


def attend_by_products(query: Tensor, key: Tensor, value: Tensor, *, causal: bool) -> Tensor:
    """What `scaled_dot_product_attention` computes. In bfloat16 the weights' logarithms are rounded to it."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    if causal:
        scores = scores + torch.full(scores.shape[-2:], -torch.inf, dtype=scores.dtype, device=scores.device).triu(1)
    return scores.softmax(dim=-1) @ value
