"""Running a protocol: each model sees each video once, then every part is scored against its own candidates."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vitaclip.data import VideoList, VideoSample
from vitaclip.data.config import DataConfig, ViewsConfig
from vitaclip.distributed import SINGLE_PROCESS, DistEnv
from vitaclip.evaluate.class_texts import ClassPrompts, ClassTexts
from vitaclip.evaluate.evaluation import Evaluated, Evaluation
from vitaclip.evaluate.frames_curve import FramesCurve, frames_curve, other_frames
from vitaclip.evaluate.hashes import sha256_of_file, text_hashes
from vitaclip.evaluate.protocol import Protocol, fill
from vitaclip.evaluate.protocol_lists import ProtocolLists, check_training
from vitaclip.evaluate.scoring import VideoFeatures
from vitaclip.interpolation import InterpolateConfig
from vitaclip.model import VideoModel
from vitaclip.runtime import RuntimeConfig


@dataclass(frozen=True)
class PartRecord:
    """One accuracy of a protocol, with all that says what was scored; ready for JSON but for `evaluated`."""

    part: str
    values: dict[str, int]
    """What the model goes by, such as `{"seed": 1}`."""
    model: str
    videos_listed: int
    videos_scored: int
    skipped: tuple[str, ...]
    """The others, with the reason."""
    top1: float
    top5: float
    mean_class_accuracy: float
    class_accuracy: dict[str, float]
    sha256: dict[str, Any]
    """Of each list's bytes; of the candidates' names, of their texts and of the templates, a line each."""
    training: str
    """Whether a tested video is in a list that was trained on; empty for a list by itself, of which nobody knows."""
    never_trained: str
    """How many of the candidates the model was not trained on, such as `3 of 10`."""
    device: str
    precision: str
    """See `vitaclip.runtime.Computed`."""
    frames_curve: FramesCurve | None
    """Top-1 over the number of frames, if asked for."""
    evaluated: Evaluated = field(repr=False)
    rows: tuple[VideoSample, ...] = field(repr=False)
    """The videos listed; `evaluated.scores.rows` counts through them."""
    texts: ClassTexts = field(repr=False)
    """The candidates; rows and columns of the confusion matrix are in their order."""
    note: str = ""
    """What was noticed when the list was read."""

    @property
    def title(self) -> str:
        """The part, and what its model goes by."""
        return ", ".join([self.part, *(f"{word} {value}" for word, value in self.values.items())])

    @property
    def file_name(self) -> str:
        """The same, to name files after."""
        return "_".join([self.part, *(f"{word}{value}" for word, value in self.values.items())])

    def to_dict(self) -> dict[str, Any]:
        """Everything but scores and rows, with all figures of the evaluation."""
        kept = asdict(replace(self, evaluated=None, rows=(), texts=None))  # type: ignore[arg-type]
        del kept["evaluated"], kept["rows"], kept["texts"]
        return (
            self.evaluated.result.to_dict()
            | kept
            | {
                "text": self.texts.note,
                "templates": self.texts.templates,
                "class_names": self.texts.names,
                "class_texts": self.texts.texts,
            }
        )


@dataclass(frozen=True)
class _Seen:
    """Videos that a model has embedded."""

    evaluation: Evaluation
    rows: Mapping[str, VideoSample]
    """By their place."""
    videos: VideoFeatures
    """`videos.rows` counts through `rows`; labels are those of the parts."""


@dataclass(frozen=True)
class ProtocolResult:
    """What a protocol comes to, or a list, which is one of a single part."""

    protocol: str
    """Its name; empty for a list."""
    about: str
    """Of a list, where it is."""
    variant: str
    """Empty, or what makes it another measurement, such as `as-published`."""
    views: ViewsConfig
    interpolation: InterpolateConfig
    summary: dict[str, float]
    """Top-1 in [0, 1]: empty, or `mean` and `std` (population), or `base`, `novel` and `harmonic_mean`."""
    parts: tuple[PartRecord, ...]
    frames_summary: dict[int, dict[str, float]]
    """The summary by the number of frames, if asked for."""

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON; of a list, the figures of its only part at the top."""
        values = asdict(replace(self, parts=()))
        if not self.protocol:
            settings = {"videos": self.about, "views": values["views"], "interpolation": values["interpolation"]}
            return self.parts[0].to_dict() | settings
        return values | {"parts": [part.to_dict() for part in self.parts]}


