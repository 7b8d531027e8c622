"""The training loop and what it needs. The package can be called: `vitaclip.train(config)`."""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitaclip.model import VideoModel


class _Train(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> "VideoModel":
        """See `vitaclip.train.trainer.train`, which is imported here, because torch comes with it."""
        from vitaclip.train.trainer import train

        return train(*arguments, **options)


sys.modules[__name__].__class__ = _Train
