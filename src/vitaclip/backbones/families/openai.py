"""The key names of OpenAI's CLIP, which open_clip kept: its `.pt` files, and open_clip's checkpoints.

open_clip's `CustomTextCLIP` puts the text tower under `text.`; otherwise the names are the same.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor

from vitaclip.backbones.families.table import Row, layer, same, to_ours

IGNORABLE = ("input_resolution", "context_length", "vocab_size", r".*attn_mask", r".*position_ids")
"""Sizes that OpenAI's files carry as tensors (the weights say the same), and masks and counters that are no weights."""


def blocks(ours: str, theirs: str) -> list[Row]:
    """Transformer blocks, whose q, k and v are one matrix there as here."""
    names = {
        "attention.qkv.*": "attn.in_proj_*",
        "attention.out.*": "attn.out_proj.*",
        "norm1.*": "ln_1.*",
        "norm2.*": "ln_2.*",
        "mlp.fc1.*": "mlp.c_fc.*",
        "mlp.fc2.*": "mlp.c_proj.*",
    }
    return same({f"{ours}.#.{here}": f"{theirs}.#.{there}" for here, there in names.items()})


TABLE = [
    *same(
        {
            "logit_scale": "logit_scale",
            "vision.cls_embed": "visual.class_embedding",
            "vision.pos_embed": "visual.positional_embedding",
            "vision.norm_pre.*": "visual.ln_pre.*",
            "vision.norm_post.*": "visual.ln_post.*",
            "vision.proj": "visual.proj",
            "text.token_embed.weight": "token_embedding.weight",
            "text.pos_embed": "positional_embedding",
            "text.norm_final.*": "ln_final.*",
            "text.proj": "text_projection",
        }
    ),
    layer("vision.patch_embed", "visual.conv1"),
    *blocks("vision.blocks", "visual.transformer.resblocks"),
    *blocks("text.blocks", "transformer.resblocks"),
]


def convert(state: Mapping[str, Tensor], table: Sequence[Row] = TABLE) -> dict[str, Tensor]:
    """A state dict under OpenAI's names -> ours."""
    if "text.token_embedding.weight" in state:
        state = {name.removeprefix("text."): tensor for name, tensor in state.items()}
    return to_ours(state, table, IGNORABLE)
