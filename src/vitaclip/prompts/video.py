"""What teaches CLIP's image tower video: global, local, summary and time prompts (Vita-CLIP, section 3.2).

Axes: B videos, T frames, C channels of the image tower, G global prompts.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitaclip.clip.transformer import Attention
from vitaclip.config import VideoPromptConfig, VisionConfig


class BlockPrompts(nn.Module):
    """The prompts of one block of the image tower: context that the block's tokens may look at.

    With c the projected cls tokens of the T frames:

        summary  s = c + MHSA(LN(c)), attention across the frames; frame t gets s[t]
        local    p = local + c; every frame gets all T
        global   g; every frame of every video gets all G
    """

    def __init__(self, config: VideoPromptConfig, vision: VisionConfig) -> None:
        super().__init__()
        width = vision.width
        bound = math.sqrt(6 / (3 * vision.patch_size**2 + width))
        if config.num_global:
            self.global_prompts = nn.Parameter(torch.empty(config.num_global, width).uniform_(-bound, bound))
        if config.local:
            self.local_prompts = nn.Parameter(torch.empty(config.num_frames, width).uniform_(-bound, bound))
        if config.local or config.summary:
            self.cls_proj = nn.Linear(width, width).requires_grad_(config.train_cls_proj)
        if config.summary:
            self.summary_norm = nn.LayerNorm(width)
            self.summary_attention = Attention(width, vision.heads)
        self.config = config

    def forward(self, cls: Tensor) -> list[Tensor]:
        """Context groups for the tokens of the frames.

        Args:
            cls: (B, T, C) cls tokens at the entrance of the block.

        Returns:
            Groups that broadcast over videos and frames: (1, 1, G, C), (B, 1, T, C), (B, T, 1, C);
            those switched off are left out.
        """
        context = []
        if self.config.num_global:
            context.append(self.global_prompts[None, None])
        if self.config.local or self.config.summary:
            cls = self.cls_proj(cls)
        if self.config.local:
            local = over_frames(self.local_prompts, cls.shape[1])
            context.append((local + cls)[:, None])
        if self.config.summary:
            summary = cls + self.summary_attention(self.summary_norm(cls))
            context.append(summary[:, :, None])
        return context

    @property
    def context_kinds(self) -> tuple[str, ...]:
        """What the groups that `forward` gives are, in their order."""
        there = {"global": self.config.num_global > 0, "local": self.config.local, "summary": self.config.summary}
        return tuple(kind for kind, is_there in there.items() if is_there)

    def parameters_by_kind(self) -> dict[str, list[nn.Parameter]]:
        """The parameters of each kind of prompt; a kind that is switched off has none."""
        kinds: dict[str, list[nn.Parameter]] = {"global": [], "local": [], "summary": [], "cls_proj": []}
        if self.config.num_global:
            kinds["global"] = [self.global_prompts]
        if self.config.local:
            kinds["local"] = [self.local_prompts]
        if self.config.summary:
            kinds["summary"] = [*self.summary_norm.parameters(), *self.summary_attention.parameters()]
        if self.config.local or self.config.summary:
            kinds["cls_proj"] = list(self.cls_proj.parameters())
        return kinds


class VideoPrompts(nn.Module):
    """The prompts of every block, and the embedding of time."""

    def __init__(self, config: VideoPromptConfig, vision: VisionConfig) -> None:
        super().__init__()
        self.config = config
        if config.time:
            self.time_embed = nn.Parameter(torch.empty(config.num_frames, vision.width).normal_(std=0.02))
        self.blocks = nn.ModuleList(BlockPrompts(config, vision) for _ in range(vision.depth))

    def add_time(self, tokens: Tensor) -> Tensor:
        """Add to all tokens of a frame the embedding of its place in the clip: (B, T, 1 + N, C) -> same."""
        if not self.config.time:
            return tokens
        return tokens + over_frames(self.time_embed, tokens.shape[1])[:, None]

    def parameters_by_kind(self) -> dict[str, list[nn.Parameter]]:
        """The parameters of each kind of prompt, of all blocks together."""
        kinds: dict[str, list[nn.Parameter]] = {"global": [], "local": [], "summary": [], "time": [], "cls_proj": []}
        if self.config.time:
            kinds["time"] = [self.time_embed]
        for block in self.blocks:
            assert isinstance(block, BlockPrompts)
            for kind, parameters in block.parameters_by_kind().items():
                kinds[kind] += parameters
        return kinds


def over_frames(prompts: Tensor, num_frames: int) -> Tensor:
    """Prompts learned for (T, C) frames, linearly interpolated to (num_frames, C)."""
    if len(prompts) == num_frames:
        return prompts
    stretched = F.interpolate(prompts.T[None], size=num_frames, mode="linear", align_corners=False)
    return stretched[0].T
