"""What a part is, and what it may ask of a backbone.

Axes: B videos, T frames, L tokens of a frame, C channels of the image tower, K classes, D embedding.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitaclip.backbones.config import VisionConfig
from vitaclip.backbones.model import CLIP
from vitaclip.backbones.vision import Trace, VisionTower
from vitaclip.names import in_words, text_key

INPUT = -1
"""The place before the first block, where a frame's embedded tokens are; blocks count from 0."""
DropoutMasks = Callable[[int, float], Tensor]
"""Dropout as an argument: `masks(count, rate)` gives (B, count) factors, 0 or 1 / (1 - rate), which depend on the run's
seed, the step and the clip's place in the batch alone."""


class Part(nn.Module):
    """A part of a model. Whatever it holds as a parameter that requires a gradient trains."""

    slot: ClassVar[str]
    name: ClassVar[str]
    config_class: ClassVar[type[Any]]
    requires: frozenset[str] = frozenset()
    """What of `CLIP.offers` a backbone must have."""
    replaces_texts: ClassVar[bool] = False
    """Of a head: whether it learns something in place of texts, so that no text is read in training."""


class ContextKind(Part):
    """A kind of context: tokens that the tokens of a frame may look at, or something done to the tokens themselves.

    It stands at places of the tower, one instance at each, and does there one or both of: change the tokens
    (`change_tokens`), give context to the block (`forward`).
    """

    label: ClassVar[str]
    """What pictures call it."""
    colour: ClassVar[str]
    """Its colour in pictures."""
    needs_projection: ClassVar[bool] = False
    """Whether `forward` takes the frame tokens as the block's `cls_proj` projects them, instead of as they are."""
    frames_alone: ClassVar[bool] = False
    """Whether it does the same to a frame whatever its place and the other frames are."""
    starts_after_projection: ClassVar[bool] = False
    """Whether its start is drawn after that of `cls_proj`: this decides the order of random numbers alone."""

    def __init__(self, config: Any, tower: VisionConfig, num_frames: int, place: int) -> None:
        """Make the instance of one place, INPUT or the number of a block, for this tower and clips of T frames."""
        super().__init__()
        self.config = config

    @classmethod
    def places(cls, config: Any, depth: int) -> Sequence[int]:
        """Where it stands in a tower of `depth` blocks: at every block, unless it says otherwise."""
        return range(depth)

    def change_tokens(self, tokens: Tensor) -> Tensor:
        """What the tokens (B, T, L, C) are when they come in at its place; it may add tokens behind the others."""
        return tokens

    def forward(self, frame_tokens: Tensor) -> Tensor | None:
        """Context of the block from the frame tokens (B, T, C): (B or 1, T or 1, tokens, C), or None for no context."""
        return None


@dataclass(frozen=True)
class Reads:
    """What a pool reads of the tower."""

    blocks: int = 1
    """Of how many of the last blocks it wants the traces."""
    all_tokens: bool = False
    """Whether it wants all tokens that leave the last block; else only those that the tower's own pooling reads are
    computed."""
    neighbours: bool = False
    """Whether what it reads of a frame depends on the frames beside it."""


class Pool(Part):
    """What makes the features of a video from what the tower's last blocks did.

    It goes in two steps: `read` takes what it needs of the tower, and nothing that it learns comes in there, so that a
    feature cache keeps this of a video; `forward` makes the video's features of it.
    """

    reads: Reads = Reads()
    frame_shape: tuple[int, ...]
    """Of what it reads of one frame; (D,) unless the pool says otherwise."""
    shape: tuple[int, ...]
    """Of the features of one video; (D,) unless the pool says otherwise."""
    text_space_remedy: str = ""
    """What to set so that they can be compared with texts; empty if they lie in the space that the towers share."""

    def __init__(self, config: Any, tower: VisionConfig, num_frames: int, embed_dim: int) -> None:
        """Make it for this tower, clips of T frames, and a space of D = `embed_dim` that both towers share."""
        super().__init__()
        self.config = config
        self.frame_shape = self.shape = (embed_dim,)

    def read(self, traces: Sequence[Trace], tower: VisionTower) -> Tensor:
        """What it reads of the traces of the last `reads.blocks` blocks, (B, T, *frame_shape): here the features of
        each frame."""
        return tower.frame_features(traces[-1].output)

    def forward(self, read: Tensor, tower: VisionTower, masks: DropoutMasks | None) -> Tensor:
        """Features of the videos, (B, ...) of any shape that the head knows.

        Args:
            read: what `read` gave.
            tower: the backbone's image tower.
            masks: of a training step with dropout; None: no dropout.
        """
        raise NotImplementedError

    def attention(self, read: Tensor, tower: VisionTower) -> Tensor | None:
        """Where it looks itself, for people to see: (B, heads, T, 1 + N) of the class tokens and the patches of all
        frames, which sum to 1 for each head. None: nowhere, so that the last block's own attention tells more."""
        return None


