"""What a family of weights is: a key that tells it, and a function that reads it, one file each, found by itself; and
the architecture of an image-text model, as far as the shapes of its weights tell it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from torch import Tensor

from vitaclip.backbones.config import CLIPConfig, PixelConfig, TextConfig, VisionConfig
from vitaclip.backbones.families.table import depth
from vitaclip.backbones.pixels import CLIP_PIXELS
from vitaclip.plugins import import_registered
from vitaclip.untrusted import read_json

CONFIG_FILE = "config.json"


@dataclass(frozen=True)
class Trained:
    """What the parts of a model learned, where it comes in one file with its backbone."""

    settings: dict[str, Any]
    """Fields of a `ModelConfig`."""
    adapter_state: dict[str, Tensor]
    """Values of the parts, by name."""
    num_classes: int = 0
    """Classes for each of which something was learned, whose names the file does not hold. 0: none."""


@dataclass(frozen=True)
class CLIPWeights:
    """A CLIP in our terms.

    Attributes:
        config: its architecture.
        state: its weights under our names.
        trained: the parts that came with it, if it is a checkpoint of a trained model.
        fingerprint: of the weights when they were saved, against damage; empty if the format holds none.
        folder: where its tokenizer would lie: that of its file, or of the backbone it was completed with.
    """

    config: CLIPConfig
    state: dict[str, Tensor]
    trained: Trained | None = None
    fingerprint: str = ""
    folder: Path = Path()


ReadFamily = Callable[..., CLIPWeights]
"""From the weights of a file, which may be on the `meta` device, the folder it lies in and the activation that the user
gives for weights that do not tell theirs. Of files that lack their backbone: from the weights and that backbone."""
ReadT = TypeVar("ReadT", bound=ReadFamily)


@dataclass(frozen=True)
class Family:
    """Weights of one origin."""

    name: str
    key: str
    """A key that every such file has and no other family."""
    read: ReadFamily
    first: bool = False
    """Whether it is asked before the others, since its files may have the key of a plain backbone as well."""
    lacks_backbone: bool = False
    """Whether its files lack the backbone they were trained on, or a part of it."""


_FAMILIES: dict[str, Family] = {}


def register_family(
    name: str, key: str, *, first: bool = False, lacks_backbone: bool = False
) -> Callable[[ReadT], ReadT]:
    """A decorator that makes a function known as what reads a family; see `Family`.

    >>> @register_family("my lab", "towers.image.conv")
    ... def read(state, folder, activation):
    ...     return CLIPWeights(read_architecture(state), state)
    """

    def add(read: ReadT) -> ReadT:
        _FAMILIES[key] = Family(name, key, read, first, lacks_backbone)
        return read

    return add


def families() -> tuple[Family, ...]:
    """All families: those of this package, and those registered from outside; see `Family.first`."""
    import_registered("vitaclip.backbones.families")
    return tuple(sorted(_FAMILIES.values(), key=lambda family: not family.first))


def read_config_file(path: Path) -> dict[str, Any]:
    """A config file that weights need."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file, and the weights beside it need it; fetch it from where they are from")
    return read_json(path)


HEAD_WIDTH = 64
"""Of every CLIP that OpenAI published, and of most others. No weight tells it."""
HEAD_WIDTHS = {(1152, 27): 72, (1280, 32): 80, (1408, 40): 88, (1536, 40): 96, (1536, 50): 96, (1664, 48): 104}
"""(width, depth) of SigLIP's So400m, ViT-H, ViT-g, SigLIP 2's g-opt, PE-Core's G and ViT-bigG, which differ."""


_SIZES = {"width": "width", "embed_dim": "width", "hidden_size": "width", "patch_size": "patch_size"}
_SIZES |= {"layers": "depth", "depth": "depth", "num_hidden_layers": "depth"}
"""What foreign configs call sizes that the weights tell as well."""


