"""An image-text model and the few parts that teach it video.

`VitaCLIP` is the name that `VideoModel` had before other methods came in; it stays. `train` and `evaluate` are packages
that can be called: `vitaclip.train(config)` trains, and `vitaclip.training.trainer` is a module.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vitaclip.version import __version__

if TYPE_CHECKING:
    from vitaclip.data.config import DataConfig, ViewsConfig
    from vitaclip.evaluation.decision import DecisionConfig
    from vitaclip.evaluation.evaluation import evaluate
    from vitaclip.model import VideoModel
    from vitaclip.model import VideoModel as VitaCLIP
    from vitaclip.predictor import Predictor, embed
    from vitaclip.recipes import load_recipe
    from vitaclip.runtime import RuntimeConfig
    from vitaclip.training.trainer import train

_HOMES = {
    "DataConfig": "vitaclip.data.config",
    "DecisionConfig": "vitaclip.evaluation.decision",
    "Predictor": "vitaclip.predictor",
    "RuntimeConfig": "vitaclip.runtime",
    "VideoModel": "vitaclip.model",
    "ViewsConfig": "vitaclip.data.config",
    "VitaCLIP": "vitaclip.model",
    "embed": "vitaclip.predictor",
    "evaluate": "vitaclip.evaluation.evaluation",
    "load_recipe": "vitaclip.recipes",
    "train": "vitaclip.training.trainer",
}
__all__ = [
    "DataConfig",
    "DecisionConfig",
    "Predictor",
    "RuntimeConfig",
    "VideoModel",
    "ViewsConfig",
    "VitaCLIP",
    "__version__",
    "embed",
    "evaluate",
    "load_recipe",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import what is public when it is asked for: torch takes a second that `vitaclip --help` need not."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vitaclip' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), "VideoModel" if name == "VitaCLIP" else name)


def __dir__() -> list[str]:
    return __all__
