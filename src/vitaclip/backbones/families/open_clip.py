"""open_clip's own towers, which kept OpenAI's key names, and OpenAI's `.pt` files themselves."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from vitaclip.backbones.config import Activation
from vitaclip.backbones.families.family import CLIPWeights, read_architecture, register_family
from vitaclip.backbones.families.open_clip_config import read_config, read_settings
from vitaclip.backbones.families.openai import TABLE, convert
from vitaclip.backbones.families.table import Row, optional, same, transposed, without
from vitaclip.backbones.pixels import OPEN_CLIP_CONFIG_FILE

OPENAI_ONLY = "input_resolution"
"""A key that OpenAI's own files have and open_clip's have not."""


def with_options(rows: Sequence[Row]) -> list[Row]:
    """OpenAI's table for all that open_clip saves under its names: the norm before the blocks may be missing, and the
    projection of texts may be a matrix, a layer with or without a bias, or missing."""
    matrix = same({"text.proj": "text_projection"}, "text matrix")
    layer = [transposed("text.proj", "text_projection.weight", "text layer")]
    bias = same({"text.proj_bias": "text_projection.bias"}, "text bias")
    logit_bias = same({"logit_bias": "logit_bias"}, "logit_bias")
    return [*optional(without(rows, "text.proj"), "vision.norm_pre.*"), *matrix, *layer, *bias, *logit_bias]


@register_family("OpenAI and open_clip", "visual.conv1.weight")
def read(state: dict[str, Tensor], folder: Path, activation: Activation | None) -> CLIPWeights:
    """OpenAI's own files and open_clip's, whose config lies beside them; without it the user says the activation."""
    if (folder / OPEN_CLIP_CONFIG_FILE).is_file():
        model = read_settings(folder)
        ours = convert(state, with_options(TABLE))
        return CLIPWeights(read_config(folder, model, ours), ours)
    ours = convert(state)
    if OPENAI_ONLY in state:
        return CLIPWeights(read_architecture(ours), ours)
    if activation is None:
        raise ValueError(
            f"these weights do not tell their activation, and there is no {OPEN_CLIP_CONFIG_FILE} beside them: give"
            " activation 'quick_gelu' (weights of OpenAI, MetaCLIP, DFN) or 'gelu' (LAION, DataComp), e.g."
            " `vitaclip convert FILE OUT --activation gelu`, which writes a folder that tells it"
        )
    told = {"activation": activation}
    return CLIPWeights(read_architecture(ours, told, told), ours)
