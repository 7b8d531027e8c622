"""The key names of OpenAI's CLIP, which open_clip kept: its `.pt` files, and open_clip's checkpoints.

open_clip's `CustomTextCLIP` puts the text tower under `text.`; otherwise the names are the same.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor

from vitaclip.backbones.families import open_clip
from vitaclip.backbones.families.architecture import Activation, read_architecture
from vitaclip.backbones.families.family import CLIPWeights, read_config_file, register_family
from vitaclip.backbones.families.table import Row, depth, layer, same, to_ours, transposed, without_bias
from vitaclip.backbones.pixels import OPEN_CLIP_CONFIG_FILE, open_clip_pixels

IGNORABLE = ("input_resolution", "context_length", "vocab_size", r".*attn_mask", r".*position_ids")
"""Sizes that OpenAI's files carry as tensors (the weights say the same), and masks and counters that are no weights."""
SIGNATURE = "visual.conv1.weight"
"""A key that every such file has and no other format."""
OPENAI_ONLY = "input_resolution"
"""A key that OpenAI's own files have and open_clip's have not."""


def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict under OpenAI's names -> ours.

    Raises:
        ValueError: if a key is missing or unknown.
    """
    text = "text." if "text.token_embedding.weight" in state else ""
    table = key_table(
        depth(state, r"visual\.transformer\.resblocks"), depth(state, rf"{text}transformer\.resblocks"), text
    )
    if f"{text}text_projection.weight" in state:  # a linear layer in some of open_clip's
        projection = transposed("text.proj", f"{text}text_projection.weight")
        table = [projection if row.ours == ("text.proj",) else row for row in table]
    return to_ours(state, table, "a CLIP under OpenAI's or open_clip's names", IGNORABLE)


def key_table(vision_depth: int, text_depth: int, text: str = "") -> list[Row]:
    """Every tensor of ours beside OpenAI's names; `text` is what stands before the names of the text tower."""
    return [
        same("logit_scale", "logit_scale"),
        same("vision.cls_embed", "visual.class_embedding"),
        same("vision.pos_embed", "visual.positional_embedding"),
        same("vision.proj", "visual.proj"),
        without_bias("vision.patch_embed", "visual.conv1"),
        *layer("vision.norm_pre", "visual.ln_pre"),
        *layer("vision.norm_post", "visual.ln_post"),
        same("text.token_embed.weight", f"{text}token_embedding.weight"),
        same("text.pos_embed", f"{text}positional_embedding"),
        same("text.proj", f"{text}text_projection"),
        *layer("text.norm_final", f"{text}ln_final"),
        *blocks("vision.blocks", "visual.transformer.resblocks", vision_depth),
        *blocks("text.blocks", f"{text}transformer.resblocks", text_depth),
    ]


def blocks(ours: str, theirs: str, count: int) -> Iterator[Row]:
    """Transformer blocks, whose q, k and v are one matrix there as here."""
    for i in range(count):
        for part in ("weight", "bias"):
            yield same(f"{ours}.{i}.attention.qkv.{part}", f"{theirs}.{i}.attn.in_proj_{part}")
        names = {"attention.out": "attn.out_proj", "norm1": "ln_1", "norm2": "ln_2"}
        names |= {"mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
        for here, there in names.items():
            yield from layer(f"{ours}.{i}.{here}", f"{theirs}.{i}.{there}")


@register_family("OpenAI and open_clip", SIGNATURE)
def read(state: dict[str, Tensor], folder: Path, activation: Activation | None) -> CLIPWeights:
    """OpenAI's own files and open_clip's, whose config lies beside them; without it the user says the activation."""
    ours = convert(state)
    if (folder / OPEN_CLIP_CONFIG_FILE).is_file():
        config = open_clip.read_config(read_config_file(folder / OPEN_CLIP_CONFIG_FILE), ours, open_clip_pixels(folder))
        return CLIPWeights("open_clip", config, ours, folder)
    if OPENAI_ONLY in state:
        return CLIPWeights("OpenAI", read_architecture(ours, "quick_gelu"), ours, folder)
    if activation is None:
        raise ValueError(
            f"these weights do not tell their activation, and there is no {OPEN_CLIP_CONFIG_FILE} beside them: give"
            " activation 'quick_gelu' (weights of OpenAI, MetaCLIP, DFN) or 'gelu' (LAION, DataComp), e.g."
            " `vitaclip convert FILE OUT --activation gelu`, which writes a folder that tells it"
        )
    return CLIPWeights("open_clip", read_architecture(ours, activation), ours, folder)