@dataclass(frozen=True)
class HeadInputs:
    """What a head is made from, besides its settings."""

    backbone: CLIP
    """The image-text model whose text tower encodes texts."""
    class_names: Sequence[str]
    """The classes that are trained."""
    templates: Sequence[str]
    """Texts for the names that the head learned nothing for."""
    video_shape: tuple[int, ...]
    """Shape of the features that the pool gives for one video."""
    text_space_remedy: str
    """What to set so that these features can be compared with texts; empty if they can."""
    fresh: bool
    """Whether the head starts. If not, saved values are put in afterwards."""


class Head(Part):
    """What videos are compared with, and how."""

    takes_templates: ClassVar[bool] = True
    """Whether names in hand-written texts can stand in for what it has learned."""
    comparable: ClassVar[bool] = True
    """Whether the features of a video can be kept and compared with any classes later. If not, the logits of classes
    that are known beforehand are all that can be kept."""
    learns_texts: ClassVar[bool] = True
    """Whether it learns anything that stands for a class; if not, names go into templates."""
    per_class: str = ""
    """What it learned for each of its own classes, which serves no other: `context`, `vector`, or nothing."""
    class_values: tuple[str, ...] = ()
    """Names of the values with a row for each of its own classes."""

    def __init__(self, config: Any, inputs: HeadInputs) -> None:
        super().__init__()
        self.config = config
        self._num_own = len(inputs.class_names)
        own = list(enumerate(inputs.class_names))
        self._own_numbers = {_read_name(name): n for n, name in own} | {name: n for n, name in own}

    def encode(self, names: Sequence[str], backbone: CLIP) -> Tensor | None:
        """What it has learned for K names, (K, ...) before `class_features`; None if nothing, so that names go into
        templates.

        Raises:
            ValueError: for names that it cannot serve.
        """
        return None

    def class_features(self, encoded: Tensor) -> Tensor:
        """What is compared of what `encode`, or the text tower, gives for K classes: (K, ...)."""
        return l2_normalize(encoded)

    def combine(self, encoded: Sequence[Tensor]) -> Tensor:
        """One feature for each class from those of several texts: the mean of unit vectors, of unit length."""
        total = self.class_features(encoded[0])
        for each in encoded[1:]:
            total = total + self.class_features(each)
        return self.class_features(total)

    def video_features(self, pooled: Tensor, masks: DropoutMasks | None = None) -> Tensor:
        """What is kept of a video from what the pool gives: (B, ...). `masks` are those of a training step with
        dropout."""
        return l2_normalize(pooled)

    def mean(self, video_features: Tensor) -> Tensor:
        """One feature of a video (B, ...) from those of its views (B, V, ...)."""
        return video_features.mean(dim=1)

    def logits(self, video_features: Tensor, class_features: Tensor) -> Tensor:
        """Logits (..., K) of videos (..., D) for classes (K, D)."""
        raise NotImplementedError

    def probabilities(self, logits: Tensor) -> Tensor:
        """Probabilities of (..., K) logits; here one class of them is right."""
        return logits.softmax(dim=-1)

    def similarity(self, video_features: Tensor, class_features: Tensor) -> Tensor:
        """How near K classes (K, ...) are to one video (...), for people to read: (K,); here their logits."""
        return self.logits(video_features[None], class_features)[0]

    def serves(self, names: Sequence[str]) -> bool:
        """Whether it can compare videos with these names, by what it has learned or in templates."""
        own = not self.per_class or all(self.own_number(name) is not None for name in names)
        return own or self.takes_templates

    def own_number(self, name: str) -> int | None:
        """The number of its own class that has this name, or one that a text tower reads alike; or None."""
        return self._own_numbers.get(name, self._own_numbers.get(_read_name(name)))

    def indices(self, names: Sequence[str]) -> list[int]:
        """The numbers of names among its own classes, all of which must be there."""
        own = [number for number in map(self.own_number, names) if number is not None]
        if len(own) < len(names):
            remedy = "give some of its own names, or train a model whose head takes templates"
            if self.takes_templates:
                example = "templates=['a video of {}.'] (--template on the command line)"
                remedy = f"pass templates, e.g. {example}, to use the text tower"
            raise ValueError(
                f"this model learned one {self.per_class} for each of its own {self._num_own} classes, which"
                f" cannot serve other names; {remedy}"
            )
        return own


def _read_name(name: str) -> str:
    return text_key(in_words(name))


