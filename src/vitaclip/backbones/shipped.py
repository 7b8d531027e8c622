"""What the package brings along: the miniature world's backbone and its trained prompts."""

from importlib.resources import files
from pathlib import Path

BACKBONES = {"miniature": "miniature/assets/backbone"}
MODELS = {"miniature": "miniature/assets/prompts"}


def shipped_backbone(name: str) -> Path | None:
    """The folder of a shipped backbone, or None if there is none of that name."""
    return _locate(BACKBONES, name)


def shipped_model(name: str) -> Path | None:
    """The folder of a shipped model, or None if there is none of that name."""
    return _locate(MODELS, name)


def _locate(table: dict[str, str], name: str) -> Path | None:
    return Path(str(files("vitaclip").joinpath(table[name]))) if name in table else None
