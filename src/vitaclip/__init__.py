"""An image-text model and the few parts that teach it video.

`VitaCLIP` is the name that `VideoModel` had before other methods came in; it stays.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vitaclip.version import __version__

if TYPE_CHECKING:
    from vitaclip.model import VideoModel
    from vitaclip.model import VideoModel as VitaCLIP
    from vitaclip.predictor import Predictor

__all__ = ["Predictor", "VideoModel", "VitaCLIP", "__version__"]

_HOMES = {
    "VideoModel": ("vitaclip.model", "VideoModel"),
    "VitaCLIP": ("vitaclip.model", "VideoModel"),
    "Predictor": ("vitaclip.predictor", "Predictor"),
}


def __getattr__(name: str) -> Any:
    """Import the public classes when they are asked for: torch takes a second that `vitaclip --help` need not."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vitaclip' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)
