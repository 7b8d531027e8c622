"""The pre-norm transformer block that all towers are made of, and rotary position embedding in two dimensions (RoPE; Su
et al. 2021), as PE-Core and EVA-02 have it.

Neighbouring channels of a head form pairs. The first half of the pairs is turned by one coordinate of the patch, the
second half by the other, each pair at a frequency of its own.

Axes: ... any leading axes (videos, frames, classes), L tokens, P context tokens, C channels, d channels of a head.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vitaclip.backbones.config import QUICK_GELU, Activation, TransformerConfig, VisionConfig
from vitaclip.backbones.int8 import Int8Layers
from vitaclip.backbones.kernels import (
    LayerNorm,
    Linear,
    enter_blocks,
    join,
    linear,
    on_gpu,
    scaled_dot_product_attention,
)

_BASE = 10_000.0
_EVA02_SIDE = 16
"""Patches along a side of the images that EVA-02 was pretrained on. Coordinates of other grids are stretched to it."""


def rotations(config: VisionConfig, like: Tensor) -> Tensor | None:
    """How the tokens of a frame are turned, cosines and sines (2, L, d / 2), in the precision and on the device of
    `like`; None if they are not."""
    return None if config.rope == "none" else _rotations(config, like.dtype, like.device)


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def _rotations(config: VisionConfig, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Angles are computed in float64, so that each precision gets the nearest number. A class token is not turned.

    What was made in inference mode could not be used in training, so that mode is left here.
    """
    quarter = config.width // config.heads // 4
    frequency = _BASE ** -(torch.arange(quarter, dtype=torch.float64) / quarter)
    along = torch.arange(config.grid_side, dtype=torch.float64)
    along = along + 1 if config.rope == "pe" else along
    stretched_to = config.rope_side or (config.grid_side if config.rope == "pe" else _EVA02_SIDE)
    along = along * stretched_to / config.grid_side
    row, column = torch.meshgrid(along, along, indexing="ij")
    coordinates = (column, row) if config.rope == "pe" else (row, column)
    angles = torch.cat([each.flatten()[:, None] * frequency for each in coordinates], dim=1)
    if config.class_token:
        angles = torch.cat([torch.zeros_like(angles[:1]), angles])
    return torch.stack([angles.cos(), angles.sin()]).to(device, dtype)


def rotate(x: Tensor, rope: Tensor | None) -> Tensor:
    """Turn the channels of tokens (..., L, d). Tokens behind those that `rope` is made for stay as they are."""
    if rope is None:
        return x
    own, others = x[..., : rope.shape[1], :], x[..., rope.shape[1] :, :]
    cos, sin = rope[:, : x.shape[-2]].to(x.dtype)
    even, odd = own[..., 0::2], own[..., 1::2]
    turned = torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)
    return torch.cat([turned, others], dim=-2) if others.numel() else turned


def quick_gelu(x: Tensor) -> Tensor:
    """OpenAI's approximation of GELU, x * sigmoid(1.702 x), which its weights were trained with.

    Written with SiLU, whose kernels keep one tensor for the way back instead of two and go over it less often.
    """
    return F.silu(QUICK_GELU * x).div_(QUICK_GELU)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "quick_gelu": quick_gelu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
}


def checkpoint_activations(run: Callable[..., Tensor], *inputs: object) -> Tensor:
    """Return `run(*inputs)` without storing activations: the backward pass runs it again, so it must not be random."""
    return checkpoint(run, *inputs, use_reentrant=False, preserve_rng_state=False)