def run_list(
    name: str,
    source: str,
    videos: VideoList,
    evaluations: Sequence[Evaluation],
    start: Callable[[str, int], Callable[[int], None]] = lambda _what, _total: lambda _done: None,
) -> ProtocolResult:
    """Run the evaluation of a list.

    Args:
        name: what the model is called.
        source: the list's file or folder.
        videos: what was read there.
        evaluations: the evaluation itself, then others with other numbers of frames.
        start: see `run_protocol`.
    """
    by_frames = {}
    for each in evaluations:
        what = "evaluating" + (f", T = {each.frames}" if len(evaluations) > 1 else "")
        by_frames[each.frames] = each.run(start(what, each.num_own_videos))
    first, file = evaluations[0], Path(source)
    sums = {file.name: sha256_of_file(file)} if file.is_file() else {}
    part = _record(file.name, {}, name, videos.rows, by_frames, first.texts[0], sums, "", first.model, videos.note)
    return ProtocolResult("", source, "", first.views, first.interpolation, {}, (part,), {})


def run_protocol(
    lists: ProtocolLists,
    load_model: Callable[[Mapping[str, int]], tuple[str, VideoModel]],
    views: ViewsConfig,
    runtime: RuntimeConfig,
    data: DataConfig,
    prompts: ClassPrompts,
    start: Callable[[str, int], Callable[[int], None]] = lambda _what, _total: lambda _done: None,
    frames: Sequence[int] = (),
    interpolation: InterpolateConfig | None = None,
    dist: DistEnv = SINGLE_PROCESS,
) -> ProtocolResult:
    """Run a protocol whose lists have been read.

    Args:
        lists: from `read_protocol_lists`.
        load_model: gives the model for some of the protocol's values with what it is called.
        views: how a video is looked at, unless the protocol says.
        runtime: precision.
        data: worker processes and batch size; `on_error` is for files that are there and cannot be read.
        prompts: templates go before those of the protocol.
        start: hears what begins and how many videos it has; returns what is to be called with the videos just done.
        frames: numbers of frames a clip to evaluate with besides; each part then has its curve over them.
        interpolation: between frozen CLIP and each model.
        dist: those that share the videos; each gets the result of all.

    Raises:
        ValueError: see `check_training`; a text does not fit (no video is opened before); or no video of a part could
            be read.
    """
    protocol = lists.protocol
    views = protocol.views or views
    prompts = replace(prompts, templates=prompts.templates or protocol.templates)
    interpolation = interpolation or InterpolateConfig()
    parts: list[PartRecord] = []
    seen: list[_Seen] = []

    def load(values: Mapping[str, int]) -> tuple[str, VideoModel, str]:
        name, model = load_model(values)
        return name, model, check_training(lists, values, name)

    for values in protocol.values:
        name, model, training = dist.run_on_all_ranks(partial(load, values))
        rows = {place: row for place, row in lists.test_rows(values).items() if place not in lists.missing}
        if not seen or seen[0].evaluation.model is not model or seen[0].rows != rows:
            names, listed = protocol.all_classes().names, list(rows.values())
            evaluation = Evaluation(model, listed, names, views, runtime, data, prompts, dist, interpolation)
            others = other_frames(evaluation, frames)
            # First: a text that does not fit costs no video.
            texts = dist.run_on_all_ranks(partial(_encode_texts, protocol, evaluation))
            seen = []
            for each in (evaluation, *others):
                what = (_describe(values) or protocol.name) + (f", T = {each.frames}" if frames else "")
                seen.append(_Seen(each, rows, each.encode(start(what, each.num_own_videos))))
        for part in protocol.parts:
            parts.append(_score_part(lists, part, values, seen, texts[part], name, training))
    return ProtocolResult(
        protocol=protocol.name,
        about=protocol.about,
        variant=protocol.variant,
        views=views,
        interpolation=interpolation,
        summary=summarize_parts(protocol, parts),
        parts=tuple(parts),
        frames_summary={number: summarize_parts(protocol, parts, number) for number in _common_frames(parts)},
    )


def _common_frames(parts: Sequence[PartRecord]) -> list[int]:
    """Numbers of frames that every part has been evaluated with, if there are curves: those asked for, and the own one
    of the models where they agree in it."""
    curves = [set(part.frames_curve.top1) for part in parts if part.frames_curve]
    return sorted(set.intersection(*curves)) if curves else []


def summarize_parts(protocol: Protocol, parts: Sequence[PartRecord], frames: int = 0) -> dict[str, float]:
    """The figures that a protocol is quoted by; with `frames`, at this number of frames of the parts' curves."""
    top1 = [part.frames_curve.top1[frames] if frames and part.frames_curve else part.top1 for part in parts]
    if protocol.summary == "mean":
        return {"mean": statistics.fmean(top1), "std": statistics.pstdev(top1)}
    if protocol.summary == "harmonic_mean":
        pairs = list(zip(parts, top1, strict=True))
        means = {name: statistics.fmean(share for part, share in pairs if part.part == name) for name in protocol.parts}
        first, second = means.values()
        return means | {"harmonic_mean": 2 * first * second / (first + second) if first + second else 0.0}
    return {}


