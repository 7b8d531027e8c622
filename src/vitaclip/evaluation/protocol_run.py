"""What an evaluation needs on disk, and its running: lists are read and checked, and it is looked whether their videos
are there, before anything is computed; then each model sees each video once, and every part is scored against its own
candidates.
"""

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from vitaclip.catalog import ClassList
from vitaclip.data.config import ViewsConfig
from vitaclip.data.labels import label_tensor
from vitaclip.data.lists.video_list import VideoList, VideoSample, file_problems, read_list
from vitaclip.distributed import DistEnv
from vitaclip.evaluation.class_texts import ClassTexts
from vitaclip.evaluation.evaluation import Evaluated, Evaluator
from vitaclip.evaluation.metrics import EvaluationResult
from vitaclip.evaluation.protocol import Protocol, fill
from vitaclip.evaluation.scoring import VideoFeatures
from vitaclip.files import sha256_of_file
from vitaclip.names import ClassIndex
from vitaclip.strings import first_lines

TRAIN_LIST_FILE = "train_list.csv"
"""What a training with `data.shots` leaves beside its model folder."""

Samples = Mapping[str, VideoSample]
"""Videos by their place, which is the path with links followed, in the order of the list."""


@dataclass(frozen=True)
class EvalPart:
    """What one accuracy is measured on: videos, and the candidates that they are scored against."""

    name: str
    samples: Samples
    """Labels are indices into the candidates. Files need not be there."""
    candidates: ClassList
    sha256: Mapping[str, str]
    """Of the bytes of each list."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """By their place, samples that are known not to be there, with what is wrong."""
    values: Mapping[str, int] = field(default_factory=dict)
    """What its model goes by in a protocol of several models, such as `{"seed": 1}`."""
    training: str = ""
    """Whether a tested video is in a list that was trained on; empty for a list by itself, of which nobody knows."""
    note: str = ""
    """What was noticed when the list was read."""

    @property
    def stem(self) -> str:
        """Its name, and what its model goes by, such as `base_seed1`: files are named after it."""
        return "_".join([self.name, *(f"{word}{value}" for word, value in self.values.items())])


def list_part(source: str, videos: VideoList) -> EvalPart:
    """A list or a folder as the only part of an evaluation."""
    file = Path(source)
    samples = {str(number): sample for number, sample in enumerate(videos.samples)}
    candidates = ClassList("", source, videos.class_names, videos.class_names)
    sums = {file.name: sha256_of_file(file)} if file.is_file() else {}
    return EvalPart(file.name, samples, candidates, sums, note=videos.note)


def union(parts: Sequence[EvalPart]) -> Samples:
    """The videos of all parts. Labels are for the parts to say, because two may class a video differently."""
    first: dict[str, VideoSample] = {}
    for part in parts:
        first |= {place: sample for place, sample in part.samples.items() if place not in first}
    return first


def read_parts(protocol: Protocol, root: str | Path, model: str = "") -> list[EvalPart]:
    """The parts of a protocol, for one model after the other. All lists below a folder are read and checked, and it is
    looked whether their videos are there.

    Args:
        protocol: which lists and candidates.
        root: the folder.
        model: the folder of the model, with the protocol's word in braces where there are several: what a training left
            beside it says which videos it saw.

    Raises:
        ValueError: if a list is not there (all that are needed are named), a label is no class of the protocol
            or is a number, a part's lists contradict each other, a model was trained on a video that is tested or on
            another number of videos a class, or a part has no video, or none that is there.
    """
    root = Path(root)
    lacking = [name for name in protocol.test_lists if not (root / name).is_file()]
    if lacking:
        raise ValueError(
            f"protocol {protocol.name} needs {', '.join(protocol.test_lists)} below {root}: {', '.join(lacking)}"
            f" {'is' if len(lacking) == 1 else 'are'} not there; write them with `vitaclip data prepare`, or lines of"
            " 'path,class name' yourself, and give their folder with --root"
        )
    names = protocol.all_classes().names
    files = {name: _read(root / name, root, names) for name in protocol.lists if (root / name).is_file()}
    if protocol.dataset:
        for name, samples in files.items():
            _refuse_numbers(root / name, names, samples)
    parts = []
    for values in protocol.values:
        own = [_make_part(protocol, name, values, files, root) for name in protocol.parts]
        training = _check_training(protocol, union(own), values, files, fill(model, values))
        parts += [replace(part, training=training) for part in own]
    every = union(parts)
    problems = dict(file_problems(list(every.values())))
    missing = {place: problems[sample] for place, sample in every.items() if sample in problems}
    for part in parts:
        _refuse_nothing(part, missing)
    return [replace(p, missing={place: missing[place] for place in p.samples if place in missing}) for p in parts]


def _make_part(
    protocol: Protocol, name: str, values: Mapping[str, int], files: Mapping[str, Samples], root: Path
) -> EvalPart:
    """A part for one model; videos of classes that are no candidates are passed over."""
    names, candidates = protocol.all_classes().names, protocol.candidates(name)
    lists = [fill(each, values) for each in protocol.parts[name].lists]
    index = {candidate: number for number, candidate in enumerate(candidates.names)}
    samples: dict[str, VideoSample] = {}
    for place, sample in (item for file in lists for item in files[file].items()):
        earlier = samples.setdefault(place, sample)
        if earlier.label != sample.label:
            raise ValueError(
                f"part {name}: {sample.path} is {names[earlier.label]!r} in {earlier.source} and"
                f" {names[sample.label]!r} in {sample.source}; correct one of the two"
            )
    labelled = {
        place: replace(sample, labels=(index[names[sample.label]],))
        for place, sample in samples.items()
        if names[sample.label] in index
    }
    return EvalPart(name, labelled, candidates, {file: sha256_of_file(root / file) for file in lists}, values=values)


def _refuse_nothing(part: EvalPart, missing: Mapping[str, str]) -> None:
    """Refuse a part without videos, or of which none is there: it could not be scored."""
    named, count = ", ".join(part.sha256), len(part.candidates.names)
    if not part.samples:
        raise ValueError(f"{named}: no video is of one of the {count} candidate classes of {part.name}")
    if part.samples.keys() <= missing.keys():
        first, count = next(iter(part.samples.values())).path, len(part.samples)
        raise ValueError(f"{named}: none of the {count} videos of {part.name} is there, such as {first}; check --root")


def _check_training(
    protocol: Protocol, tested: Samples, values: Mapping[str, int], files: Mapping[str, Samples], model: str
) -> str:
    """What is known of the model's training videos, in words, after checking that none of them is tested."""
    trained = {name: files[name] for name in (fill(each, values) for each in protocol.train) if name in files}
    run = Path(model) if (Path(model) / "model").is_dir() else Path(model).parent
    beside, own = run / TRAIN_LIST_FILE, dict[str, VideoSample]()
    if model and beside.is_file():
        trained[str(beside)] = own = _read(beside, None, None)
    checked = [f"{name} ({_refuse_overlap(protocol, tested, name, samples)})" for name, samples in trained.items()]
    shots = int(fill(protocol.shots, values))
    for label, count in Counter(sample.label for sample in own.values()).items():
        if shots and count != shots:
            raise ValueError(
                f"{beside}: class {label} has {count} videos, {protocol.name} asks for {shots} of each;"
                " evaluate the model that was trained on so many"
            )
    return f"no tested video is in {', '.join(checked)}" if checked else "not checked: no training list is there"


