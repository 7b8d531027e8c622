"""The published model with the weights of one of ours.

Axes: B videos, T frames, H x W pixels, N patches, K classes, L = 77 tokens, C and W channels, D embedding.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from published.layers import ImageBlock, Norm, TextBlock
from vitaclip.backbones.families.vitaclip import to_published
from vitaclip.model import VideoModel
from vitaclip.parts.heads.learned_text import LearnedTextHead, PromptLayout, lay_out


class Patches(nn.Module):
    """The layer that takes patches to tokens, under its published name."""

    def __init__(self, width: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch_size, stride=patch_size)


class Blocks(nn.Module):
    """The text tower's blocks, under their published name."""

    def __init__(self, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(TextBlock(width, heads) for _ in range(depth))


class Context(nn.Module):
    """The learned context, under its published name."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.ctx = nn.Parameter(torch.empty_like(start))


class ImageTower(nn.Module):
    """Frames in, video features out."""

    def __init__(self, model: VideoModel) -> None:
        super().__init__()
        vision, prompts = model.backbone.config.vision, model.config
        self.num_frames = prompts.num_frames
        self.patch_embed = Patches(vision.width, vision.patch_size)
        self.cls_token = nn.Parameter(torch.empty(vision.width))
        self.pos_embed = nn.Parameter(torch.empty(1 + vision.num_patches, vision.width))
        time = torch.empty(prompts.num_frames, vision.width)
        self.time_embed = nn.Parameter(time) if "time" in prompts.context else None
        self.num_global = prompts.context.get("global", {"count": 0})["count"]
        if self.num_global:
            self.global_prompts = nn.Parameter(torch.empty(vision.depth, self.num_global, vision.width))
        hidden = round(vision.width * vision.mlp_ratio)
        self.blocks = nn.ModuleList(
            ImageBlock(vision.width, vision.heads, hidden, prompts) for _ in range(vision.depth)
        )
        self.ln_pre, self.ln_post = Norm(vision.width), Norm(vision.width)
        self.proj = nn.Parameter(torch.empty(vision.width, model.backbone.config.embed_dim))

    def forward(self, video: Tensor) -> Tensor:
        """(B, T, 3, H, W), normalised -> (B, D)."""
        patches = self.patch_embed.proj(video.flatten(end_dim=1)).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.repeat(len(patches), 1, 1), patches], dim=1) + self.pos_embed
        if self.time_embed is not None:
            x = (x.unflatten(0, video.shape[:2]) + self.time_embed[:, None]).flatten(end_dim=1)
        x = self.ln_pre(x)
        for number, block in enumerate(self.blocks):
            if self.num_global:
                prompts = self.global_prompts[number].expand(len(x), -1, -1)
                x = torch.cat([x[:, :1], prompts, x[:, 1:]], dim=1)
            x = block(x)
            if self.num_global:
                x = torch.cat([x[:, :1], x[:, 1 + self.num_global :]], dim=1)
        return (self.ln_post(x[:, 0]) @ self.proj).unflatten(0, video.shape[:2]).mean(dim=1)


class TextTower(nn.Module):
    """Token embeddings in, text features out."""

    causal: Tensor

    def __init__(self, model: VideoModel) -> None:
        super().__init__()
        text = model.backbone.config.text
        self.token_embedding = nn.Embedding(text.vocab_size, text.width)
        self.positional_embedding = nn.Parameter(torch.empty(text.context_length, text.width))
        self.transformer = Blocks(text.width, text.heads, text.depth)
        self.ln_final = Norm(text.width)
        self.text_projection = nn.Parameter(torch.empty(text.width, model.backbone.config.embed_dim))
        mask = torch.full((text.context_length, text.context_length), float("-inf")).triu(1)
        self.register_buffer("causal", mask, persistent=False)

    def forward(self, embeddings: Tensor, end: Tensor) -> Tensor:
        """(K, L, W) and the places of the end tokens (K,) -> (K, D)."""
        x = (embeddings + self.positional_embedding).transpose(0, 1)
        for block in self.transformer.resblocks:
            x = block(x, self.causal)
        x = self.ln_final(x.transpose(0, 1))
        return x[torch.arange(len(x), device=x.device), end] @ self.text_projection


class PublishedModel(nn.Module):
    """Logits from videos, the text tower included each time. What trains is what trains in the model it is made of."""

    embeddings: Tensor

    def __init__(self, model: VideoModel, class_names: tuple[str, ...]) -> None:
        """Take the weights of `model`, which must have a learned context; nothing is shared with it."""
        super().__init__()
        assert isinstance(model.head, LearnedTextHead)
        context = model.head.context
        self.visual, self.textual = ImageTower(model), TextTower(model)
        self.prompt_learner = Context(context)
        self.logit_scale = nn.Parameter(torch.empty(()))
        self.to(context)
        self.load_state_dict(to_published(model.backbone.state_dict(), model.adapter_state()))
        trained = to_published({}, model.adapter_params())
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name in trained)
        length = model.backbone.config.text.context_length
        self.layout = _padded(lay_out(class_names, model.backbone.tokenizer, model.head.config, length), length)
        self.layout = PromptLayout(*(tensor.to(context.device) for tensor in self.layout))
        with torch.no_grad():
            self.register_buffer("embeddings", self.textual.token_embedding(self.layout.ids), persistent=False)

    def forward(self, video: Tensor) -> Tensor:
        """(B, T, 3, H, W), normalised -> logits (B, K)."""
        classes = torch.arange(len(self.embeddings), device=video.device)[:, None]
        context = self.prompt_learner.ctx.expand(len(classes), -1, -1)
        prompts = self.embeddings.index_put((classes, self.layout.slots), context)
        texts = normalize(self.textual(prompts, self.layout.end), dim=-1)
        return self.logit_scale.exp() * normalize(self.visual(video), dim=-1) @ texts.T


def _padded(layout: PromptLayout, length: int) -> PromptLayout:
    ids = torch.nn.functional.pad(layout.ids, (0, length - layout.ids.shape[1]))
    return PromptLayout(ids, layout.slots, layout.end)
