"""One clip of a video explained: where the model attends, which frames it needs, which names are near.

Attention is that of the tokens that the tower pools in the last block, or of a pool that looks at all frames itself,
computed beside the model's fused forward pass. An occluded frame is replaced by the nearest frame that is not, of two
as near by the earlier one. The clip keeps its length and shows nothing that the video does not, as a grey frame would.

Axes: V views, n clips, T frames, H x W pixels, N patches in rows x columns, L tokens of a frame, C image width,
K candidates.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from vitaclip.backbones.transformer import Attention, rotations
from vitaclip.backbones.vision import Trace, VisionTower
from vitaclip.data.loading.clips import LoadedVideo
from vitaclip.data.reading.path import VideoPath
from vitaclip.data.reading.tar import to_video_path
from vitaclip.evaluation.scoring import normalize_for_views
from vitaclip.model import VideoModel
from vitaclip.names import ClassIndex
from vitaclip.parts.contract import l2_normalize
from vitaclip.parts.registry import context_look
from vitaclip.predictor import Predictor
from vitaclip.strings import did_you_mean

_CLIPS_AT_A_TIME = 8
_TOKENS = {
    "patches": ("patches", "#e0762b"),
    "itself": ("itself", "#9aa4b2"),
    "added tokens": ("added tokens", "#4f8f8b"),
    "cls tokens": ("cls tokens", "#9aa4b2"),
}


def label_and_color(kind: str) -> tuple[str, str]:
    """What figures call a kind of token, and its colour. A kind that is not known goes by its own name, in grey."""
    return _TOKENS.get(kind) or context_look(kind) or (kind, "#5a626c")


@dataclass(frozen=True)
class ClsAttention:
    """The last block's attention from each frame's pooled tokens, or that of a pool, by the kind of token seen."""

    weights: Mapping[str, Tensor]
    """(heads, T, tokens of the kind) float32 on the CPU: `patches` (row by row), the cls token if there is one
    (`itself`, or `cls tokens` where others are pooled), then the kinds of context that the model has. Over all kinds
    they sum to 1. Of a pool: `patches` and `cls tokens`, which sum to 1 over all frames together."""
    of: str = "of the cls token, last\nblock"
    """Whose it is, for pictures."""

    @property
    def heat(self) -> Tensor:
        """(T, rows, columns): attention on each patch, mean of the heads."""
        patches = self.weights["patches"].mean(dim=0)
        side = round(patches.shape[-1] ** 0.5)  # frames are square
        return patches.unflatten(-1, (side, side))

    @property
    def mass(self) -> dict[str, Tensor]:
        """(T,) for each kind: the fraction of the attention that goes there, mean of the heads. They sum to 1."""
        return {kind: weights.sum(dim=-1).mean(dim=0) for kind, weights in self.weights.items()}


@torch.no_grad()
def last_attention(model: VideoModel, clip: Tensor) -> ClsAttention:
    """Run a clip (T, 3, H, W), as `encode_video` takes it, through the image tower, and compute what the last block's
    tokens attend to, each weighed by how much of it the tower's own pooling takes."""
    if lacking := {"square patches", "queries and keys"} - model.backbone.offers:
        raise ValueError(f"attention is not explained for a backbone without {', '.join(sorted(lacking))}")
    tower, traces = model.backbone.vision, model.run_tower(clip[None])
    looked = model.pool.attention(model.pool.read(traces, tower), tower)
    if looked is not None:
        looked = looked[0].float().cpu()
        looked = looked / looked.sum(dim=(1, 2), keepdim=True)  # in bfloat16 they sum to 1 by rounding alone
        cls, patches = looked.split([1, looked.shape[-1] - 1], dim=-1)
        return ClsAttention({"patches": patches, "cls tokens": cls}, f"of the pool {model.pool.name!r},\nin all frames")
    return _block_attention(tower, traces[-1])


def _block_attention(tower: VisionTower, trace: Trace) -> ClsAttention:
    config, block, context = tower.config, trace.block, trace.context
    pooled = tower.pool_weights(trace.output)
    pooled = pooled / pooled.sum(dim=-1, keepdim=True)  # in bfloat16 they sum to 1 by rounding alone
    tokens = block.norm1(trace.input)
    groups = (block.norm1(group).expand(*tokens.shape[:2], -1, -1) for group in context.values())
    seen, rope = torch.cat([tokens, *groups], dim=-2)[0], rotations(config, tokens)
    by_token = attention_weights(block.attention, seen, pooled.shape[-1], rope)
    weights = (by_token * pooled[0, :, None, :, None]).sum(dim=-2).transpose(0, 1).cpu()
    cls = "itself" if config.pool == "class" else "cls tokens"
    added = tokens.shape[-2] - config.num_tokens  # by kinds that put tokens behind the patches
    sizes = {cls: int(config.class_token), "patches": config.num_patches, "added tokens": added}
    sizes |= {kind: group.shape[-2] for kind, group in context.items()}
    parts = dict(zip(sizes, weights.split(list(sizes.values()), dim=-1), strict=True))
    of = "cls token" if config.pool == "class" else "pooled tokens"
    return ClsAttention({kind: parts[kind] for kind in ("patches", *sizes) if sizes[kind]}, f"of the {of}, last\nblock")


def attention_weights(layer: Attention, tokens: Tensor, looking: int, rope: Tensor | None = None) -> Tensor:
    """The weights (..., heads, looking, L) with which the first tokens of L normalised ones (..., L, C) attend to all
    of them, of which those of the frame itself are turned by `rope`.

    The fused kernel does not return them. The softmax is taken in float32 at least.
    """
    query, key = layer.queries_and_keys(tokens, rope)
    exact = torch.promote_types(query.dtype, torch.float32)
    with torch.autocast(tokens.device.type, enabled=False):
        scores = query[..., :looking, :].to(exact) @ key.to(exact).transpose(-2, -1) / query.shape[-1] ** 0.5
    return scores.softmax(dim=-1)


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
    video, numbers, *_ = loaded or predictor.reader.load(path)
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
