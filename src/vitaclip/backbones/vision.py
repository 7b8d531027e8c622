"""CLIP's image tower (Radford et al., 2021; Dosovitskiy et al., 2021).

Axes: ... any leading axes (images, or videos and frames), H x W pixels, N patches, L tokens, C channels, D embedding.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitaclip.backbones.config import CLIPConfig
from vitaclip.backbones.transformer import Block


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


class VisionTower(nn.Module):
    """A vision transformer: patches and a cls token in, the cls token's projection out."""

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__()
        vision = config.vision
        self.config = vision
        self.patch_embed = nn.Conv2d(3, vision.width, vision.patch_size, stride=vision.patch_size)
        self.cls_embed = nn.Parameter(torch.empty(vision.width))
        self.pos_embed = nn.Parameter(torch.empty(1 + vision.num_patches, vision.width))
        self.norm_pre = nn.LayerNorm(vision.width)
        self.blocks = nn.ModuleList(
            Block(vision.width, vision.heads, vision.mlp_hidden, vision.activation) for _ in range(vision.depth)
        )
        self.norm_post = nn.LayerNorm(vision.width)
        self.proj = nn.Parameter(torch.empty(vision.width, config.embed_dim))

    def embed(self, images: Tensor) -> Tensor:
        """Cut normalised images (..., 3, H, W) into tokens with positions (..., 1 + N, C): the cls token, then the
        patches row by row."""
        size = self.config.image_size
        if images.shape[-3:] != (3, size, size):
            raise ValueError(
                f"images of shape {tuple(images.shape)}: this backbone takes (..., 3, {size}, {size}); resize first"
            )
        patches = self.patch_embed(images.flatten(end_dim=-4)).flatten(2).transpose(1, 2)
        cls = self.cls_embed.expand(len(patches), 1, -1)
        tokens = torch.cat([cls, patches], dim=1) + self.pos_embed
        return tokens.unflatten(0, images.shape[:-3])

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
        last = len(self.blocks) - 1
        for number, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            tokens, context = before(number, tokens)
            keep = self.num_feature_tokens if number == last and not all_tokens else None
            output = block(tokens, context=list(context.values()), keep=keep)
            yield Trace(block, tokens, output, context)
            tokens = output

    @property
    def num_feature_tokens(self) -> int | None:
        """How many tokens of the last block, from the first on, `frame_features` reads; None: all of them."""
        return 1

    def frame_token(self, tokens: Tensor) -> Tensor:
        """What stands for a frame: (..., L, C) -> (..., C); here its cls token."""
        return tokens[..., 0, :]

    def patches(self, tokens: Tensor) -> Tensor:
        """The patches among tokens (..., L, C), without the cls token and what was added behind: (..., N, C)."""
        return tokens[..., 1 : 1 + self.config.num_patches, :]

    def frame_features(self, tokens: Tensor) -> Tensor:
        """Take the last block's tokens (..., L, C) into the shared space (..., D)."""
        return self.norm_post(self.frame_token(tokens)) @ self.proj

    def forward(self, images: Tensor) -> Tensor:
        """Image features (..., D), not of unit length, of images (..., 3, H, W)."""
        *_, last = self.run_blocks(self.embed(images))
        return self.frame_features(last.output)


def resize_positions(positions: Tensor, side: int) -> Tensor:
    """Resample position embeddings (1 + N, C), the cls token's first, to (1 + side * side, C).

    Bicubic with antialiasing, as open_clip does it.
    """
    cls, patches = positions[:1], positions[1:]
    old = math.isqrt(len(patches))
    grid = patches.view(1, old, old, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(grid, size=(side, side), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([cls, resized[0].flatten(1).T])
