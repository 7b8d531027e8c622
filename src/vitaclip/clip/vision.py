"""CLIP's image tower (Radford et al., 2021; Dosovitskiy et al., 2021).

Axes: ... any leading axes (images, or videos and frames), H x W pixels, N patches, C channels, D embedding.
"""

import torch
from torch import Tensor, nn

from vitaclip.clip.transformer import Block
from vitaclip.config import CLIPConfig


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
        hidden = round(vision.width * vision.mlp_ratio)
        self.blocks = nn.ModuleList(
            Block(vision.width, vision.heads, hidden, config.activation) for _ in range(vision.depth)
        )
        self.norm_post = nn.LayerNorm(vision.width)
        self.proj = nn.Parameter(torch.empty(vision.width, config.embed_dim))

    @property
    def kept(self) -> list[int | None]:
        """Tokens that each block has to give: all, but for the last one, of which only the cls token is read."""
        return [None] * (len(self.blocks) - 1) + [1]

    def embed(self, images: Tensor) -> Tensor:
        """Cut images into tokens with positions.

        Args:
            images: (..., 3, H, W) float, normalised; H and W are the config's image_size.

        Returns:
            (..., 1 + N, C): the cls token, then the patches row by row.
        """
        size = self.config.image_size
        if images.shape[-3:] != (3, size, size):
            raise ValueError(
                f"images of shape {tuple(images.shape)}: this backbone takes (..., 3, {size}, {size}); resize first"
            )
        patches = self.patch_embed(images.flatten(end_dim=-4)).flatten(2).transpose(1, 2)
        cls = self.cls_embed.expand(len(patches), 1, -1)
        tokens = torch.cat([cls, patches], dim=1) + self.pos_embed
        return tokens.unflatten(0, images.shape[:-3])

    def project(self, cls: Tensor) -> Tensor:
        """Take last-block cls tokens (..., C) into the shared space (..., D)."""
        return self.norm_post(cls) @ self.proj

    def forward(self, images: Tensor) -> Tensor:
        """Image features (..., D), not of unit length, of images (..., 3, H, W)."""
        x = self.norm_pre(self.embed(images))
        for block, keep in zip(self.blocks, self.kept, strict=True):
            x = block(x, keep=keep)
        return self.project(x[..., 0, :])
