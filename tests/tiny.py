"""A tiny model with random weights, for tests of everything that needs some model."""

from functools import cache
from typing import Any

import torch
from torch import nn

from vitaclip.backbones.config import CLIPConfig, TextConfig, VisionConfig
from vitaclip.backbones.loading import Backbone, fingerprint
from vitaclip.backbones.model import CLIP
from vitaclip.backbones.tokenizer import Tokenizer
from vitaclip.backbones.vocabulary import WORD_END, bpe_of_merges
from vitaclip.model import VideoModel
from vitaclip.parts.config import ModelConfig

WORDS = "a video photo of . jump run sit stand up down very long name moving left right one two three four".split()  # noqa: SIM905


@cache
def tiny_tokenizer() -> Tokenizer:
    """Each of WORDS is a token; others fall into pieces. Built by hand: a trainer breaks ties anyhow."""
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        pieces = [*word[:-1], word[-1] + WORD_END]
        for pair in merges:
            pieces = merge(pieces, pair)
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces = merge(pieces, merges[-1])
    tokenizer = Tokenizer(bpe_of_merges(merges))
    assert all(len(tokenizer.encode(word)) == 1 for word in WORDS)
    return tokenizer


def merge(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    """The pieces of a word with every such neighbouring pair made one."""
    merged: list[str] = []
    for piece in pieces:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged


def tiny_clip_config(**vision: Any) -> CLIPConfig:
    """16 px in 4 patches, two layers of width 16."""
    sizes: dict[str, Any] = {"image_size": 16, "patch_size": 8, "width": 16, "depth": 2, "heads": 2} | vision
    return CLIPConfig(
        vision=VisionConfig(**sizes),
        text=TextConfig(vocab_size=tiny_tokenizer().vocab_size, context_length=77, width=12, depth=2, heads=2),
        embed_dim=8,
    )


def tiny_backbone(**vision: Any) -> Backbone:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        clip = CLIP(tiny_clip_config(**vision)).eval()
        # CLIP's own start is so small that all pictures look alike; these features tell them apart.
        for block in [*clip.vision.blocks, *clip.text.blocks]:
            for parameter in block.parameters():
                if parameter.dim() > 1:
                    parameter.data *= 3
    return Backbone(clip, tiny_tokenizer(), "tiny", fingerprint(clip.state_dict()))


def tiny_model(class_names: tuple[str, ...] = (), **settings: Any) -> VideoModel:
    """All kinds of prompts and a learned context, unless the settings of a `ModelConfig` say otherwise."""
    usual: dict[str, Any] = {"num_frames": 4, "context": all_kinds(2), "head": learned_text(3)}
    return VideoModel(tiny_backbone(), ModelConfig(backbone="tiny", **{**usual, **settings}), class_names)


def all_kinds(num_global: int = 8) -> dict[str, Any]:
    """The context of Vita-CLIP."""
    return {"global": {"count": num_global}, "local": {}, "summary": {}, "time": {}}


def learned_text(num_context: int, **settings: Any) -> dict[str, Any]:
    """The head of Vita-CLIP."""
    return {"name": "learned_text", "num_context": num_context, **settings}


def parameter_of(model: VideoModel, name: str) -> nn.Parameter:
    """One of the model's parameters."""
    return dict(model.named_parameters())[name]


DECODE = {"name": "decode", "blocks": 2}
METHODS: dict[str, dict[str, Any]] = {
    "vita-clip": {},
    "evl": {"context": {}, "pool": DECODE, "head": "classifier"},
    "evl zero-shot": {"context": {}, "pool": {**DECODE, "project": True}, "head": "templates"},
    "evl of vita-clip": {"pool": {**DECODE, "project": True}},
    "xclip": {"context": {"summary": {}}, "pool": "integrate", "head": "video_read", "train": "image"},
    "vifi": {"context": {}, "head": "templates", "train": "both", "train_token_embedding": False},
    "vifi prompted": {"context": {"deep_tokens": {"count": 2, "depth": 2}}, "head": learned_text(2, depth=2)},
}
"""Settings of `tiny_model` for each method, by the names that tests call them."""
