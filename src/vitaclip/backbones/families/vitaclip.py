"""Checkpoints of the published Vita-CLIP code, to ours and back by one table.

A published state dict holds the whole model under one roof: frozen towers, prompts and temperature. Ours keeps the
towers (`backbone.*`) and what the parts learn (`context.*`, `head.*`) apart. Differences besides names: the image
tower's q, k and v projections are three layers there and one here; global prompts of all blocks are one tensor
(depth, G, C) there; local prompts have a leading axis of size 1 there.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitaclip.backbones.config import Activation, CLIPConfig, TextConfig, VisionConfig
from vitaclip.backbones.families.family import HEAD_WIDTH, CLIPWeights, Trained, read_architecture, register_family
from vitaclip.backbones.families.openai import blocks
from vitaclip.backbones.families.table import Row, depth, fused, leading_axis, same, to_ours, to_theirs
from vitaclip.backbones.tokenizer import Tokenizer
from vitaclip.names import in_words

IGNORABLE = (r"prompt_learner\.token_prefix", r"prompt_learner\.token_suffix")
"""Buffers that follow from the token embedding and the class names."""
GLOBAL_PROMPTS = "visual.global_prompts"


def _attention(ours: str, theirs: str, kind: str = "") -> list[Row]:
    """An attention whose q, k and v are three layers there."""
    return [
        fused(f"{ours}.qkv.*", f"{theirs}.{{}}_proj.*", kind),
        *same({f"{ours}.out.*": f"{theirs}.out_proj.*"}, kind),
    ]


TABLE = [
    *same(
        {
            "backbone.vision.cls_embed": "visual.cls_token",
            "backbone.vision.pos_embed": "visual.pos_embed",
            "backbone.vision.patch_embed.*": "visual.patch_embed.proj.*",
            "backbone.vision.norm_pre.*": "visual.ln_pre.*",
            "backbone.vision.norm_post.*": "visual.ln_post.*",
            "backbone.vision.proj": "visual.proj",
            "backbone.text.token_embed.weight": "textual.token_embedding.weight",
            "backbone.text.pos_embed": "textual.positional_embedding",
            "backbone.text.norm_final.*": "textual.ln_final.*",
            "backbone.text.proj": "textual.text_projection",
        }
        | {f"backbone.vision.blocks.#.{name}.*": f"visual.blocks.#.{name}.*" for name in ("norm1", "norm2")}
        | {f"backbone.vision.blocks.#.mlp.{name}.*": f"visual.blocks.#.mlp.{name}.*" for name in ("fc1", "fc2")}
    ),
    *_attention("backbone.vision.blocks.#.attention", "visual.blocks.#.attn"),
    *blocks("backbone.text.blocks", "textual.transformer.resblocks"),
    *same({"head.logit_scale": "logit_scale"}, "scale"),
    *same({"head.context": "prompt_learner.ctx"}, "text"),
    *same({"context.input.time.embed": "visual.time_embed"}, "time"),
    *same({"context.blocks.#.global.prompts": "visual.blocks.#.global_prompts"}, "global"),
    leading_axis("context.blocks.#.local.prompts", "visual.blocks.#.local_prompts", "local"),
    *same({"context.blocks.#.cls_proj.*": "visual.blocks.#.cls_proj.*"}, "projection"),
    *same({"context.blocks.#.summary.norm.*": "visual.blocks.#.summary_ln.*"}, "summary"),
    *_attention("context.blocks.#.summary.attention", "visual.blocks.#.summary_attn_layer", "summary"),
]


@register_family("the published Vita-CLIP code", "visual.patch_embed.proj.weight")
def read(state: dict[str, Tensor], folder: Path, activation: Activation | None = None) -> CLIPWeights:
    """A trained model, or the backbone file that its training starts from.

    It tells neither its heads, for which see `read_architecture`, nor the place of the class name in the context.
    """
    theirs = dict(state)
    if GLOBAL_PROMPTS in theirs:
        prompts = theirs.pop(GLOBAL_PROMPTS)
        of_block = zip(range(depth(state, "visual.blocks.")), prompts, strict=True)
        theirs |= {f"visual.blocks.{block}.global_prompts": values for block, values in of_block}
    ours = to_ours(theirs, TABLE, IGNORABLE)
    clip_state = {name[len("backbone.") :]: tensor for name, tensor in ours.items() if name.startswith("backbone.")}
    learned = {name: tensor for name, tensor in ours.items() if not name.startswith("backbone.")}
    texts = learned.get("head.context")
    num_classes = len(texts) if texts is not None and texts.dim() == 3 else 0
    trained = Trained(_settings(learned), learned, num_classes) if learned.keys() - {"head.logit_scale"} else None
    # The published code starts from this where its backbone file has none.
    clip_state["logit_scale"] = learned.setdefault("head.logit_scale", torch.tensor(math.log(1 / 0.07)))
    return CLIPWeights(read_architecture(clip_state), clip_state, trained)


def _settings(learned: Mapping[str, Tensor]) -> dict[str, Any]:
    """Which parts there are, read off the names and shapes of their values."""
    first = "context.blocks.0."
    time, texts = learned.get("context.input.time.embed"), learned.get("head.context")
    context: dict[str, Any] = {}
    if f"{first}global.prompts" in learned:
        context["global"] = {"count": len(learned[f"{first}global.prompts"])}
    there = {"local": "local.prompts", "summary": "summary.norm.weight"}
    context |= {kind: {} for kind, key in there.items() if first + key in learned}
    if time is not None:
        context["time"] = {}
    head: Any = "templates"
    if texts is not None:
        head = {"name": "learned_text", "num_context": texts.shape[-2], "per_class": texts.dim() == 3}
    return {"num_frames": 8 if time is None else len(time), "context": context, "centre": False, "head": head}


def check_writable(config: CLIPConfig) -> None:
    """Raise ValueError for a backbone that the format cannot tell apart from OpenAI's: it holds neither activation nor
    heads."""
    vision, text = config.vision, config.text
    sizes = ("width", "depth", "heads", "mlp_ratio", "image_size", "patch_size", "vocab_size", "context_length")
    for tower, plain in ((vision, VisionConfig), (text, TextConfig)):
        told = {name: value for name, value in vars(tower).items() if name in sizes} | {
            "heads": tower.width // HEAD_WIDTH
        }
        if tower.width % HEAD_WIDTH or tower != plain(**told):
            raise ValueError(
                f"this backbone has {tower.activation} and heads of {tower.width // tower.heads}; the published format"
                f" tells neither, nor any other option, and means OpenAI's CLIP with heads of {HEAD_WIDTH}: save a"
                " folder instead"
            )


def to_published(clip_state: Mapping[str, Tensor], adapter_state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same model under the published names, as the published code would save it (without `module.`)."""
    ours = {f"backbone.{name}": tensor for name, tensor in clip_state.items() if name != "logit_scale"}
    theirs = to_theirs({**ours, **adapter_state}, TABLE)
    prompts = [theirs.pop(name) for name in list(theirs) if name.endswith(".global_prompts")]
    return theirs | ({GLOBAL_PROMPTS: torch.stack(prompts)} if prompts else {})


def name_buffers(names: Sequence[str], tokenizer: Tokenizer, token_embed: Tensor, room: int) -> dict[str, Tensor]:
    """What the published code keeps of its K class names, and wants back when it loads a checkpoint.

    These are the embeddings of the start token (K, 1, W), and of name, full stop, end token and padding
    (K, room, W), looked up in `token_embed` (vocabulary, W).
    """
    rows = [[*tokenizer.encode(in_words(name) + "."), *tokenizer.end] for name in names]
    padded = torch.tensor([row + [0] * (room - len(row)) for row in rows])
    start = torch.full((len(rows), 1), tokenizer.start[0])
    return {"prompt_learner.token_prefix": token_embed[start], "prompt_learner.token_suffix": token_embed[padded]}