def _read(file: Path, root: Path | None, names: Sequence[str] | None) -> dict[str, VideoSample]:
    """The samples of a list, each once; whether the files are there is not looked at."""
    videos = read_list(file, root, names)
    problems = list(videos.problems)
    first: dict[str, VideoSample] = {}
    for sample in videos.samples:
        earlier, path = first.setdefault(str(sample.path.resolve()), sample), sample.path
        if earlier is not sample:
            problems.append(f"{sample.source}: {path} is listed already at {earlier.source}; remove one of the two")
        elif len(sample.labels) > 1:
            problems.append(f"{sample.source}: {path} has several labels; protocols score one label a video")
    if problems:
        raise ValueError("\n".join([f"{file}: {len(problems)} found wrong", *first_lines(problems)]))
    return first


def _refuse_numbers(file: Path, names: Sequence[str], samples: Samples) -> None:
    """Refuse labels that are class numbers: those alone mean another class when the names are in another order."""
    turned = [*names[1:], *names[:1]]
    for sample, again in zip(samples.values(), _read(file, None, turned).values(), strict=True):
        if names[sample.label] != turned[again.label]:
            raise ValueError(
                f"{sample.source}: has a class number as its label; write the class's name, whatever the order of"
                " numbers"
            )


def _refuse_overlap(protocol: Protocol, tested: Samples, name: str, trained: Samples) -> str:
    """Refuse tested videos that are in a training list; returns what they were compared by."""
    both = [(sample, tested[place]) for place, sample in trained.items() if place in tested]
    # A data set's own file names tell its videos apart, also when a copy of the folder was trained on.
    named, tested_named = (_by_stem(each) if protocol.dataset else {} for each in (trained, tested))
    both = both or [(sample, tested_named[stem]) for stem, sample in named.items() if stem in tested_named]
    if both:
        first, again = both[0]
        raise ValueError(
            f"{len(both)} of the tested videos are in the training list {name}, such as {first.path}"
            f" ({again.source} and {first.source}); test on other videos"
        )
    return "by path and file name" if named and tested_named else "by path"


def _by_stem(samples: Samples) -> Samples:
    """The videos by their file names without ending; none if two share one."""
    named = {Path(sample.path.parts[-1]).stem: sample for sample in samples.values()}
    return named if len(named) == len(samples) else {}


StartProgress = Callable[[str, int], Callable[[int], None]]
"""Called with what begins and the number of its videos; returns a progress callback."""


