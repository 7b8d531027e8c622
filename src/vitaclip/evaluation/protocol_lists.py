"""What an evaluation needs on disk, looked at before anything is computed: lists, videos, no video on both sides."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vitaclip.catalog import ClassList
from vitaclip.data.lists.video_list import VideoList, VideoSample, file_problems, read_list
from vitaclip.data.prepare import DATASETS
from vitaclip.evaluation.protocol import Protocol, fill
from vitaclip.files import sha256_of_file
from vitaclip.strings import first_lines

TRAIN_LIST_FILE = "train_list.csv"
"""What a training with `data.shots` leaves beside its model folder."""
_OFFICIAL = re.compile(r"(train|val|test)[1-3]?\.csv")
"""Lists that `vitaclip data prepare` writes."""

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
    missing: Mapping[str, str]
    """By their place, samples that are known not to be there, with what is wrong."""
    note: str = ""
    """What was noticed when the list was read."""


def list_part(source: str, videos: VideoList) -> EvalPart:
    """A list or a folder as the only part of an evaluation."""
    file = Path(source)
    samples = {str(number): sample for number, sample in enumerate(videos.samples)}
    candidates = ClassList("", source, videos.class_names, videos.class_names)
    sums = {file.name: sha256_of_file(file)} if file.is_file() else {}
    return EvalPart(file.name, samples, candidates, sums, {}, videos.note)


@dataclass(frozen=True)
class ProtocolLists:
    """All lists of a protocol."""

    protocol: Protocol
    root: Path
    files: Mapping[str, Samples]
    """By their names, the lists that are there. Labels are indices into all classes of the protocol."""
    sha256: Mapping[str, str]
    """Of the bytes of each."""
    missing: Mapping[str, str]
    """By their place, videos to be tested that are not there, or empty, with what is wrong."""

    def parts(self, values: Mapping[str, int]) -> list[EvalPart]:
        """The parts that a model is scored on; videos of classes that are no candidates are passed over.

        Raises:
            ValueError: if two lists of a part give a video different classes.
        """
        names = self.protocol.all_classes().names
        parts = []
        for part, lists in self.protocol.parts.items():
            files, candidates = [fill(name, values) for name in lists.lists], self.protocol.candidates(part)
            index = {name: number for number, name in enumerate(candidates.names)}
            samples: dict[str, VideoSample] = {}
            for place, sample in (item for file in files for item in self.files[file].items()):
                earlier = samples.setdefault(place, sample)
                if earlier.label != sample.label:
                    raise ValueError(
                        f"part {part}: {sample.path} is {names[earlier.label]!r} in {earlier.source} and"
                        f" {names[sample.label]!r} in {sample.source}; correct one of the two"
                    )
            labelled = {
                place: replace(sample, labels=(index[names[sample.label]],))
                for place, sample in samples.items()
                if names[sample.label] in index
            }
            sums = {file: self.sha256[file] for file in files}
            parts.append(EvalPart(part, labelled, candidates, sums, self.missing))
        return parts

    def train_lists(self, values: Mapping[str, int]) -> dict[str, Samples]:
        """The training lists that are there, by their names."""
        named = (fill(name, values) for name in self.protocol.train)
        return {name: self.files[name] for name in named if name in self.files}


def union(parts: Sequence[EvalPart]) -> Samples:
    """The videos of all parts. Labels are for the parts to say, because two may class a video differently."""
    first: dict[str, VideoSample] = {}
    for part in parts:
        first |= {place: sample for place, sample in part.samples.items() if place not in first}
    return first


def read_protocol_lists(protocol: Protocol, root: str | Path) -> ProtocolLists:
    """Read and check all lists of a protocol below a folder, and look whether their videos are there.

    Raises:
        ValueError: if a list is not there (all that are needed are named), a label is no class of the protocol
            or is a number, a part's lists contradict each other, a video is in a training list too, or a part has no
            video, or none that is there.
    """
    root = Path(root)
    lacking = [name for name in protocol.test_lists if not (root / name).is_file()]
    if lacking:
        raise ValueError(
            f"protocol {protocol.name} needs {', '.join(protocol.test_lists)} below {root}: {', '.join(lacking)}"
            f" {'is' if len(lacking) == 1 else 'are'} not there; {_how_to_get(protocol, lacking)}, and give their"
            " folder with --root"
        )
    names = protocol.all_classes().names
    there = [name for name in protocol.lists if (root / name).is_file()]
    files = {name: _read(root / name, root, names) for name in there}
    if protocol.dataset:
        for name, samples in files.items():
            _refuse_numbers(root / name, names, samples)
    lists = ProtocolLists(protocol, root, files, {name: sha256_of_file(root / name) for name in there}, {})
    missing: dict[str, str] = {}
    for values in protocol.values:
        parts = lists.parts(values)
        tested = union(parts)
        for name, trained in lists.train_lists(values).items():
            _refuse_overlap(protocol, tested, name, trained)
        problems = dict(file_problems(list(tested.values())))
        missing |= {place: problems[sample] for place, sample in tested.items() if sample in problems}
        for part in parts:
            _refuse_nothing(part, missing)
    return replace(lists, missing=missing)


def _how_to_get(protocol: Protocol, lacking: Sequence[str]) -> str:
    own = "write lines of 'path,class name'"
    if protocol.dataset not in DATASETS or not all(_OFFICIAL.fullmatch(name) for name in lacking):
        return own
    command = f"vitaclip data prepare {protocol.dataset} --root VIDEOS --annotations FOLDER --out LISTS"
    return f"`{command}` writes the official lists; or {own}"


def _refuse_nothing(part: EvalPart, missing: Mapping[str, str]) -> None:
    """Refuse a part without videos, or of which none is there: it could not be scored."""
    named, count = ", ".join(part.sha256), len(part.candidates.names)
    if not part.samples:
        raise ValueError(f"{named}: no video is of one of the {count} candidate classes of {part.name}")
    if part.samples.keys() <= missing.keys():
        first, count = next(iter(part.samples.values())).path, len(part.samples)
        raise ValueError(f"{named}: none of the {count} videos of {part.name} is there, such as {first}; check --root")


def check_training(lists: ProtocolLists, values: Mapping[str, int], model: str) -> str:
    """What is known of the model's training videos, in words.

    Raises:
        ValueError: if the model was trained on a video that is tested, or on another number of videos a class.
    """
    protocol, tested = lists.protocol, union(lists.parts(values))
    trained, own = lists.train_lists(values), dict[str, VideoSample]()
    run = Path(model) if (Path(model) / "model").is_dir() else Path(model).parent
    beside = run / TRAIN_LIST_FILE
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
