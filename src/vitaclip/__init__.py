"""Vita-CLIP: a frozen CLIP and a handful of learned prompts that teach it video."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vitaclip.version import __version__

if TYPE_CHECKING:
    from vitaclip.model import VitaCLIP
    from vitaclip.predictor import Predictor

__all__ = ["Predictor", "VitaCLIP", "__version__"]

_HOMES = {"VitaCLIP": "vitaclip.model", "Predictor": "vitaclip.predictor"}


def __getattr__(name: str) -> Any:
    """Import the public classes when they are asked for: torch takes a second that `vitaclip --help` need not."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vitaclip' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
