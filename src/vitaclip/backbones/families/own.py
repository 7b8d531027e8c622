"""Backbone folders of this package, as `save_backbone` writes them."""

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from vitaclip.backbones.config import Activation, CLIPConfig
from vitaclip.backbones.families.architecture import read_architecture
from vitaclip.backbones.families.family import CONFIG_FILE, CLIPWeights, read_config_file, register_family
from vitaclip.backbones.pixels import PixelStatistics
from vitaclip.settings import from_dict
from vitaclip.untrusted import reading


@register_family("this package", "vision.patch_embed.weight")
def read(state: dict[str, Tensor], folder: Path, activation: Activation | None) -> CLIPWeights:
    """The names are ours already. The config must say what the shapes of the weights say, before anything is built."""
    file = folder / CONFIG_FILE
    with reading(file):
        content = read_config_file(file)
        fingerprint = str(content.pop("fingerprint", ""))  # older folders have none
        told = from_dict(CLIPConfig, content)
        heads = {"vision_heads": told.vision.heads, "text_heads": told.text.heads}
        pixels = PixelStatistics(told.pixel_mean, told.pixel_std)
        held = read_architecture(state, told.activation, **heads, pixels=pixels)
        # The ratio is a quotient, which may be rounded; the shapes are compared with the hidden width later.
        held = replace(held, vision=replace(held.vision, mlp_ratio=told.vision.mlp_ratio))
        if told != held:
            raise ValueError(f"{file}: does not fit the weights beside it: it says {told}, they hold {held}")
    return CLIPWeights("vitaclip", told, state, folder, fingerprint=fingerprint)
