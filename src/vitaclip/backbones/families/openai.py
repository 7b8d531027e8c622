"""The key names of OpenAI's CLIP, which open_clip kept: its `.pt` files, and open_clip's checkpoints.

open_clip's `CustomTextCLIP` puts the text tower under `text.`; otherwise the names are the same.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from vitaclip.backbones.config import Activation
from vitaclip.backbones.families import open_clip
from vitaclip.backbones.families.architecture import read_architecture
from vitaclip.backbones.families.family import CLIPWeights, read_config_file, register_family
from vitaclip.backbones.families.table import Row, same, to_ours, without_bias
from vitaclip.backbones.pixels import OPEN_CLIP_CONFIG_FILE, open_clip_pixels

IGNORABLE = ("input_resolution", "context_length", "vocab_size", r".*attn_mask", r".*position_ids")
"""Sizes that OpenAI's files carry as tensors (the weights say the same), and masks and counters that are no weights."""
OPENAI_ONLY = "input_resolution"
"""A key that OpenAI's own files have and open_clip's have not."""


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
    without_bias("vision.patch_embed", "visual.conv1"),
    *blocks("vision.blocks", "visual.transformer.resblocks"),
    *blocks("text.blocks", "transformer.resblocks"),
]


def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict under OpenAI's names -> ours."""
    theirs = dict(state)
    if "text.token_embedding.weight" in theirs:
        theirs = {name.removeprefix("text."): tensor for name, tensor in theirs.items()}
    if "text_projection.weight" in theirs:  # a linear layer in some of open_clip's
        theirs["text_projection"] = theirs.pop("text_projection.weight").T
    return to_ours(theirs, TABLE, "a CLIP under OpenAI's or open_clip's names", IGNORABLE)


@register_family("OpenAI and open_clip", "visual.conv1.weight")
def read(state: dict[str, Tensor], folder: Path, activation: Activation | None) -> CLIPWeights:
    """OpenAI's own files and open_clip's, whose config lies beside them; without it the user says the activation."""
    ours = convert(state)
    if (folder / OPEN_CLIP_CONFIG_FILE).is_file():
        config = open_clip.read_config(read_config_file(folder / OPEN_CLIP_CONFIG_FILE), ours, open_clip_pixels(folder))
        return CLIPWeights("open_clip", config, ours, folder)
    if OPENAI_ONLY in state:
        return CLIPWeights("OpenAI", read_architecture(ours), ours, folder)
    if activation is None:
        raise ValueError(
            f"these weights do not tell their activation, and there is no {OPEN_CLIP_CONFIG_FILE} beside them: give"
            " activation 'quick_gelu' (weights of OpenAI, MetaCLIP, DFN) or 'gelu' (LAION, DataComp), e.g."
            " `vitaclip convert FILE OUT --activation gelu`, which writes a folder that tells it"
        )
    told = {"activation": activation}
    return CLIPWeights("open_clip", read_architecture(ours, told, told), ours, folder)