def told_sizes(config: Mapping[str, Any]) -> dict[str, Any]:
    """The sizes of a tower that its part of a foreign config tells; `read_architecture` compares them."""
    return {_SIZES[name]: size for name, size in config.items() if name in _SIZES}


def read_architecture(
    state: Mapping[str, Tensor],
    vision: Mapping[str, Any] = MappingProxyType({}),
    text: Mapping[str, Any] = MappingProxyType({}),
    pixels: PixelConfig = CLIP_PIXELS,
) -> CLIPConfig:
    """The config of a model whose weights go by our names.

    Args:
        state: the weights; only their names and shapes are read.
        vision: fields of `VisionConfig` that the weights do not tell. What is left out is CLIP's; `heads` follow from
            the known widths.
        text: the same of `TextConfig`.
        pixels: how an image becomes the input.

    Raises:
        ValueError: if a field is a size that the weights tell, and they tell another.
    """
    shapes = read_shapes(state)
    image, words = shapes["vision"], shapes["text"]
    for tower, told in ((image, vision), (words, text)):
        for name, size in told_sizes(told).items():
            if size != tower[name]:
                raise ValueError(
                    f"its config says {name} = {size!r}, its weights {tower[name]}; copy both again from one place"
                )
        tower |= told
        tower["heads"] = told.get("heads") or _heads(tower["width"], tower["depth"])
    return CLIPConfig(
        vision=VisionConfig(**image),
        text=TextConfig(**words),
        embed_dim=shapes["embed_dim"],
        pixels=pixels,
        similarity=shapes["similarity"],
    )


def read_shapes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The fields of a `CLIPConfig` that names and shapes tell, those of a tower in a mapping. An image may be a few
    pixels larger than its patches, which no shape tells."""
    image, words = _read_tower(state, "vision"), _read_tower(state, "text")
    class_token = "vision.cls_embed" in state
    patches = len(state["vision.pos_embed"]) - class_token
    side = round(patches**0.5)
    if side * side != patches:
        raise ValueError(f"{patches} patch positions make no square image; this is not a model for square images")
    patch_size = state["vision.patch_embed.weight"].shape[-1]
    pool = {}
    if "vision.pool.mlp.fc1.bias" in state:
        pool["pool_mlp_ratio"] = len(state["vision.pool.mlp.fc1.bias"]) / image["width"]
    image |= {
        "image_size": side * patch_size,
        "patch_size": patch_size,
        "class_token": class_token,
        "norm_pre": "vision.norm_pre.weight" in state,
        "gated": "vision.blocks.0.mlp.gate.weight" in state,
        "inner_norm": "vision.blocks.0.mlp.inner_norm.weight" in state,
        **pool,
    }
    words |= {"vocab_size": len(state["text.token_embed.weight"]), "context_length": len(state["text.pos_embed"])}
    projection = state.get("vision.proj", state.get("text.proj"))
    embed_dim = image["width"] if projection is None else projection.shape[1]
    similarity = "sigmoid" if "logit_bias" in state else "softmax"
    return {"vision": image, "text": words, "embed_dim": embed_dim, "similarity": similarity}


def _read_tower(state: Mapping[str, Tensor], tower: str) -> dict[str, Any]:
    """What both kinds of tower have."""
    width, projected = state[f"{tower}.pos_embed"].shape[1], f"{tower}.proj" in state
    hidden = state.get(f"{tower}.blocks.0.mlp.fc1.bias")
    return {
        "width": width,
        "depth": depth(state, f"{tower}.blocks."),
        "mlp_ratio": 4.0 if hidden is None else len(hidden) / width,
        "projection": ("bias" if f"{tower}.proj_bias" in state else "plain") if projected else "none",
    }


def _heads(width: int, num_blocks: int) -> int:
    head_width = HEAD_WIDTHS.get((width, num_blocks), HEAD_WIDTH)
    if width % head_width:
        raise ValueError(
            f"the number of attention heads is not in the weights, and a width of {width} is no multiple of"
            f" {head_width}; give the file together with its config (config.json or open_clip_config.json)"
        )
    return width // head_width
