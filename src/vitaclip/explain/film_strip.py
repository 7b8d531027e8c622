"""Film strips of attention: heat over the frames of a clip, and the section of a report that explains a video.

Axes: T frames, H x W pixels of a frame, S x S pixels as drawn.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from vitaclip.data import VideoPath
from vitaclip.evaluate.report import ExplanationSection, PromptKind
from vitaclip.explain.attention import label_and_color
from vitaclip.explain.explanation import ExplainedClip, nearest_names, repeat_warning
from vitaclip.explain.occlusion import occlude_each
from vitaclip.predictor import Predictor

COLORMAP = "inferno"
"""Its brightness rises all the way, so that it can be read without colours."""
_LUMA = (0.299, 0.587, 0.114)
_FRAMES, _SIDE, _NEIGHBOURS = 8, 112, 3


def overlay_heat(frames: Tensor, heat: Tensor, side: int = 224) -> Tensor:
    """Grey frames coloured by heat; the brightest colour is the highest value of the whole clip.

    Args:
        frames: uint8 (T, 3, H, W).
        heat: (T, rows, columns), at least 0.
        side: S.

    Returns:
        uint8 (T, 3, S, S).
    """
    from matplotlib import colormaps

    size = (side, side)
    pixels = F.interpolate(frames.float() / 255, size, mode="bicubic", antialias=True).clamp(0, 1)
    strength = F.interpolate((heat.float() / heat.max())[:, None], size, mode="bilinear")[:, 0]
    colours = torch.from_numpy(colormaps[COLORMAP](strength.numpy())[..., :3]).float().permute(0, 3, 1, 2)
    grey = torch.einsum("tchw,c->thw", pixels, torch.tensor(_LUMA))[:, None]
    return (255 * (0.45 * grey + 0.75 * colours)).clamp(0, 255).to(torch.uint8)


@torch.no_grad()
def explanation_section(predictor: Predictor, path: VideoPath, name: str) -> ExplanationSection:
    """Explain a candidate on the middle view of a video, for a report. Of a longer clip, 8 frames spread over it are
    shown.

    Args:
        predictor: with its candidates set.
        path: a video file or a folder of numbered pictures.
        name: one of the candidates.
    """
    explained = ExplainedClip(predictor, path)
    clip, attention, numbers = explained.clip, explained.attention(), explained.frame_numbers
    shown = torch.linspace(0, len(clip) - 1, min(len(clip), _FRAMES)).round().long()
    target = predictor.class_names.index(name)
    probability = partial(explained.probability, target)
    return ExplanationSection(
        overlays=overlay_heat(clip[shown], attention.heat[shown], _SIDE),
        frame_numbers=tuple(numbers[t] for t in shown.tolist()),
        kinds=tuple(PromptKind(*label_and_color(kind), tuple(m[shown].tolist())) for kind, m in attention.mass.items()),
        probability=float(probability(clip[None])),
        occluded=occlude_each(clip, probability, shown.tolist()) if len(clip) > 1 else (),
        warning=repeat_warning(numbers),
        neighbours=tuple((near.name, near.cosine) for near in nearest_names(predictor, target, _NEIGHBOURS)),
    )
