"""Linear layers in whole numbers of 8 bits, by oneDNN's products of them, for testing on a CPU.

A weight has a scale for each channel that leaves. What enters a layer has one range for all, which it had for pictures
and texts of noise: nothing has to be looked for in a clip, which took a fifth of a block's time, and the product before
an activation writes 8 bits at once. A frame or text that leaves the range is computed again, in its own. So no result
depends on what else is in the batch.

Axes: ... any leading axes, F frames or texts, R rows of one, I channels in, O channels out.
"""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitaclip.backbones.config import QUICK_GELU

_POST = {"quick_gelu": ("swish", ""), "gelu": ("gelu", "none"), "gelu_tanh": ("gelu", "tanh"), "silu": ("swish", "")}
"""Activations by oneDNN's names of what it does to a product before it writes it."""
_LOWEST_ACTIVATED = -0.3
"""What no activation goes below."""
_MARGIN = 1.25
"""A range is so many times that of noise."""


class _Range(NamedTuple):
    """Numbers from 0 to 255 stand for scale * (number - zero); those between the bounds are 1 to 254."""

    scale: float
    zero: int

    @classmethod
    def between(cls, low: float, high: float) -> "_Range":
        scale = (max(high, 0.0) - min(low, 0.0)) / 253 or 1.0
        return cls(scale, 1 - round(min(low, 0.0) / scale))

    def quantize(self, x: Tensor) -> Tensor:
        made = torch.quantize_per_tensor(x.float(), self.scale, self.zero, torch.quint8)
        # Its numbers without the copy that int_repr makes.
        return torch.empty(0, dtype=torch.uint8).set_(made.untyped_storage(), 0, made.shape, made.stride())


_WHATEVER = _Range(1.0, 0)
"""Of products that are written in float."""


class _Product:
    """x W^T + b, the weight as oneDNN wants it."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.scales = weight.abs().amax(dim=1).clamp(min=torch.finfo().tiny) / 127
        self.packed = torch.ops.onednn.qlinear_prepack((weight / self.scales[:, None]).round().to(torch.int8), None)
        self.zeros, self.bias = torch.zeros(len(weight), dtype=torch.int64), bias

    def __call__(
        self, x: Tensor, given: _Range, post: tuple[str, str], dtype: torch.dtype, made: _Range = _WHATEVER
    ) -> Tensor:
        """uint8 (..., I) of one range to (..., O): to uint8 of another, or to float."""
        weight = self.packed, self.scales, self.zeros, self.bias
        result: Tensor = torch.ops.onednn.qlinear_pointwise(x, *given, *weight, *made, dtype, post[0], [], post[1])
        return result


class Int8Layers:
    """A linear layer, or two with an activation between. Until `close`, it computes in float and watches the range of
    what enters each."""

    def __init__(self, layers: Sequence[nn.Linear], activation: str = "", *, rounded: bool = False) -> None:
        """`rounded`: give autocast's precision, which attention wants, not float32, which is added to the tokens."""
        self.layers, self.rounded = layers, rounded
        self.posts = [_POST.get(activation, ("none", "")), ("none", "")][: len(layers)]
        self.stretch = QUICK_GELU if activation == "quick_gelu" else 1.0
        self.bounds = [(0.0, 0.0)] * len(layers)
        self.ranges: list[_Range] = []
        self.products: dict[tuple[int | None, int | None], list[_Product]] = {}

    def close(self) -> None:
        """Compute in int8 from now on, with the weights as they are now."""
        self.ranges = [_Range.between(*bounds) for bounds in self.bounds]
        with warnings.catch_warnings(action="ignore"):  # torch says once that it will take another way some day
            self.ranges[0].quantize(torch.zeros(1))

    def __call__(self, x: Tensor, rows: slice = slice(None)) -> Tensor:
        """(..., R, I) -> (..., R, O); `rows` are those of the first weight to take. Of (R, I) each row is a frame."""
        if not self.ranges:
            return self._watch(x, rows)
        products = self.products.setdefault((rows.start, rows.stop), [])
        if not products:
            products += [_Product(*weight) for weight in self._weights(rows)]
        rounded = self.rounded and torch.is_autocast_enabled("cpu")
        last = torch.get_autocast_dtype("cpu") if rounded else torch.float32
        frames, outside = x.reshape(-1, x.shape[-2] if x.dim() > 2 else 1, x.shape[-1]), set[int]()
        made = self.ranges[0].quantize(frames)
        for number, (product, post) in enumerate(zip(products, self.posts, strict=True)):
            outside |= _at_the_ends(made)
            into = (torch.uint8, self.ranges[number + 1]) if number + 1 < len(products) else (last,)
            made = product(made, self.ranges[number], post, *into)
        for frame in outside:
            made[frame] = self._alone(frames[frame], products)
        return made.view(*x.shape[:-1], -1)

    def _alone(self, x: Tensor, products: Sequence[_Product]) -> Tensor:
        """Of one frame (R, I), in ranges of its own."""
        for product, post in zip(products, self.posts, strict=True):
            own = _Range.between(*map(float, x.aminmax()))
            x = product(own.quantize(x), own, post, torch.float32)
        return x

    def _watch(self, x: Tensor, rows: slice) -> Tensor:
        for number, ((weight, bias), (post, kind)) in enumerate(zip(self._weights(rows), self.posts, strict=True)):
            low, high = (_MARGIN * float(bound) for bound in x.aminmax())
            lowest, highest = self.bounds[number]
            self.bounds[number] = _LOWEST_ACTIVATED if number else min(low, lowest), max(high, highest)
            x = F.linear(x.float(), weight, bias)
            if post != "none":
                x = F.silu(x) if post == "swish" else F.gelu(x, approximate=kind)
        return x

    def _weights(self, rows: slice) -> list[tuple[Tensor, Tensor]]:
        """Weight and bias of each layer, with the constant of QuickGELU in them."""
        first, *others = self.layers
        weights = [(first.weight[rows] * self.stretch, first.bias[rows] * self.stretch)]
        return weights + [(layer.weight / self.stretch, layer.bias) for layer in others]


def _at_the_ends(numbers: Tensor) -> set[int]:
    """Which frames of (F, R, I) hold a first or last number of 8 bits, and so may lie beyond."""
    low, high = numbers.aminmax()  # a pass that is 15 times as fast as the comparison
    if low > 0 and high < 255:
        return set()
    by_frame = numbers.flatten(1)
    return {*((by_frame == 0) | (by_frame == 255)).any(dim=1).nonzero().flatten().tolist()}
