"""One clip of a video explained: where the model attends, which frames it needs, which names are near.

An occluded frame is replaced by the nearest frame that is not, of two as near by the earlier one. The clip keeps its
length and shows nothing that the video does not, as a grey frame would.

Axes: V views, n clips, T frames, H x W pixels, K candidates.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from vitaclip.data.loading.clips import LoadedVideo
from vitaclip.data.reading.path import VideoPath
from vitaclip.data.reading.tar import to_video_path
from vitaclip.evaluation.scoring import normalize_for_views
from vitaclip.explain.attention import ClsAttention, last_attention
from vitaclip.model import l2_normalize
from vitaclip.names import ClassIndex
from vitaclip.predictor import Predictor
from vitaclip.strings import did_you_mean


@dataclass(frozen=True)
class Occlusion:
    """The probability of a name with frames of a clip occluded."""

    single: tuple[float, ...]
    """T, with that frame alone occluded; empty for a clip of one frame, whose place no other can take."""
    order: tuple[int, ...]
    """The T frames, the most important first: the one whose occlusion leaves the lowest probability."""
    curve: tuple[float, ...]
    """T, with the first 0, 1, .. T-1 frames of `order` occluded."""


def occlude_frames(clip: Tensor, probability: Callable[[Tensor], Tensor]) -> Occlusion:
    """Occlude each frame of a clip (T, 3, H, W) alone, then more and more of them in the order of their importance.

    `probability` gives (n,) for clips (n, T, 3, H, W).
    """
    frames = range(len(clip))

    def probabilities(choices: Iterable[Collection[int]]) -> tuple[float, ...]:
        return tuple(probability(torch.stack([clip[stand_ins(len(clip), each)] for each in choices])).tolist())

    single = probabilities([t] for t in frames) if len(clip) > 1 else ()
    order = tuple(sorted(frames, key=lambda t: single[t])) if single else (0,)
    return Occlusion(single, order, probabilities(order[:count] for count in frames))


def stand_ins(num_frames: int, occluded: Collection[int]) -> list[int]:
    """The frame that is shown in each position of a clip.

    >>> stand_ins(5, [2])
    [0, 1, 1, 3, 4]
    """
    shown = [t for t in range(num_frames) if t not in occluded]
    return [min(shown, key=lambda other: (abs(other - t), other)) for t in range(num_frames)]


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
        """What occlusion cannot tell of a clip that holds a frame more than once; empty for any other."""
        if len(set(self.frame_numbers)) == len(self.frame_numbers):
            return ""
        return (
            f"the video is too short for a clip of {len(self.frame_numbers)} frames as this model takes them, so some"
            " come more than once; occluding one of those changes little"
        )

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

    >>> from vitaclip import VideoModel
    >>> explain_video(Predictor(VideoModel.from_pretrained("miniature")), "video.mp4").name
    'red heart moving left'

    Args:
        predictor: with its candidates set, at least two.
        path: a video file or a folder of numbered images.
        name: the candidate to explain; the predicted one if empty.
        top_k: the number of candidates and of neighbours that are returned.
        loaded: what `predictor.reader.load` gave for the video, maybe in another process; read here if it is None.

    Raises:
        ValueError: for fewer than two candidates, a name that is not among them, a backbone whose attention cannot be
            shown, or a file that is not a readable video (then a `VideoError`).
    """
    names, views, model = predictor.class_names, predictor.views, predictor.model
    check_candidates(names, name, top_k)
    path = to_video_path(path)
    video, numbers, _ = loaded or predictor.reader.load(path)
    clip_number = views.temporal // 2
    view = clip_number * views.spatial + views.spatial // 2
    clip, features = video[view], predictor.encode_views(video)
    with predictor.encoder.autocast():
        attention = last_attention(model, normalize_for_views(clip.to(model.device), views.normalization))
    fused, alone = (predictor.probabilities(each[None])[0] for each in (features, features[view : view + 1]))
    asked = ClassIndex(names).find(name) if name else None
    target = int(fused.argmax()) if asked is None else asked

    def probability(clips: Tensor) -> Tensor:
        encoded = torch.cat([predictor.encode_views(part) for part in clips.split(_CLIPS_AT_A_TIME)])
        return predictor.probabilities(encoded[:, None])[:, target]

    text = predictor.texts.features
    cosines = model.head.similarity(features[view].to(text), text).cpu()
    best = fused.topk(min(top_k, len(names))).indices.tolist()
    return Explanation(
        path=path,
        name=names[target],
        clip=(clip_number, views.temporal),
        frames=clip,
        frame_numbers=tuple(numbers[clip_number].tolist()),
        attention=attention,
        occlusion=occlude_frames(clip, probability),
        candidates=tuple(
            Candidate(names[k], float(fused[k]), float(alone[k]), float(cosines[k]))
            for k in (best if target in best else [*best, target])
        ),
        neighbours=_nearest_names(predictor, target, top_k),
    )


def _nearest_names(predictor: Predictor, target: int, count: int) -> tuple[Neighbour, ...]:
    text = l2_normalize(predictor.texts.features.flatten(start_dim=1))
    cosines = (text @ text[target]).cpu()
    nearest = [k for k in cosines.argsort(descending=True).tolist() if k != target][:count]
    return tuple(Neighbour(predictor.class_names[k], float(cosines[k])) for k in nearest)


def check_candidates(names: Sequence[str], name: str, top_k: int) -> None:
    """Raise ValueError if there are too few candidates, or if the name to explain is not among them."""
    if len(names) < 2:
        raise ValueError(f"the only candidate is {names[0]!r}, which is always 100 % probable; give two names or more")
    if name and ClassIndex(names).find(name) is None:
        hint = did_you_mean(name, names) or "; choose one of them"
        raise ValueError(f"the name to explain, {name!r}, is not among the {len(names)} candidates{hint}")
    if top_k < 1:
        raise ValueError(f"top_k = {top_k}: must be at least 1")
