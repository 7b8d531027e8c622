"""The image tower, a vision transformer (Dosovitskiy et al., 2021) with the options of all families, and attention of a
single query.

Axes: ... any leading axes (images, or videos and frames), H x W pixels, N patches, L or S tokens, C channels, Q
channels of a query, D embedding.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitaclip.backbones.config import CLIPConfig, VisionConfig
from vitaclip.backbones.kernels import embed_patches
from vitaclip.backbones.transformer import MLP, Block, Tower, rotations


class QueryAttention(nn.Module):
    """Multi-head attention of a single query, in which the tokens' keys and values are never made.

    The scores q . (W_k z) are (W_k^T q) . z, and the mixture of the values is W_v applied to the mixture of the tokens:
    so both matrices are applied to the query's side, once instead of for each token. A bias of the keys would shift
    all scores alike and drop out of the softmax, so there is none.
    """

    def __init__(self, width: int, query_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, query_width)
        self.key = nn.Linear(width, query_width, bias=False)
        self.value = nn.Linear(width, query_width)
        self.out = nn.Linear(query_width, width)
        for layer in (self.query, self.key, self.value, self.out):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, query: Tensor, tokens: Tensor) -> Tensor:
        """Query (B or 1, C) and tokens (B, S, C) -> (B, C)."""
        mixed = self.weights(query, tokens) @ tokens
        values = torch.einsum("bhc,hqc->bhq", mixed, self._by_head(self.value.weight))
        return self.out(values.flatten(1) + self.value.bias)

    def weights(self, query: Tensor, tokens: Tensor) -> Tensor:
        """How much the query attends to each token: (B, heads, S)."""
        split = self.query(query).unflatten(-1, (self.heads, -1))
        folded = torch.einsum("bhq,hqc->bhc", split * split.shape[-1] ** -0.5, self._by_head(self.key.weight))
        return (folded @ tokens.transpose(1, 2)).softmax(dim=-1)

    def _by_head(self, weight: Tensor) -> Tensor:
        """(Q, C) -> (heads, Q / heads, C)."""
        return weight.unflatten(0, (self.heads, -1))


class AttentionPool(nn.Module):
    """A learned probe attends to all tokens of a frame, then an MLP is added to what it finds (SigLIP, PE-Core)."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.empty(config.width).normal_(std=config.width**-0.5))
        self.attention = QueryAttention(config.width, config.width, config.pool_heads or config.heads)
        self.norm = nn.LayerNorm(config.width, config.norm_epsilon)
        self.mlp = MLP(config.width, round(config.width * config.pool_mlp_ratio), config.activation)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., S, C) -> (..., C)."""
        found = self.attention(self.probe[None], tokens.flatten(end_dim=-3)).unflatten(0, tokens.shape[:-2])
        return found + self.mlp(self.norm(found))

    def weights(self, tokens: Tensor) -> Tensor:
        """How much the probe attends to each token, the mean of its heads: (..., S, C) -> (..., S)."""
        by_head = self.attention.weights(self.probe[None], tokens.flatten(end_dim=-3))
        return by_head.mean(dim=1).unflatten(0, tokens.shape[:-2])


@dataclass(frozen=True)
class Trace:
    """What a block did. Its queries and keys are those of `block.attention` for `block.norm1(input)`."""

    block: Block
    input: Tensor
    """Tokens (..., L, C) that came in."""
    output: Tensor
    """Tokens that left: all of them, or of the last block those that `frame_features` reads."""
    context: Mapping[str, Tensor]
    """Context tokens (..., tokens, C) that the block's tokens could look at, by their kind."""


BeforeBlock = Callable[[int, Tensor], tuple[Tensor, Mapping[str, Tensor]]]
"""What is called before each block: it takes the block's number and the tokens that come in, and returns the tokens
that go in and the context by its kind."""


