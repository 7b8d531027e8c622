"""A strip of frames with the model's attention over them, for pages that show many videos."""

import torch
from torch import Tensor

from vitaclip.data import VideoPath
from vitaclip.explain.canvas import heat_over_frames
from vitaclip.explain.explanation import attend, middle_view
from vitaclip.predictor import Predictor

_FRAMES, _SIDE = 8, 112


def attended_frames(predictor: Predictor, path: VideoPath) -> Tensor:
    """Frames of the middle view of a video with the attention of the last block's cls tokens over them.

    Returns:
        uint8 (T, 3, 112, 112); of a clip of more than 8 frames, 8 spread over it.
    """
    clip = predictor.load(path)[middle_view(predictor.views)]
    heat = attend(predictor, clip).heat
    shown = torch.linspace(0, len(clip) - 1, min(len(clip), _FRAMES)).round().long()
    return heat_over_frames(clip[shown], heat[shown], _SIDE)
