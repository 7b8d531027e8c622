"""What a family of weights is: a key that tells it, and a function that reads it. One file each, found by itself."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from vitaclip.backbones.config import CLIPConfig
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
