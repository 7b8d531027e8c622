"""One clip of a video explained: where the model attends, which frames it needs, which names are near.

Axes: V views, T frames, H x W pixels, K candidates, D embedding.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vitaclip.data import LoadedVideo, VideoPath, to_video_path
from vitaclip.evaluate.scoring import take_pixels
from vitaclip.explain.attention import ClsAttention, last_attention
from vitaclip.explain.occlusion import Occlusion, occlude_frames
from vitaclip.model import l2_normalize
from vitaclip.predictor import Predictor
from vitaclip.strings import did_you_mean

_CLIPS_AT_A_TIME = 8


@dataclass(frozen=True)
class Candidate:
    """A candidate name with its probabilities."""

    name: str
    probability: float
    """From all views, as `predict` gives it."""
    clip_probability: float
    """From the explained clip alone."""
    cosine: float
    """Between the clip's feature and the name's text."""


@dataclass(frozen=True)
class Neighbour:
    """A name whose text is near the text of the explained one."""

    name: str
    cosine: float
    """Between the two texts."""


@dataclass(frozen=True)
class Explanation:
    """Why a video was given its name, shown on one of the views that `predict` looks at: the middle crop of the middle
    clip."""

    path: VideoPath
    name: str
    """The name explained: the predicted one, unless another was asked for."""
    clip: tuple[int, int]
    """Which clip of how many, from 0."""
    frames: Tensor
    """uint8 (T, 3, H, W), the model's input."""
    frame_numbers: tuple[int, ...]
    """T, their positions in the video, from 0. A video shorter than the clip repeats some."""
    attention: ClsAttention
    """Of the last block's cls tokens."""
    occlusion: Occlusion
    """The probability of the name from this clip, as frames are occluded."""
    candidates: tuple[Candidate, ...]
    """The most probable names, best first."""
    neighbours: tuple[Neighbour, ...]
    """Other candidates, nearest text first."""

    @property
    def warning(self) -> str:
        """What occlusion cannot tell of this video; mostly empty."""
        return repeat_warning(self.frame_numbers)

    def to_dict(self) -> dict[str, Any]:
        """All figures, ready for JSON; attention as the mean of the heads."""
        return {
            "path": str(self.path),
            "name": self.name,
            "clip": {"number": self.clip[0], "of": self.clip[1], "frames": list(self.frame_numbers)},
            "candidates": [asdict(each) for each in self.candidates],
            "neighbours": [asdict(each) for each in self.neighbours],
            "occlusion": asdict(self.occlusion),
            "attention": {
                "mass": {kind: mass.tolist() for kind, mass in self.attention.mass.items()},
                "patches": self.attention.heat.tolist(),
            },
        }


class ExplainedClip:
    """The one of a video's V views that is explained: the middle crop of the middle clip."""

    def __init__(self, predictor: Predictor, path: VideoPath, loaded: LoadedVideo | None = None) -> None:
        """Read the video, unless `predictor.reader.load` has done so in another process and gave `loaded`."""
        views, (self.video, numbers) = predictor.views, loaded or predictor.reader.load(path)
        self.predictor, self.view = predictor, views.temporal // 2 * views.spatial + views.spatial // 2
        self.clip = self.video[self.view]
        self.frame_numbers: tuple[int, ...] = tuple(numbers[len(numbers) // 2].tolist())

    def attention(self) -> ClsAttention:
        """What the cls tokens of the clip attend to."""
        pixels = take_pixels(self.clip.to(self.predictor.model.device), self.predictor.views.normalization)
        with self.predictor.autocast():
            return last_attention(self.predictor.model, pixels)

    def probability(self, target: int, clips: Tensor) -> Tensor:
        """The probability (n,) of a candidate, from each of some clips (n, T, 3, H, W) alone."""
        features = torch.cat([self.predictor.encode(part) for part in clips.split(_CLIPS_AT_A_TIME)])
        return self.predictor.probabilities(features[:, None])[:, target]


@torch.no_grad()
def explain_video(
    predictor: Predictor,
    path: str | VideoPath,
    *,
    name: str = "",
    top_k: int = 5,
    loaded: LoadedVideo | None = None,
) -> Explanation:
    """Explain what `predictor.predict` says of a video.

    Args:
        predictor: with its candidates set, at least two.
        path: a video file or a folder of numbered images.
        name: the candidate to explain; the predicted one if empty.
        top_k: the number of candidates and of neighbours that are returned.
        loaded: what `predictor.reader.load` gave for the video; the video is read here if it is None.

    Raises:
        ValueError: for fewer than two candidates, a name that is not among them, clips of one frame, or a file that
            is not a readable video (then a `VideoError`).
    """
    names = predictor.class_names
    _check(names, name, top_k)
    path = to_video_path(path)
    explained = ExplainedClip(predictor, path, loaded)
    features = predictor.encode(explained.video)
    feature = features[explained.view]
    fused = predictor.probabilities(features[None])[0]
    target = names.index(name) if name else int(fused.argmax())

    text, head = predictor.texts.features, predictor.model.head
    alone, cosines = predictor.probabilities(feature[None, None])[0], head.similarity(feature.to(text), text).cpu()
    best = fused.topk(min(top_k, len(names))).indices.tolist()
    return Explanation(
        path=path,
        name=names[target],
        clip=(explained.view // predictor.views.spatial, predictor.views.temporal),
        frames=explained.clip,
        frame_numbers=explained.frame_numbers,
        attention=explained.attention(),
        occlusion=occlude_frames(explained.clip, partial(explained.probability, target)),
        candidates=tuple(
            Candidate(names[k], float(fused[k]), float(alone[k]), float(cosines[k]))
            for k in (best if target in best else [*best, target])
        ),
        neighbours=nearest_names(predictor, target, top_k),
    )


def nearest_names(predictor: Predictor, target: int, count: int) -> tuple[Neighbour, ...]:
    """The candidates whose texts are nearest to the text of `target`, nearest first."""
    text = l2_normalize(predictor.texts.features.flatten(start_dim=1))
    cosines = (text @ text[target]).cpu()
    nearest = [k for k in cosines.argsort(descending=True).tolist() if k != target][:count]
    return tuple(Neighbour(predictor.class_names[k], float(cosines[k])) for k in nearest)


def repeat_warning(numbers: Sequence[int]) -> str:
    """A warning if a clip holds a frame more than once, because occluding one of these leaves its copy."""
    if len(set(numbers)) == len(numbers):
        return ""
    return (
        f"the video is too short for a clip of {len(numbers)} frames as this model takes them, so some come more than"
        " once; occluding one of those changes little"
    )


def _check(names: Sequence[str], name: str, top_k: int) -> None:
    if len(names) < 2:
        raise ValueError(f"the only candidate is {names[0]!r}, which is always 100 % probable; give two names or more")
    if name and name not in names:
        hint = did_you_mean(name, names) or "; choose one of them"
        raise ValueError(f"the name to explain, {name!r}, is not among the {len(names)} candidates{hint}")
    if top_k < 1:
        raise ValueError(f"top_k = {top_k}: must be at least 1")
