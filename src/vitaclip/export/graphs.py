"""A model as the three functions that are exported: of videos, of texts, and of both.

Axes: B videos, T frames, S x S pixels, K classes, P templates, L tokens, M context tokens, D embedding.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from keyword import iskeyword

import torch
from torch import Tensor, nn

from vitaclip.model import VideoModel
from vitaclip.parts.heads.learned_text import LearnedTextHead, PromptLayout

Inputs = Mapping[str, Tensor]


@dataclass(frozen=True)
class Graph:
    """One of the functions."""

    module: nn.Module
    examples: Sequence[Inputs]
    """What it is traced with, and what else it is checked with: other lengths of the dynamic axes."""
    dynamic: Mapping[str, Mapping[int, str]]
    """Of each input the axes that may have any length, and what these are called."""
    outputs: Sequence[str]


def with_plain_names(model: VideoModel) -> VideoModel:
    """A copy that shares all values, in which no module is called by a word of Python, such as `global`: torch.export
    writes code that names them."""
    shared = [*model.parameters(), *model.buffers(), model.backbone.tokenizer]
    copied = deepcopy(model, {id(each): each for each in shared}).eval()
    for module in copied.modules():
        for name in filter(iskeyword, [*module._modules]):
            module._modules[f"{name}_"] = module._modules.pop(name)
    return copied


class VideoFunction(nn.Module):
    """Videos, uint8 (B, T, 3, S, S), to what is compared with texts, (B, ...), and for classes that are known to
    logits (B, K)."""

    classes: Tensor | None

    def __init__(self, model: VideoModel, classes: Tensor | None) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("classes", classes)

    def forward(self, video: Tensor) -> tuple[Tensor, ...]:
        features = self.model.encode_video(video)
        return (features,) if self.classes is None else (features, self.model.logits(features, self.classes))


class TemplateFunction(nn.Module):
    """Names in templates, ids (K, P, L) that end at (K, P), to what videos are compared with, (K, D)."""

    def __init__(self, model: VideoModel) -> None:
        super().__init__()
        self.backbone, self.head = model.backbone, model.head

    def forward(self, ids: Tensor, end: Tensor) -> tuple[Tensor]:
        encoded = self.backbone.encode_ids(ids.flatten(end_dim=1), end.flatten())
        return (self.head.combine(encoded.unflatten(0, end.shape).unbind(dim=1)),)


class PromptFunction(nn.Module):
    """Names beside the learned context, ids (K, L) with slots (K, M) for it that end at (K,), to (K, D)."""

    def __init__(self, model: VideoModel, head: LearnedTextHead) -> None:
        super().__init__()
        self.backbone, self.head = model.backbone, head

    def forward(self, ids: Tensor, slots: Tensor, end: Tensor) -> tuple[Tensor]:
        encoded = self.head.encode_prompts(PromptLayout(ids, slots, end), self.head.context, self.backbone)
        return (self.head.class_features(encoded),)


class ScoreFunction(nn.Module):
    """What the two others give, (B, ...) and (K, ...), to logits (B, K)."""

    def __init__(self, model: VideoModel) -> None:
        super().__init__()
        self.head = model.head

    def forward(self, features: Tensor, classes: Tensor) -> tuple[Tensor]:
        return (self.head.logits(features, classes),)


def video_graph(model: VideoModel, classes: Tensor | None) -> Graph:
    """The function of videos, with class features (K, ...) in it if there are any."""
    frames, size = model.config.num_frames, model.image_size
    generator = torch.Generator().manual_seed(0)
    # Neither of the lengths it is traced with is one, or that of something learned: nothing is taken for a constant.
    shapes = (2, frames + 1), (1, frames), (1, 1)
    videos = [torch.randint(256, (*shape, 3, size, size), generator=generator, dtype=torch.uint8) for shape in shapes]
    outputs = ["features"] if classes is None else ["features", "logits"]
    dynamic = {"video": {0: "batch", 1: "frames"}}
    return Graph(VideoFunction(model, classes), [{"video": video} for video in videos], dynamic, outputs)


def text_graph(model: VideoModel, examples: Sequence[Inputs]) -> Graph:
    """The function of texts: of what is learned for all classes alike, or else of templates."""
    head = model.head
    if isinstance(head, LearnedTextHead) and not head.per_class:
        module: nn.Module = PromptFunction(model, head)
    else:
        module = TemplateFunction(model)
    dynamic = {name: {0: "classes"} for name in examples[0]}
    if model.backbone.config.text.order == "causal":
        dynamic["ids"] = {0: "classes", examples[0]["ids"].dim() - 1: "tokens"}
    return Graph(module, examples, dynamic, ["classes"])


def score_graph(model: VideoModel, features: Tensor, classes: Tensor) -> Graph:
    """The function of both, with examples of what the others give: features (B, ...) and classes (K, ...)."""
    examples = [{"features": features, "classes": classes}, {"features": features[:1], "classes": classes[:1]}]
    dynamic = {"features": {0: "batch"}, "classes": {0: "classes"}}
    return Graph(ScoreFunction(model), examples, dynamic, ["logits"])