def _encode_texts(protocol: Protocol, evaluation: Evaluation) -> dict[str, tuple[ClassTexts, ...]]:
    """The candidates of every part, for each model."""
    candidates = {part: protocol.candidates(part) for part in protocol.parts}
    return {part: evaluation.encode_texts(each.names, each.prompts) for part, each in candidates.items()}


def _score_part(
    lists: ProtocolLists,
    part: str,
    values: Mapping[str, int],
    seen: Sequence[_Seen],
    texts: Sequence[ClassTexts],
    model: str,
    training: str,
) -> PartRecord:
    """The record of a part; `seen` begins with the evaluation itself, others are with other numbers of frames."""
    protocol = lists.protocol
    candidates = protocol.candidates(part)
    rows = lists.rows(part, values)
    lists_sums = {name: lists.files[name].sha256 for name in _filled(protocol.parts[part].lists, values)}
    all_names, places = protocol.all_classes().names, {name: place for place, name in enumerate(candidates.names)}
    by_frames: dict[int, Evaluated] = {}
    for each in seen:
        selected = _relabel(_select(rows, each, lists), all_names, places)
        by_frames[each.evaluation.frames] = each.evaluation.score(selected, texts)
    listed = [replace(row, labels=(places[all_names[row.label]],)) for row in rows.values()]
    return _record(part, values, model, listed, by_frames, texts[0], lists_sums, training, seen[0].evaluation.model)


def _record(
    part: str,
    values: Mapping[str, int],
    name: str,
    rows: Sequence[VideoSample],
    by_frames: Mapping[int, Evaluated],
    texts: ClassTexts,
    lists_sums: Mapping[str, str],
    training: str,
    model: VideoModel,
    note: str = "",
) -> PartRecord:
    """The record of a part; `by_frames` begins with the evaluation itself, others are with other numbers of frames."""
    frames = next(iter(by_frames))
    result = by_frames[frames].result
    unknown = sum(model.head.own_number(each) is None for each in texts.names)
    return PartRecord(
        part=part,
        values=dict(values),
        model=name,
        videos_listed=len(rows),
        videos_scored=result.num_videos,
        skipped=result.skipped,
        top1=result.top1,
        top5=result.top5,
        mean_class_accuracy=result.mean_class_accuracy,
        class_accuracy=result.class_accuracy,
        sha256={"lists": dict(lists_sums), **text_hashes(texts)},
        training=training,
        never_trained=f"{unknown} of {len(texts.names)}",
        device=result.device,
        precision=result.precision,
        frames_curve=frames_curve(by_frames, frames) if len(by_frames) > 1 else None,
        evaluated=by_frames[frames],
        rows=tuple(rows),
        texts=texts,
        note=note,
    )


def _select(rows: Mapping[str, VideoSample], seen: _Seen, lists: ProtocolLists) -> VideoFeatures:
    """The embedded videos among a part's rows, numbered and labelled by these, and why the others are not there."""
    videos = seen.videos
    numbers = {place: number for number, place in enumerate(seen.rows)}
    where = {number: n for n, number in enumerate(videos.rows.tolist())}
    kept: list[tuple[int, int, int]] = []
    skipped: dict[int, str] = {}
    for number, (place, row) in enumerate(rows.items()):
        if place in lists.missing:
            skipped[number] = lists.missing[place]
        elif numbers[place] in where:
            kept.append((number, where[numbers[place]], row.label))
        else:
            skipped[number] = videos.skipped[numbers[place]]
    own_numbers, chosen, labels = torch.tensor(kept, dtype=torch.int64).view(-1, 3).unbind(dim=1)
    features = tuple(each[chosen] for each in videos.features)
    return VideoFeatures(features, labels, own_numbers, skipped)


def _relabel(videos: VideoFeatures, names: Sequence[str], places: Mapping[str, int]) -> VideoFeatures:
    """Labels that count through the candidates, joined by name."""
    labels = [places[names[label]] for label in videos.labels.tolist()]
    return replace(videos, labels=torch.tensor(labels, dtype=torch.int64))


def _filled(names: Sequence[str], values: Mapping[str, int]) -> list[str]:
    return [fill(name, values) for name in names]


def _describe(values: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
