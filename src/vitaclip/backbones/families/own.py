"""Backbone folders of this package, as `save_backbone` writes them."""

from pathlib import Path

from torch import Tensor

from vitaclip.backbones.config import Activation, CLIPConfig, upgrade_config
from vitaclip.backbones.families.family import CONFIG_FILE, CLIPWeights, read_config_file, read_shapes, register_family
from vitaclip.settings import from_dict, to_dict
from vitaclip.untrusted import reading


@register_family("this package", "vision.patch_embed.weight")
def read(state: dict[str, Tensor], folder: Path, activation: Activation | None) -> CLIPWeights:
    """The names are ours already. The config must say what the shapes of the weights say, before anything is built."""
    file = folder / CONFIG_FILE
    with reading(file):
        content = read_config_file(file)
        fingerprint = str(content.pop("fingerprint", ""))  # older folders have none
        told = from_dict(CLIPConfig, upgrade_config(content))
        held, said = read_shapes(state), to_dict(told)
        cut_off = told.vision.image_size % told.vision.patch_size
        held["vision"]["image_size"] += cut_off
        for part, values in (("vision", said["vision"]), ("text", said["text"]), ("", said)):
            for name, value in (held[part] if part else held).items():
                # A ratio is a quotient, which may be rounded; the hidden width is compared with the shapes later.
                if name not in ("vision", "text", "mlp_ratio", "pool_mlp_ratio") and values[name] != value:
                    field = f"{part}.{name}".removeprefix(".")
                    raise ValueError(f"does not fit the weights: it says {field} = {values[name]}, they hold {value}")
    return CLIPWeights(told, state, fingerprint=fingerprint)