@dataclass(frozen=True)
class PartResult:
    """One accuracy, with all that says what was scored."""

    part: EvalPart
    """The videos listed, which `evaluated.scores.indices` count through."""
    model: str
    """What the model is called."""
    texts: ClassTexts
    """The candidates; rows and columns of the confusion matrix are in their order."""
    never_trained: str
    """How many of the candidates the model was not trained on, such as `3 of 10`."""
    evaluated: Evaluated
    about: Mapping[str, str] = field(default_factory=dict)
    """Its backbone and its method in words, see `VideoModel.in_words`."""

    @property
    def result(self) -> EvaluationResult:
        """The accuracies."""
        return self.evaluated.result

    @property
    def sha256(self) -> dict[str, str]:
        """Sums of lists, names and templates, by what they are of."""
        return {**self.part.sha256, **self.texts.sha256()}

    def to_dict(self) -> dict[str, Any]:
        """Everything but scores and videos, ready for JSON."""
        return {
            "part": self.part.name,
            "values": self.part.values,
            "model": self.model,
            "sha256": {"lists": self.part.sha256, **self.texts.sha256()},
            "training": self.part.training,
            "never_trained": self.never_trained,
            "note": self.part.note,
            "videos_listed": len(self.part.samples),
            "videos_scored": self.result.num_videos,
            **asdict(self.result),
            **({"decision": asdict(self.evaluated.decision)} if self.evaluated.decision else {}),
            "text": self.texts.note,
            "warning": self.texts.warning,
            "templates": self.texts.templates,
            "class_names": self.texts.names,
            "class_texts": self.texts.texts,
        }


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
    summary: dict[str, float]
    """Top-1 in [0, 1]: empty, or `mean` and `std` (population), or `base`, `novel` and `harmonic_mean`."""
    parts: tuple[PartResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON; of a list, the figures of its only part at the top."""
        values = asdict(replace(self, parts=()))
        if not self.protocol:
            return self.parts[0].to_dict() | {"videos": self.about, "views": values["views"]}
        return values | {"parts": [part.to_dict() for part in self.parts]}


def score_parts(
    evaluator: Evaluator, parts: Sequence[EvalPart], views: ViewsConfig, dist: DistEnv, start: StartProgress, name: str
) -> list[PartResult]:
    """Score a model on parts; a video of several is looked at once.

    Args:
        evaluator: of the model.
        parts: what it is scored on.
        views: how a video is looked at.
        dist: the processes that share the videos; each gets the result of all.
        start: see `StartProgress`.
        name: what the model is called.

    Raises:
        ValueError: a text does not fit (no video is opened before); or no video of a part could be read.
    """
    samples = union(
        [replace(part, samples={p: s for p, s in part.samples.items() if p not in part.missing}) for part in parts]
    )
    with dist.shared_errors():
        candidates = dict.fromkeys(part.candidates for part in parts)
        texts = {each: evaluator.encode_texts(each.names, each.prompts) for each in candidates}
    told = dict.fromkeys(f"{word} {value}" for part in parts for word, value in part.values.items())
    on_progress = start(", ".join(told) or "evaluating", len(dist.rank_range(len(samples))))
    videos = evaluator.encode([*samples.values()], views, [*texts.values()], on_progress)
    model, results = evaluator.model, list[PartResult]()
    trained = ClassIndex(model.class_names)
    for part in parts:
        own = texts[part.candidates]
        unknown = sum(trained.find(name) is None for name in own.names)
        evaluated = evaluator.score(_select(videos, samples, part), own)
        results.append(PartResult(part, name, own, f"{unknown} of {len(own.names)}", evaluated, model.in_words))
    return results


def summarize_parts(protocol: Protocol, parts: Sequence[PartResult]) -> dict[str, float]:
    """The figures that a protocol is quoted by."""
    top1 = [part.result.top1 for part in parts]
    if protocol.summary == "mean":
        return {"mean": statistics.fmean(top1), "std": statistics.pstdev(top1)}
    if protocol.summary == "harmonic_mean":
        means = {
            name: statistics.fmean(part.result.top1 for part in parts if part.part.name == name)
            for name in protocol.parts
        }
        return means | {"harmonic_mean": statistics.harmonic_mean(means.values())}
    return {}


def _select(videos: VideoFeatures, samples: Samples, part: EvalPart) -> VideoFeatures:
    """The embedded videos of a part, some of `samples`, with its labels, as indices into its samples; and why others
    are not there."""
    places = list(samples)
    position = {places[index]: n for n, index in enumerate(videos.indices.tolist())}
    reasons = {**part.missing, **{places[index]: reason for index, reason in videos.skipped.items()}}
    listed = list(enumerate(part.samples.items()))
    chosen = [position[place] for _, (place, _) in listed if place in position]
    most_labels = max((len(sample.labels) for sample in part.samples.values()), default=1)
    return replace(
        videos,
        features=videos.features[chosen],
        labels=label_tensor([sample.labels for _, (place, sample) in listed if place in position], most_labels),
        indices=torch.tensor([number for number, (place, _) in listed if place in position], dtype=torch.int64),
        skipped={number: reasons[place] for number, (place, _) in listed if place not in position},
    )