class VisionTower(Tower):
    """A vision transformer: patches in, one feature out. Its options are described at `VisionConfig`."""

    config: VisionConfig

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__()
        vision = config.vision
        self.config = vision
        self.patch_embed = nn.Conv2d(3, vision.width, vision.patch_size, stride=vision.patch_size)
        if vision.class_token:
            self.cls_embed = nn.Parameter(torch.empty(vision.width))
        self.pos_embed = nn.Parameter(torch.empty(vision.num_tokens, vision.width))
        self.norm_pre = nn.LayerNorm(vision.width, vision.norm_epsilon) if vision.norm_pre else nn.Identity()
        self._add_blocks(gated=vision.gated, inner_norm=vision.inner_norm)
        self.norm_post = nn.LayerNorm(vision.width, vision.norm_epsilon)
        if vision.pool == "attention":
            self.pool = AttentionPool(vision)
        self._add_projection(config.embed_dim)

    def embed(self, images: Tensor) -> Tensor:
        """Cut normalised images (..., 3, H, W) into tokens with positions (..., L, C): the class token if there is one,
        then the N patches row by row."""
        size = self.config.image_size
        if images.shape[-3:] != (3, size, size):
            raise ValueError(
                f"images of shape {tuple(images.shape)}: this backbone takes (..., 3, {size}, {size}); resize first"
            )
        patches = embed_patches(images.flatten(end_dim=-4), self.patch_embed)
        if self.config.class_token:
            patches = torch.cat([self.cls_embed.expand(patches.shape[0], 1, -1), patches], dim=1)
        return (patches + self.pos_embed).unflatten(0, images.shape[:-3])

    def run_blocks(
        self,
        tokens: Tensor,
        before: BeforeBlock = lambda _, tokens: (tokens, {}),
        *,
        all_tokens: bool = False,
    ) -> Iterator[Trace]:
        """Take tokens (..., L, C), as `embed` gives them and with whatever was added, through the blocks, and tell what
        each did. Of the last block only the tokens that `frame_features` reads are computed, unless `all_tokens` is
        set."""
        tokens = self.norm_pre(tokens)
        last, rope = len(self.blocks) - 1, rotations(self.config, tokens)
        for number, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            tokens, context = before(number, tokens)
            keep = self.num_feature_tokens if number == last and not all_tokens else None
            output = block(tokens, context=list(context.values()), keep=keep, rope=rope)
            yield Trace(block, tokens, output, context)
            tokens = output

    @property
    def num_feature_tokens(self) -> int | None:
        """How many tokens of the last block, from the first on, `frame_features` reads; None: all of them."""
        return 1 if self.config.pool == "class" else None

    def frame_token(self, tokens: Tensor) -> Tensor:
        """What stands for a frame: (..., L, C) -> (..., C). It is the tower's own pooling with uniform weights and
        without a norm: the class token where that is pooled, else the mean of the tokens that are."""
        if self.config.pool == "class":
            return tokens[..., 0, :]
        own = self.patches(tokens) if self.config.pool == "mean" else self.own_tokens(tokens)
        return own.mean(dim=-2)

    def own_tokens(self, tokens: Tensor) -> Tensor:
        """The class token, if there is one, and the patches, without what was added behind: (..., L, C)."""
        return tokens[..., : self.config.num_tokens, :]

    def patches(self, tokens: Tensor) -> Tensor:
        """The patches among tokens (..., L, C), without the class token and what was added behind: (..., N, C)."""
        return self.own_tokens(tokens)[..., int(self.config.class_token) :, :]

    def frame_features(self, tokens: Tensor) -> Tensor:
        """Take the last block's tokens (..., L, C) into the shared space (..., D)."""
        if self.config.pool == "attention":
            return self.project(self.pool(self.norm_post(self.own_tokens(tokens))))
        return self.project(self.norm_post(self.frame_token(tokens)))

    def pool_weights(self, tokens: Tensor) -> Tensor:
        """How much of each of the last block's tokens (..., L, C) `frame_features` takes: (..., L), which sum to 1, in
        float32 at least."""
        exact, config = torch.promote_types(tokens.dtype, torch.float32), self.config
        weights = tokens.new_zeros(tokens.shape[:-1], dtype=exact)
        if config.pool == "class":
            weights[..., 0] = 1
        elif config.pool == "mean":
            weights[..., int(config.class_token) : config.num_tokens] = 1 / config.num_patches
        else:
            weights[..., : config.num_tokens] = self.pool.weights(self.norm_post(self.own_tokens(tokens)))
        return weights

    def forward(self, images: Tensor) -> Tensor:
        """Image features (..., D), not of unit length, of images (..., 3, H, W)."""
        *_, last = self.run_blocks(self.embed(images))
        return self.frame_features(last.output)


def resize_positions(positions: Tensor, config: VisionConfig) -> Tensor:
    """Resample position embeddings (L, C), the class token's first if there is one, to the grid of a config."""
    cls, patches = positions[: int(config.class_token)], positions[int(config.class_token) :]
    old, new = math.isqrt(len(patches)), (config.grid_side, config.grid_side)
    grid = patches.view(1, old, old, -1).permute(0, 3, 1, 2)
    mode, _, antialias = config.resample.partition("_")
    resized = F.interpolate(grid, size=new, mode=mode, antialias=bool(antialias), align_corners=False)
    return torch.cat([cls, resized[0].flatten(1).T])
