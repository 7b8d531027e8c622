"""A model as the three functions that are exported: of videos, of texts, and of both.

Axes: B videos, T frames, S x S pixels, K classes, P templates, L tokens, M context tokens.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from keyword import iskeyword
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vitaclip.evaluation.class_texts import encode_classes
from vitaclip.export.runner import text_inputs
from vitaclip.model import VideoModel
from vitaclip.parts.heads.learned_text import LearnedTextHead, PromptLayout

Inputs = dict[str, Tensor]
_NAMES = ("opening a door", "run", "moving left"), ("run",)
"""What functions of texts are traced with, and compared on."""


class Graph(NamedTuple):
    """One of the functions."""

    name: str
    module: nn.Module
    examples: Sequence[Inputs]
    """What it is traced with, and compared on: several lengths of each axis that may have any."""
    axes: Mapping[str, Mapping[int, str]]
    """These axes of the inputs, and what they are called."""
    outputs: Sequence[str]


def _module(run: Callable[..., tuple[Tensor, ...]], *parts: nn.Module) -> nn.Module:
    """A function as a module, for torch.export; what it computes with is all that its file holds."""
    module = nn.ModuleList(parts).eval()
    module.forward = run
    return module


def build_graphs(model: VideoModel, about: Mapping[str, Any]) -> Iterator[Graph]:
    """The functions of a model, which its description lists: `video` (B, T, 3, S, S) to what is compared with texts
    (B, ...), and to logits (B, K) of the classes that are known; `text`, if it reads texts, to what videos are compared
    with (K, ...); `score`, of what both give, to logits (B, K)."""
    model, names, size = with_plain_names(model), about["classes"], model.image_size
    head, backbone = model.head, model.backbone
    classes = encode_classes(model, names).features if names else None

    def encode_video(video: Tensor) -> tuple[Tensor, ...]:
        features = model.encode_video(video)
        return (features,) if classes is None else (features, model.logits(features, classes))

    # What it is traced with is not as long as anything learned, and not one: nothing is taken for a constant.
    shapes = (2, model.config.num_frames + 1), (1, model.config.num_frames), (1, 1)
    videos = [{"video": torch.randint(256, (*shape, 3, size, size), dtype=torch.uint8)} for shape in shapes]
    outputs = ["features"] if classes is None else ["features", "logits"]
    module = _module(encode_video, model.context, backbone.vision, model.pool, head)
    yield Graph("video", module, videos, {"video": {0: "batch", 1: "frames"}}, outputs)

    if about["text"]:
        arrays = [text_inputs(each, backbone.tokenizer, about["text"]) for each in _NAMES]
        texts = [{name: torch.from_numpy(array) for name, array in each.items()} for each in arrays]
        axes = {name: {0: "classes"} for name in texts[0]}
        if backbone.config.text.order == "causal":
            axes["ids"][texts[0]["ids"].dim() - 1] = "tokens"
        graph = Graph("text", _module(_text_function(model), backbone.text, head), texts, axes, ["classes"])
        yield graph
        (classes,) = graph.module(**texts[0])

    assert classes is not None, "a model that reads no texts has classes of its own"
    features = model.encode_video(videos[0]["video"])
    both = [{"features": features[:n], "classes": classes[:n]} for n in (2, 1)]
    axes = {"features": {0: "batch"}, "classes": {0: "classes"}}
    yield Graph(
        "score", _module(lambda features, classes: (head.logits(features, classes),), head), both, axes, ["logits"]
    )


def _text_function(model: VideoModel) -> Callable[..., tuple[Tensor, ...]]:
    """Of names beside the context that is learned for all, or else in templates, see `text_inputs`: to (K, ...)."""
    head, backbone = model.head, model.backbone

    def encode_prompts(ids: Tensor, slots: Tensor, end: Tensor) -> tuple[Tensor, ...]:
        assert isinstance(head, LearnedTextHead)
        return (head.class_features(head.encode_prompts(PromptLayout(ids, slots, end), head.context, backbone)),)

    def encode_templates(ids: Tensor, end: Tensor) -> tuple[Tensor, ...]:
        encoded = backbone.encode_ids(ids.flatten(end_dim=1), end.flatten())
        return (head.combine(encoded.unflatten(0, end.shape).unbind(dim=1)),)

    return encode_prompts if head.learns_texts and not head.per_class else encode_templates


def with_plain_names(model: VideoModel) -> VideoModel:
    """A copy that shares all values, in which no module is called by a word of Python, such as `global`: torch.export
    writes code that names them."""
    shared = [*model.parameters(), *model.buffers(), model.backbone.tokenizer]
    copied = deepcopy(model, {id(each): each for each in shared}).eval()
    for module in copied.modules():
        for name in filter(iskeyword, [*module._modules]):
            module._modules[f"{name}_"] = module._modules.pop(name)
    return copied
