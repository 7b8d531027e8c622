"""What a protocol needs on disk, looked at before anything is computed: lists, videos, and no video on both sides."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vitaclip.data import VideoSample, read_list
from vitaclip.data.lists.video_list import file_problems
from vitaclip.data.prepare import DATASETS
from vitaclip.data.reading.member import VideoPath
from vitaclip.evaluate.hashes import sha256_of_file
from vitaclip.evaluate.protocol import ALL, Protocol, fill
from vitaclip.strings import first_lines

TRAIN_LIST_FILE = "train_list.csv"
"""What a training with `data.shots` leaves beside its model folder."""
_OFFICIAL = re.compile(r"(train|val|test)[1-3]?\.csv")
"""Lists that `vitaclip data prepare` writes."""


@dataclass(frozen=True)
class ListFile:
    """A list as it was read."""

    rows: Mapping[str, VideoSample]
    """By the place of the video, links followed, in the list's order. Labels count through all classes of the protocol.
    Files need not be there."""
    sha256: str
    """Of the file's bytes."""


@dataclass(frozen=True)
class ProtocolLists:
    """All lists of a protocol."""

    protocol: Protocol
    root: Path
    files: Mapping[str, ListFile]
    """By name; training lists that are not there are not in it."""
    missing: Mapping[str, str]
    """By their place, videos to be tested that are not there, or empty, with what is wrong."""

    def rows(self, part: str, values: Mapping[str, int]) -> Mapping[str, VideoSample]:
        """By their place, the videos of a part in the order of its lists; those of other classes are passed over.

        Raises:
            ValueError: if two of its lists give a video different classes.
        """
        names = self.protocol.all_classes().names
        rows: dict[str, VideoSample] = {}
        for name in self.protocol.parts[part].lists:
            for place, row in self.files[fill(name, values)].rows.items():
                earlier = rows.setdefault(place, row)
                if earlier.label != row.label:
                    raise ValueError(
                        f"part {part}: {row.path} is {names[earlier.label]!r} in {earlier.source} and"
                        f" {names[row.label]!r} in {row.source}; correct one of the two"
                    )
        if self.protocol.parts[part].classes == ALL:
            return rows
        wanted = set(self.protocol.candidates(part).names)
        return {place: row for place, row in rows.items() if names[row.label] in wanted}

    def test_rows(self, values: Mapping[str, int]) -> Mapping[str, VideoSample]:
        """By their place, the videos of all parts. Labels are for the parts to say: two may class a video otherwise."""
        parts = [self.rows(part, values) for part in self.protocol.parts]
        first: dict[str, VideoSample] = {}
        for place, row in (item for rows in parts for item in rows.items()):
            first.setdefault(place, row)
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
    files = {}
    for name in protocol.lists:
        if (root / name).is_file():
            rows = _read(root / name, root, names)
            if protocol.dataset:
                _refuse_numbers(root / name, names, rows)
            files[name] = ListFile(rows, sha256_of_file(root / name))
    lists = ProtocolLists(protocol, root, files, {})
    missing: dict[str, str] = {}
    for values in protocol.values:
        tested = lists.test_rows(values)
        for name in _train_lists(protocol, values):
            if name in files:
                _refuse_overlap(protocol, tested, name, files[name].rows)
        problems = dict(file_problems(list(tested.values())))
        missing |= {place: problems[row] for place, row in tested.items() if row in problems}
        for part in protocol.parts:
            _refuse_nothing(lists, part, values, missing)
    return ProtocolLists(protocol, root, files, missing)


def _how_to_get(protocol: Protocol, lacking: Sequence[str]) -> str:
    own = "write lines of 'path,class name'"
    if protocol.dataset not in DATASETS or not all(_OFFICIAL.fullmatch(name) for name in lacking):
        return own
    command = f"vitaclip data prepare {protocol.dataset} --root VIDEOS --annotations FOLDER --out LISTS"
    return f"`{command}` writes the official lists; or {own}"


def _refuse_nothing(lists: ProtocolLists, part: str, values: Mapping[str, int], missing: Mapping[str, str]) -> None:
    """Refuse a part without videos, or of which none is there: it could not be scored."""
    protocol, rows = lists.protocol, lists.rows(part, values)
    named = ", ".join(fill(name, values) for name in protocol.parts[part].lists)
    if not rows:
        count = len(protocol.candidates(part).names)
        raise ValueError(f"{named}: no video is of one of the {count} candidate classes of {part}")
    if all(place in missing for place in rows):
        first = next(iter(rows.values())).path
        raise ValueError(f"{named}: none of the {len(rows)} videos of {part} is there, such as {first}; check --root")