class CosineHead(Head):
    """The cosine of a video's and a class's features, times a temperature that trains."""

    def __init__(self, config: Any, inputs: HeadInputs) -> None:
        """Raises:
        ValueError: if the pool gives features of another space than that of the texts.
        """
        super().__init__(config, inputs)
        if inputs.text_space_remedy:
            raise ValueError(
                f"model.head {self.name!r} takes features in the space of the texts, which those of model.pool are not;"
                f" {inputs.text_space_remedy}, or choose model.head = classifier"
            )
        if inputs.video_shape != self.takes(inputs):
            raise ValueError(
                f"model.head {self.name!r} takes features of shape {self.takes(inputs)}, but model.pool gives"
                f" {inputs.video_shape}; choose another pool or head (see `vitaclip list parts`)"
            )

    @classmethod
    def takes(cls, inputs: HeadInputs) -> tuple[int, ...]:
        """Shape of the features of a video that it takes: here those of the space that the towers share."""
        return (inputs.backbone.config.embed_dim,)

    def add_temperature(self, backbone: CLIP) -> None:
        """Start the temperature at the backbone's; called last, so that it is the last of the parameters."""
        self.logit_scale = nn.Parameter(backbone.logit_scale.detach().clone())

    def mean(self, video_features: Tensor) -> Tensor:
        """The mean, of unit length again."""
        return F.normalize(super().mean(video_features), dim=-1)

    def similarity(self, video_features: Tensor, class_features: Tensor) -> Tensor:
        """The cosines (K,) of a video and K classes."""
        return super().similarity(video_features, class_features) / self.logit_scale.exp()

    def logits(self, video_features: Tensor, class_features: Tensor) -> Tensor:
        """Compared in float32 also under autocast: in bfloat16 neighbouring logits of many classes would tie."""
        with without_autocast(video_features.device.type):
            return self.logit_scale.exp() * video_features @ class_features.T


def encode_templates(
    backbone: CLIP, names: Sequence[str], templates: Sequence[str], combine: Callable[[Sequence[Tensor]], Tensor]
) -> Tensor:
    """Class names in hand-written texts, through the backbone's text tower: (K, D).

    Raises:
        ValueError: for a template without its slot, or a text that does not fit.
    """
    features = []
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(f"template {template!r} must hold {{}} exactly once, where the class name goes")
        texts = [template.replace("{}", in_words(name)) for name in names]
        features.append(backbone.encode_texts(texts))
    return combine(features)


def without_autocast(device_type: str) -> AbstractContextManager[object]:
    """A context in which everything on such devices is computed in its own precision. Programs that models are exported
    to know no such context, and need none."""
    return nullcontext() if torch.compiler.is_exporting() else torch.autocast(device_type, enabled=False)


def drop(x: Tensor, rate: float, masks: DropoutMasks | None) -> Tensor:
    """Dropout of (B, count) numbers by masks that are given; none without masks."""
    return x if masks is None or not rate else x * masks(x.shape[-1], rate).to(x)


def count_heads(asked: int, width: int, part: str, called: str) -> int:
    """Heads of an attention over `width` channels: those asked for, or one for each 64 channels if that is 0. Errors
    name the `part` and what its width is `called`.

    Raises:
        ValueError: if they do not divide the width.
    """
    heads = asked or max(1, width // 64)
    if width % heads:
        raise ValueError(f"model.{part}: heads = {heads} do not divide {called}; choose others")
    return heads


def start_linear(layer: nn.Linear) -> None:
    """Start a linear layer as X-CLIP does: weights truncated normal with a std of 0.02, no bias."""
    nn.init.trunc_normal_(layer.weight, std=0.02)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def uniform_tokens(count: int, tower: VisionConfig) -> nn.Parameter:
    """Learned tokens (count, C) that start uniform in +-sqrt(6 / (3 * patch^2 + C)), as visual prompts do (VPT)."""
    bound = math.sqrt(6 / (3 * tower.patch_size**2 + tower.width))
    return nn.Parameter(torch.empty(count, tower.width).uniform_(-bound, bound))


def l2_normalize(features: Tensor) -> Tensor:
    """Vectors (..., D) of unit length, in float32 at least."""
    return F.normalize(features.to(torch.promote_types(features.dtype, torch.float32)), dim=-1)


def interpolate_frames(learned: Tensor, num_frames: int) -> Tensor:
    """What was learned for (T, C) frames, linearly interpolated to (num_frames, C).

    >>> interpolate_frames(torch.tensor([[0.0], [1.0]]), 4).flatten().tolist()
    [0.0, 0.25, 0.75, 1.0]
    """
    if not torch.compiler.is_exporting() and len(learned) == num_frames:
        return learned
    # Written out, since the formats that models are exported to round places otherwise, and have no case of one frame.
    last = learned.shape[0] - 1
    frames = torch.arange(num_frames, dtype=learned.dtype, device=learned.device)
    places = ((frames + 0.5) * (learned.shape[0] / num_frames) - 0.5).clamp(0, last)
    own = torch.arange(learned.shape[0], dtype=learned.dtype, device=learned.device)
    weights = (1 - (places[:, None] - own).abs()).clamp(min=0)
    return (weights[..., None] * learned).sum(dim=1)