class Attention(nn.Module):
    """Multi-head attention in which extra context tokens may be looked at but do not look.

    Queries come from the tokens alone; keys and values from the tokens and the context. Where that is faster, each
    group of context tokens is projected at its own size and only then spread over the batch. Context has no place in
    the image, so RoPE does not turn it.
    """

    def __init__(self, width: int, heads: int, inner_norm: nn.Module | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = Linear(width, 3 * width)
        self.inner_norm = inner_norm or nn.Identity()
        self.out = Linear(width, width)

    def forward(
        self,
        x: Tensor,
        context: Sequence[Tensor] = (),
        *,
        causal: bool = False,
        keep: int | None = None,
        rope: Tensor | None = None,
    ) -> Tensor:
        """Attend from tokens (..., L, C) to them and the context: (..., keep or L, C).

        Args:
            x: the tokens.
            context: groups of context tokens, each (..., P, C) with leading axes that broadcast to those of x.
            causal: token l sees tokens 0..l only; takes neither context nor `keep`.
            keep: only so many tokens, from the first on, look; None: all of them.
            rope: how the tokens' queries and keys are turned, as `rope.rotations` gives it; None: not at all.
        """
        assert not causal or (not context and keep is None), "the order of such tokens is not defined"
        width = x.shape[-1]
        if context and keep is None and on_gpu(x):
            query, key, value = map(self._split_heads, self.qkv(join(x, context)).chunk(3, dim=-1))
            query, keys, values = rotate(query[..., : x.shape[-2], :], rope), [rotate(key, rope)], [value]
        else:
            query, keys, values = self._project_apart(x, context, keep, rope)
        mixed = scaled_dot_product_attention(query, keys, values, causal=causal)
        mixed = mixed.transpose(-3, -2).flatten(-2).view(*x.shape[:-2], -1, width)
        return self.out(self.inner_norm(mixed))

    def _project_apart(
        self, x: Tensor, context: Sequence[Tensor], keep: int | None, rope: Tensor | None
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Queries of the first `keep` tokens, and keys and values of the tokens and of each group, which is projected
        at its own size, so that the tokens of all frames or videos are projected once."""
        width = x.shape[-1]
        project = self.qkv.cast_once()
        if keep is None and not (context and torch.is_grad_enabled()):
            query, key, value = project(x, slice(None)).chunk(3, dim=-1)
        else:  # queries of their own: beside copied keys and values, a view would keep all three for the way back
            query = project(x[..., :keep, :], slice(width))
            key, value = project(x, slice(width, None)).chunk(2, dim=-1)
        query, key, value = map(self._split_heads, (query, key, value))
        query, key = rotate(query, rope), rotate(key, rope)
        others = [map(self._split_heads, pair) for pair in _project_groups(context, project, slice(width, None))]
        keys, values = (
            [part.expand(*x.shape[:-2], *part.shape[-3:]) for part in parts]
            for parts in zip((key, value), *others, strict=True)
        )
        return query, keys, values

    def queries_and_keys(self, x: Tensor, rope: Tensor | None = None) -> list[Tensor]:
        """What tokens (..., L, C) ask for and answer to, by head: two of (..., heads, L, C / heads)."""
        width = x.shape[-1]
        both = linear(x, self.qkv.weight[: 2 * width], self.qkv.bias[: 2 * width]).chunk(2, dim=-1)
        return [rotate(self._split_heads(part), rope) for part in both]

    def _split_heads(self, x: Tensor) -> Tensor:
        """(..., L, C) -> (..., heads, L, C / heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)


def _project_groups(
    groups: Sequence[Tensor], project: Callable[[Tensor, slice], Tensor], channels: slice
) -> list[tuple[Tensor, ...]]:
    """Keys and values of each group (..., P, C), two of that shape, in one product of all groups."""
    if not groups:
        return []
    rows = [group.flatten(end_dim=-2) for group in groups]
    made = project(torch.cat(rows), channels).split([each.shape[0] for each in rows])
    return [part.view(*group.shape[:-1], -1).chunk(2, dim=-1) for part, group in zip(made, groups, strict=True)]


class MLP(nn.Module):
    """Two linear layers with an activation between them, or with the activation of a third one as a gate (SwiGLU)."""

    int8: Int8Layers | None = None

    def __init__(
        self,
        width: int,
        hidden: int,
        activation: Activation,
        *,
        gated: bool = False,
        inner_norm: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.gate = Linear(width, hidden) if gated else None
        self.fc1 = Linear(width, hidden)
        self.inner_norm = inner_norm or nn.Identity()
        self.fc2 = Linear(hidden, width)
        self.activation, self.activation_name = ACTIVATIONS[activation], activation

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        if self.int8 is not None:
            return self.int8(x)
        if self.activation is quick_gelu and self.gate is None and on_gpu(x):
            hidden = F.silu(linear(x, QUICK_GELU * self.fc1.weight, QUICK_GELU * self.fc1.bias))
            return linear(self.inner_norm(hidden), self.fc2.weight / QUICK_GELU, self.fc2.bias)
        hidden = self.fc1(x)
        hidden = self.activation(hidden) if self.gate is None else self.activation(self.gate(x)) * hidden
        return self.fc2(self.inner_norm(hidden))


class Block(nn.Module):
    """x + Attention(norm1(x)), then x + MLP(norm2(x)); context tokens serve as keys and values only.

    Attributes:
        recompute: keep for the way back only what comes in, and compute the rest again when it comes to it.
    """

    recompute = False

    def __init__(self, config: TransformerConfig, *, gated: bool = False, inner_norm: bool = False) -> None:
        super().__init__()
        width, hidden, norm = config.width, config.mlp_hidden, partial(LayerNorm, eps=config.norm_epsilon)
        self.norm1 = norm(width)
        self.attention = Attention(width, config.heads, norm(width) if inner_norm else None)
        self.norm2 = norm(width)
        self.mlp = MLP(width, hidden, config.activation, gated=gated, inner_norm=norm(hidden) if inner_norm else None)

    def forward(
        self,
        x: Tensor,
        context: Sequence[Tensor] = (),
        *,
        causal: bool = False,
        keep: int | None = None,
        rope: Tensor | None = None,
    ) -> Tensor:
        """Run the block; see `Attention.forward` for shapes. With `keep` the other tokens are not computed further."""
        if self.recompute and torch.is_grad_enabled():
            return checkpoint_activations(self._run, x, context, causal, keep, rope)
        return self._run(x, context, causal, keep, rope)

    def in_int8(self) -> Iterator[tuple["Linear | MLP", Int8Layers]]:
        """What can compute in int8, and what does so in its place."""
        qkv, out, mlp = self.attention.qkv, self.attention.out, self.mlp
        yield from ((qkv, Int8Layers([qkv], rounded=True)), (out, Int8Layers([out])))
        if mlp.gate is None and isinstance(mlp.inner_norm, nn.Identity):
            yield mlp, Int8Layers([mlp.fc1, mlp.fc2], mlp.activation_name)
        else:
            yield from ((layer, Int8Layers([layer])) for layer in mlp.children() if isinstance(layer, Linear))

    def _run(self, x: Tensor, context: Sequence[Tensor], causal: bool, keep: int | None, rope: Tensor | None) -> Tensor:
        x, normed = enter_blocks(x), [self.norm1(group) for group in context]
        x = x[..., :keep, :] + self.attention(self.norm1(x), normed, causal=causal, keep=keep, rope=rope)
        return x + self.mlp(self.norm2(x))


class Tower(nn.Module):
    """What both towers have: blocks of one kind, and a last linear layer into the shared space.

    A tower calls `_add_blocks` and `_add_projection` where they stand in the order of its parameters, which decides in
    which order an optimizer sees them.
    """

    config: TransformerConfig

    def _add_blocks(self, **options: bool) -> None:
        self.blocks = nn.ModuleList(Block(self.config, **options) for _ in range(self.config.depth))

    def _add_projection(self, embed_dim: int) -> None:
        if self.config.projection != "none":
            self.proj = nn.Parameter(torch.empty(self.config.width, embed_dim))
        if self.config.projection == "bias":
            self.proj_bias = nn.Parameter(torch.zeros(embed_dim))

    def quantize(self, run: Callable[[], object] | None) -> None:
        """Have the blocks' linear layers compute in int8, in the ranges of what they meet while `run` runs the tower;
        None: in float again."""
        pairs = [pair for block in self.blocks for pair in cast(Block, block).in_int8()]
        for module, layers in pairs:
            module.int8 = layers if run else None
        if run:
            run()
            for _, layers in pairs:
                layers.close()

    def project(self, pooled: Tensor) -> Tensor:
        """Take what was pooled (..., C) into the shared space (..., D)."""
        if self.config.projection == "none":
            return pooled
        projected = pooled @ self.proj
        return projected + self.proj_bias if self.config.projection == "bias" else projected
