"""Running a protocol: each model sees each video once, then every part is scored against its own candidates."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vitaclip.catalog import ClassList
from vitaclip.data import VideoList, VideoSample
from vitaclip.data.config import DataConfig, ViewsConfig
from vitaclip.distributed import SINGLE_PROCESS, DistEnv
from vitaclip.evaluate.class_texts import ClassPrompts, ClassTexts
from vitaclip.evaluate.evaluation import Candidates, Evaluated, Evaluator
from vitaclip.evaluate.hashes import sha256_of_file, text_hashes
from vitaclip.evaluate.metrics import EvaluationResult
from vitaclip.evaluate.protocol import Protocol, fill
from vitaclip.evaluate.protocol_lists import ProtocolLists, check_training
from vitaclip.evaluate.scoring import VideoFeatures
from vitaclip.interpolation import InterpolateConfig
from vitaclip.model import VideoModel
from vitaclip.runtime import RuntimeConfig

Start = Callable[[str, int], Callable[[int], None]]
"""Called with what begins and the number of its videos; returns a progress callback."""


@dataclass(frozen=True)
class PartResult:
    """One accuracy of a protocol, with all that says what was scored."""

    part: str
    values: dict[str, int]
    """What the model goes by, such as `{"seed": 1}`."""
    model: str
    rows: tuple[VideoSample, ...]
    """The videos listed; `evaluated.scores.rows` are indices into them."""
    texts: ClassTexts
    """The candidates; rows and columns of the confusion matrix are in their order."""
    sha256: dict[str, Any]
    """Of each list's bytes; of the candidates' names, of their texts and of the templates, a line each."""
    training: str
    """Whether a tested video is in a list that was trained on; empty for a list by itself, of which nobody knows."""
    never_trained: str
    """How many of the candidates the model was not trained on, such as `3 of 10`."""
    evaluated: Evaluated
    note: str = ""
    """What was noticed when the list was read."""

    @property
    def result(self) -> EvaluationResult:
        """The accuracies."""
        return self.evaluated.result

    @property
    def title(self) -> str:
        """The part, and what its model goes by."""
        return ", ".join([self.part, *(f"{word} {value}" for word, value in self.values.items())])

    @property
    def file_name(self) -> str:
        """The same, to name files after."""
        return "_".join([self.part, *(f"{word}{value}" for word, value in self.values.items())])

    def to_dict(self) -> dict[str, Any]:
        """Everything but scores and videos, ready for JSON."""
        names = ("part", "values", "model", "sha256", "training", "never_trained", "note")
        said = {name: getattr(self, name) for name in names}
        counts = {"videos_listed": len(self.rows), "videos_scored": self.result.num_videos}
        texts = {
            "text": self.texts.note,
            "templates": self.texts.templates,
            "class_names": self.texts.names,
            "class_texts": self.texts.texts,
        }
        return said | counts | self.result.to_dict() | texts


@dataclass(frozen=True)
class ProtocolResult:
    """What a protocol comes to, or a list, which is one of a single part."""

    protocol: str
    """Its name; empty for a list."""
    about: str
    """Of a list, its file or folder."""
    variant: str
    """Empty, or what makes it another measurement, such as `as-published`."""
    views: ViewsConfig
    interpolation: InterpolateConfig
    summary: dict[str, float]
    """Top-1 in [0, 1]: empty, or `mean` and `std` (population), or `base`, `novel` and `harmonic_mean`."""
    parts: tuple[PartResult, ...]

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
    evaluator: Evaluator,
    texts: Candidates,
    views: ViewsConfig,
    interpolation: InterpolateConfig,
    start: Start = lambda _what, _total: lambda _done: None,
) -> ProtocolResult:
    """Evaluate on a list.

    Args:
        name: what the model is called.
        source: the list's file or folder.
        videos: the content of the list.
        evaluator: holds the model.
        texts: the candidates, from `evaluator.encode_texts`.
        views: how a video is looked at.
        interpolation: as the evaluator has it.
        start: see `run_protocol`.
    """
    done = start("evaluating", evaluator.num_own_videos(len(videos.samples)))
    evaluated = evaluator.score(evaluator.encode(videos.samples, views, [texts], done), texts)
    file = Path(source)
    sums = {file.name: sha256_of_file(file)} if file.is_file() else {}
    part = _part_result(file.name, {}, name, videos.samples, evaluated, texts, sums, "", evaluator, videos.note)
    return ProtocolResult("", source, "", views, interpolation, {}, (part,))


def run_protocol(
    lists: ProtocolLists,
    load_model: Callable[[Mapping[str, int]], tuple[str, VideoModel]],
    views: ViewsConfig,
    runtime: RuntimeConfig,
    data: DataConfig,
    prompts: ClassPrompts,
    start: Start = lambda _what, _total: lambda _done: None,
    interpolation: InterpolateConfig | None = None,
    dist: DistEnv = SINGLE_PROCESS,
) -> ProtocolResult:
    """Run a protocol whose lists have been read.

    Args:
        lists: from `read_protocol_lists`.
        load_model: gives the model for some of the protocol's values, after its name.
        views: how a video is looked at, unless the protocol says.
        runtime: precision.
        data: worker processes and batch size; `on_error` is for files that are there and cannot be read.
        prompts: templates go before those of the protocol.
        start: see `Start`.
        interpolation: between frozen CLIP and each model.
        dist: the processes that share the videos; each gets the result of all.

    Raises:
        ValueError: see `check_training`; a text does not fit (no video is opened before); or no video of a part could
            be read.
    """
    protocol = lists.protocol
    views, interpolation = protocol.views or views, interpolation or InterpolateConfig()
    prompts = replace(prompts, templates=prompts.templates or protocol.templates)
    classes = {part: protocol.candidates(part) for part in protocol.parts}

    def load(values: Mapping[str, int]) -> tuple[str, VideoModel, str]:
        name, model = load_model(values)
        return name, model, check_training(lists, values, name)

    parts: list[PartResult] = []
    evaluator: Evaluator | None = None
    samples: dict[str, VideoSample] = {}
    encoded: VideoFeatures | None = None
    for values in protocol.values:
        name, model, training = dist.run_on_all_ranks(partial(load, values))
        tested = {place: sample for place, sample in lists.test_rows(values).items() if place not in lists.missing}
        if evaluator is None or evaluator.model is not model or tested != samples:
            evaluator, samples = Evaluator(model, runtime, data, prompts, dist, interpolation), tested
            # First: a text that does not fit costs no video.
            texts = dist.run_on_all_ranks(partial(_encode_texts, evaluator, classes))
            title = ", ".join(f"{word} {value}" for word, value in values.items()) or protocol.name
            done = start(title, evaluator.num_own_videos(len(samples)))
            encoded = evaluator.encode([*samples.values()], views, [*texts.values()], done)
        for part, candidates in classes.items():
            listed = _relabel(lists.rows(part, values), protocol.all_classes().names, candidates.names)
            assert encoded is not None
            scored = evaluator.score(_select(encoded, samples, listed, lists.missing), texts[part])
            files = [fill(each, values) for each in protocol.parts[part].lists]
            sums = {each: lists.files[each].sha256 for each in files}
            rows = tuple(listed.values())
            parts.append(_part_result(part, values, name, rows, scored, texts[part], sums, training, evaluator))
    return ProtocolResult(
        *(protocol.name, protocol.about, protocol.variant, views, interpolation),
        summary=summarize_parts(protocol, parts),
        parts=tuple(parts),
    )


def _part_result(
    part: str,
    values: Mapping[str, int],
    name: str,
    rows: tuple[VideoSample, ...],
    evaluated: Evaluated,
    texts: Candidates,
    sums: Mapping[str, str],
    training: str,
    evaluator: Evaluator,
    note: str = "",
) -> PartResult:
    """The result of a part."""
    unknown = sum(evaluator.model.head.own_number(each) is None for each in texts[0].names)
    return PartResult(
        *(part, dict(values), name, rows, texts[0]),
        sha256={"lists": dict(sums), **text_hashes(texts[0])},
        training=training,
        never_trained=f"{unknown} of {len(texts[0].names)}",
        evaluated=evaluated,
        note=note,
    )


def summarize_parts(protocol: Protocol, parts: Sequence[PartResult]) -> dict[str, float]:
    """The figures that a protocol is quoted by."""
    top1 = [part.result.top1 for part in parts]
    if protocol.summary == "mean":
        return {"mean": statistics.fmean(top1), "std": statistics.pstdev(top1)}
    if protocol.summary == "harmonic_mean":
        pairs = list(zip(parts, top1, strict=True))
        means = {name: statistics.fmean(value for part, value in pairs if part.part == name) for name in protocol.parts}
        return means | {"harmonic_mean": statistics.harmonic_mean(means.values())}
    return {}


def _encode_texts(evaluator: Evaluator, classes: Mapping[str, ClassList]) -> dict[str, Candidates]:
    """The candidates of every part."""
    return {part: evaluator.encode_texts(each.names, each.prompts) for part, each in classes.items()}


def _relabel(
    samples: Mapping[str, VideoSample], names: Sequence[str], candidates: Sequence[str]
) -> dict[str, VideoSample]:
    """Samples whose labels are indices into the candidates, found by name, instead of into all names."""
    index = {name: number for number, name in enumerate(candidates)}
    return {place: replace(each, labels=(index[names[each.label]],)) for place, each in samples.items()}


def _select(
    videos: VideoFeatures,
    samples: Mapping[str, VideoSample],
    listed: Mapping[str, VideoSample],
    missing: Mapping[str, str],
) -> VideoFeatures:
    """The embedded videos among those that a part lists, as indices into these, and why the others are not there.

    Args:
        videos: embedded from `samples`.
        samples: by their place.
        listed: by their place, with the labels of the part.
        missing: by their place, why videos are not among the samples.
    """
    index = {place: number for number, place in enumerate(samples)}
    position = {row: n for n, row in enumerate(videos.rows.tolist())}
    kept: list[tuple[int, int, int]] = []
    skipped: dict[int, str] = {}
    for number, (place, sample) in enumerate(listed.items()):
        if place in missing:
            skipped[number] = missing[place]
        elif index[place] in position:
            kept.append((number, position[index[place]], sample.label))
        else:
            skipped[number] = videos.skipped[index[place]]
    rows, chosen, labels = torch.tensor(kept, dtype=torch.int64).view(-1, 3).unbind(dim=1)
    features = tuple(each[chosen] for each in videos.features)
    return replace(videos, features=features, labels=labels, rows=rows, skipped=skipped)
