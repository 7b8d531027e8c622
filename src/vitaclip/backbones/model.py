"""An image-text model: two towers into one space.

Axes: ... any leading axes, H x W pixels, K texts, L tokens, D embedding.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vitaclip.backbones.config import CLIPConfig, PixelConfig
from vitaclip.backbones.text import TextTower
from vitaclip.backbones.tokenizer import Tokenizer
from vitaclip.backbones.vision import VisionTower, resize_positions


class CLIP(nn.Module):
    """The two-tower image-text model (Radford et al., 2021). Knows nothing of video or of prompts."""

    pixel_mean: Tensor
    pixel_std: Tensor
    tokenizer: Tokenizer

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__()
        self.config = config
        self.vision = VisionTower(config)
        self.text = TextTower(config)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        if config.similarity == "sigmoid":
            self.logit_bias = nn.Parameter(torch.tensor(-10.0))
        self._register_pixel_statistics()
        self._init_weights()

    @classmethod
    def from_state(cls, config: CLIPConfig, state: Mapping[str, Tensor]) -> "CLIP":
        """A CLIP with these weights, taken over without a copy; RuntimeError if they do not fit the config."""
        with without_values():
            clip = cls(config)
        clip.load_state_dict(state, assign=True)
        clip._register_pixel_statistics()
        return clip

    @property
    def offers(self) -> frozenset[str]:
        """What parts may ask of it beyond the contract that all backbones keep."""
        pooled = {"class token"} if self.config.vision.pool == "class" else set()
        return frozenset({"patches", "queries and keys", "square patches"} | pooled)

    def resized(self, image_size: int) -> "CLIP":
        """The same model for square images of `image_size` pixels a side; all weights but the positions are shared."""
        config = replace(self.config, vision=replace(self.config.vision, image_size=image_size))
        state = self.state_dict()
        positions = resize_positions(state["vision.pos_embed"], config.vision)
        return CLIP.from_state(config, {**state, "vision.pos_embed": positions})

    def normalize_pixels(self, pixels: Tensor) -> Tensor:
        """Take uint8 pixels (..., 3, H, W) in [0, 255] to the statistics this CLIP was trained on, as float."""
        return (pixels.to(self.pixel_mean.dtype) / 255).sub_(self.pixel_mean).div_(self.pixel_std)

    def encode_ids(self, ids: Tensor, end: Tensor) -> Tensor:
        """Features (K, D), not of unit length, of token ids (K, L) whose features are at `end` (K,)."""
        return self.text(self.text.token_embed(ids), end)

    def logits(self, image: Tensor, text: Tensor) -> Tensor:
        """Logits (..., K) of image features (..., D) and those of texts (K, D), all of unit length."""
        logits = self.logit_scale.exp() * image @ text.T
        return logits + self.logit_bias if self.config.similarity == "sigmoid" else logits

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Features (K, D), not of unit length, of whole texts."""
        tokens = self.tokenizer(texts, self.config.text.context_length)
        device = self.logit_scale.device
        return self.encode_ids(tokens.ids.to(device), tokens.end.to(device))

    def set_pixels(self, statistics: PixelConfig) -> None:
        """Take another mean and standard deviation out of the pixels from now on."""
        pixels = replace(self.config.pixels, mean=statistics.mean, std=statistics.std)
        self.config = replace(self.config, pixels=pixels)
        self._register_pixel_statistics()

    def _register_pixel_statistics(self) -> None:
        """They belong to the config, so they are not saved with the weights."""
        for name in ("mean", "std"):
            values = torch.tensor(getattr(self.config.pixels, name)).view(3, 1, 1)
            self.register_buffer(f"pixel_{name}", values, persistent=False)

    def _init_weights(self) -> None:
        """Start as CLIP does, for training one from scratch."""
        vision, text = self.vision, self.text
        scale = vision.config.width**-0.5
        for name in ("cls_embed", "pos_embed", "proj"):
            if hasattr(vision, name):
                nn.init.normal_(vision.get_parameter(name), std=scale)
        nn.init.normal_(text.token_embed.weight, std=0.02)
        nn.init.normal_(text.pos_embed, std=0.01)
        if text.config.projection != "none":
            nn.init.normal_(text.proj, std=text.config.width**-0.5)
        # The patch embedding of CLIP has no bias; ours is there for checkpoints that hold one.
        nn.init.zeros_(vision.patch_embed.bias)  # type: ignore[arg-type]
        for tower in (vision, text):
            width, depth = tower.config.width, tower.config.depth
            into_residual = width**-0.5 * (2 * depth) ** -0.5
            stds = {"attention.qkv": width**-0.5, "attention.out": into_residual}
            stds |= {"mlp.fc1": (2 * width) ** -0.5, "mlp.fc2": into_residual}
            for block in tower.blocks:
                for name, std in stds.items():
                    nn.init.normal_(block.get_parameter(f"{name}.weight"), std=std)
                    nn.init.zeros_(block.get_parameter(f"{name}.bias"))


@contextmanager
def without_values() -> Iterator[None]:
    """A context in which modules are made that have shapes alone: they take no memory, and nothing is drawn."""
    with torch.device("meta"), _NoDraws():
        yield


class _NoDraws(TorchFunctionMode):
    """Leaves starting values undrawn. To draw them for no memory, torch imports its compiler, which takes seconds."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func.__name__ in ("normal_", "uniform_", "kaiming_uniform_"):
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))