def check_training(lists: ProtocolLists, values: Mapping[str, int], model: str) -> str:
    """What is known of the model's training videos, in words.

    Raises:
        ValueError: if the model was trained on a video that is tested, or on another number of videos a class.
    """
    protocol, tested = lists.protocol, lists.test_rows(values)
    trained = {name: lists.files[name].rows for name in _train_lists(protocol, values) if name in lists.files}
    beside = _train_list_of(model)
    own = _read(beside, None, None) if beside else {}
    if beside:
        trained[str(beside)] = own
    checked = [f"{name} ({_refuse_overlap(protocol, tested, name, rows)})" for name, rows in trained.items()]
    shots = int(fill(protocol.shots, values))
    for label, count in Counter(row.label for row in own.values()).items():
        if shots and count != shots:
            raise ValueError(
                f"{beside}: class {label} has {count} videos, {protocol.name} asks for {shots} of each;"
                " evaluate the model that was trained on so many"
            )
    return f"no tested video is in {', '.join(checked)}" if checked else "not checked: no training list is there"


def _train_list_of(model: str) -> Path | None:
    """What a training left beside its model folder; `model` names that folder, or the run's."""
    run = Path(model) if (Path(model) / "model").is_dir() else Path(model).parent
    return run / TRAIN_LIST_FILE if model and (run / TRAIN_LIST_FILE).is_file() else None


def describe_missing(lists: ProtocolLists) -> list[str]:
    """A line for each of the first videos that are not there, and how many more there are."""
    return first_lines(list(lists.missing.values()))


def _read(file: Path, root: Path | None, names: Sequence[str] | None) -> Mapping[str, VideoSample]:
    """The rows of a list by the place of the video, each once; whether the files are there is not looked at."""
    videos = read_list(file, root, names, check=False)
    problems = list(videos.problems)
    first: dict[str, VideoSample] = {}
    for row in videos.samples:
        earlier = first.setdefault(_place(row.path), row)
        if earlier is not row:
            problems.append(f"{row.source}: {row.path} is listed already at {earlier.source}; remove one of the two")
        elif len(row.labels) > 1:
            problems.append(f"{row.source}: {row.path} has several labels; protocols score one label a video")
    if problems:
        raise ValueError("\n".join([f"{file}: {len(problems)} found wrong", *first_lines(problems)]))
    return first


def _refuse_numbers(file: Path, names: Sequence[str], rows: Mapping[str, VideoSample]) -> None:
    """Refuse labels that are class numbers: those alone mean another class when the names are in another order."""
    turned = [*names[1:], *names[:1]]
    for row, again in zip(rows.values(), _read(file, None, turned).values(), strict=True):
        if names[row.label] != turned[again.label]:
            raise ValueError(
                f"{row.source}: has a class number as its label; write the class's name, whatever the order of numbers"
            )


def _train_lists(protocol: Protocol, values: Mapping[str, int]) -> list[str]:
    return [fill(name, values) for name in protocol.train]


def _refuse_overlap(
    protocol: Protocol, tested: Mapping[str, VideoSample], name: str, rows: Mapping[str, VideoSample]
) -> str:
    """Refuse tested videos that are in a training list; returns what they were compared by."""
    both = [(row, tested[place]) for place, row in rows.items() if place in tested]
    # A data set's own file names tell its videos apart, also when a copy of the folder was trained on.
    named, tested_named = (_by_stem(each) if protocol.dataset else {} for each in (rows, tested))
    both = both or [(row, tested_named[stem]) for stem, row in named.items() if stem in tested_named]
    if both:
        first, again = both[0]
        raise ValueError(
            f"{len(both)} of the tested videos are in the training list {name}, such as {first.path}"
            f" ({again.source} and {first.source}); test on other videos"
        )
    return "by path and file name" if named and tested_named else "by path"


def _by_stem(rows: Mapping[str, VideoSample]) -> Mapping[str, VideoSample]:
    """The videos by their file names without ending; none if two share one."""
    named = {Path(row.path.parts[-1]).stem: row for row in rows.values()}
    return named if len(named) == len(rows) else {}


def _place(path: VideoPath) -> str:
    return str(path.resolve())
