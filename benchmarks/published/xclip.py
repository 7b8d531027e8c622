"""X-CLIP's published way to do what `vitaclip` does, restated on the parameters of a model of ours.

Messages join the tokens of a frame, look as well, and leave again; the patches of all frames are projected before
their mean; each text of each video goes through the reading layers whole.

Axes: B videos, T frames, n of all videos, L tokens, N patches, K texts, C and D channels.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from published.layers import plain_embed, plain_norm
from vitaclip.model import VideoModel


class PublishedXCLIP(nn.Module):
    """The image tower with its messages, the integration, texts read in the light of the video."""

    def __init__(self, model: VideoModel, texts: Tensor) -> None:
        """`texts`: (K, D) features of the class names, made once as published."""
        super().__init__()
        self.model, self.texts = model, texts

    def forward(self, video: Tensor) -> Tensor:
        """Normalised (B, T, 3, H, W) -> logits (B, K)."""
        model: Any = self.model
        vision, pool, head = model.backbone.vision, model.pool, model.head
        x = vision.norm_pre(plain_embed(vision, video.flatten(0, 1)))  # (n, L, C)
        for block, places in zip(vision.blocks, model.context.blocks, strict=True):
            message = places["cls_proj"](x[:, 0]).unflatten(0, video.shape[:2])
            summary = places["summary"]
            message = message + _attend(summary.attention, summary.norm(message))
            x = torch.cat([x, message.flatten(0, 1)[:, None]], dim=1)
            x = x + _attend(block.attention, plain_norm(block.norm1, x))
            x = x[:, :-1]
            x = x + _mlp(block.mlp, plain_norm(block.norm2, x))
        frames = (vision.norm_post(x[:, 0]) @ vision.proj).unflatten(0, video.shape[:2])
        patches = (pool.patch_norm(x[:, 1:]) @ pool.patch_proj).unflatten(0, video.shape[:2]).mean(dim=1)
        mixed = frames + pool.positions
        for block in pool.blocks:
            mixed = mixed + _attend(block.attention, plain_norm(block.norm1, mixed))
            mixed = mixed + _mlp(block.mlp, plain_norm(block.norm2, mixed))
        videos = (mixed + frames).mean(dim=1)
        texts = self.texts.expand(len(videos), -1, -1)
        read = texts
        visual = head.norm(patches)
        for layer in head.layers:
            query = layer.query(layer.norm1(read)).unflatten(-1, (layer.heads, -1))
            key, value = (each(visual).unflatten(-1, (layer.heads, -1)) for each in (layer.key, layer.value))
            weights = torch.einsum("bkhd,bnhd->bhkn", query, key) * query.shape[-1] ** -0.5
            mixed = torch.einsum("bhkn,bnhd->bkhd", weights.softmax(dim=-1), value).flatten(-2)
            read = read + layer.out(mixed)
            read = read + _mlp(layer.mlp, layer.norm2(read))
        texts = F.normalize(texts + head.alpha * read, dim=-1)
        return head.logit_scale.exp() * torch.einsum("bd,bkd->bk", F.normalize(videos, dim=-1), texts)


def _attend(attention: Any, x: Tensor) -> Tensor:
    """torch's own multi-head attention, as the published code calls it, of all tokens to all: (n, L, C) -> same."""
    x = x.transpose(0, 1)
    mixed, _ = F.multi_head_attention_forward(
        x, x, x, x.shape[-1], attention.heads, attention.qkv.weight, attention.qkv.bias, None, None, False, 0.0,
        attention.out.weight, attention.out.bias, need_weights=False,
    )  # fmt: skip
    return mixed.transpose(0, 1)


def _mlp(mlp: Any, x: Tensor) -> Tensor:
    hidden = F.linear(x, mlp.fc1.weight, mlp.fc1.bias)
    return F.linear(hidden * torch.sigmoid(1.702 * hidden), mlp.fc2.weight, mlp.fc2.bias)
