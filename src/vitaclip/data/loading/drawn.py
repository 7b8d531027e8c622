"""Training clips that are drawn once, for features that are computed once.

Axes: V draws of a video, T frames, S x S pixels.
"""

import zlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from vitaclip.config import PixelAspect, VideoLimits
from vitaclip.data.lists.video_list import VideoSample
from vitaclip.data.loading.dataset import EvalDataset, draw_clip
from vitaclip.data.loading.samples import OnError
from vitaclip.data.reading.container import DEFAULT_LIMITS
from vitaclip.data.reading.frame_folder import open_source
from vitaclip.data.reading.index_cache import IndexCache
from vitaclip.data.reading.member import VideoPath
from vitaclip.data.rng import Stream, generator
from vitaclip.data.sampling import FrameSampling
from vitaclip.data.transforms.train import TrainTransform


class FixedAugmentationDataset(EvalDataset):
    """The same V training clips of every video, every time: they stand where a test has its views.

    They depend on the file's name and their number, not on a seed or on the list, so that all runs can share them.
    """

    def __init__(
        self,
        rows: Sequence[VideoSample],
        sampling: FrameSampling,
        transform: TrainTransform,
        draws: int,
        on_error: OnError = "raise",
        index_cache: IndexCache | None = None,
        limits: VideoLimits = DEFAULT_LIMITS,
        pixel_aspect: PixelAspect = "display",
    ) -> None:
        """Args:
        rows, on_error, index_cache, limits, pixel_aspect: see `EvalDataset`.
        sampling: which frames make a clip.
        transform: what happens to a clip.
        draws: V, clips of each video.
        """
        reading = index_cache, limits, pixel_aspect
        super().__init__(rows, sampling, draws, 1, transform.size, on_error, 1.0, *reading)
        self.transform = transform

    def views(self, path: VideoPath) -> Tensor:
        name = zlib.crc32(path.parts[-1].encode(errors="surrogateescape"))
        with open_source(path, *self._reading) as video:
            return torch.stack(
                [
                    draw_clip(video, self.sampling, self.transform, generator(0, Stream.DRAWN, name, draw))
                    for draw in range(self.temporal_views)
                ]
            )

    @property
    def view_config(self) -> dict[str, Any]:
        return super().view_config | {"drawn": asdict(self.transform.augment)}
