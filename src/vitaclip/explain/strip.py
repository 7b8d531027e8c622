"""Why a video was given a name, in short, for pages that show many videos.

Axes: T frames of the clip.
"""

import torch

from vitaclip.data import VideoPath
from vitaclip.evaluate.report.why import Kind, Why
from vitaclip.explain.canvas import heat_over_frames
from vitaclip.explain.explanation import (
    attend,
    clip_probability,
    frame_numbers,
    middle_view,
    near_names,
    warn_of_repeats,
)
from vitaclip.explain.hiding import hide_each
from vitaclip.explain.picture import KINDS
from vitaclip.predictor import Predictor

_FRAMES, _SIDE, _NEIGHBOURS = 8, 112, 3


@torch.no_grad()
def explain_briefly(predictor: Predictor, path: VideoPath, name: str) -> Why:
    """Explain a candidate on the middle view of a video; of a clip of more than 8 frames, 8 spread over it are told.

    Args:
        predictor: with its candidates set.
        path: a video file or a folder of numbered pictures.
        name: one of the candidates.
    """
    clip = predictor.load(path)[middle_view(predictor.views)]
    shown = torch.linspace(0, len(clip) - 1, min(len(clip), _FRAMES)).round().long()
    attention, numbers = attend(predictor, clip), frame_numbers(predictor, path)
    target = predictor.class_names.index(name)
    probability = clip_probability(predictor, target)
    hidden = hide_each(clip, probability, shown.tolist()) if len(clip) > 1 else ()
    return Why(
        attended=heat_over_frames(clip[shown], attention.heat[shown], _SIDE),
        frame_numbers=tuple(numbers[t] for t in shown.tolist()),
        kinds=tuple(Kind(*KINDS[kind], tuple(share[shown].tolist())) for kind, share in attention.shares.items()),
        whole=float(probability(clip[None])),
        hidden=hidden,
        warning=warn_of_repeats(numbers),
        neighbours=tuple((near.name, near.cosine) for near in near_names(predictor, target, _NEIGHBOURS)),
    )
