"""What a protocol needs on disk, looked at before anything is computed: lists, videos, and no video on both sides."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vitaclip.data.lists.rows import VideoRow, file_problems, read_rows
from vitaclip.data.reading.member import VideoPath
from vitaclip.evaluate.hashes import sha256_of_file
from vitaclip.evaluate.protocol import ALL, Protocol, fill

TRAIN_LIST_FILE = "train_list.csv"
"""What a training with `data.shots` leaves beside its model folder."""
_SHOWN = 10


@dataclass(frozen=True)
class ListFile:
    """A list as it was read."""

    rows: tuple[VideoRow, ...]
    """Labels count through all classes of the protocol. Files need not be there."""
    sha256: str
    """Of the file's bytes."""


@dataclass(frozen=True)
class ProtocolLists:
    """All lists of a protocol."""

    protocol: Protocol
    root: Path
    files: Mapping[str, ListFile]
    """By name; training lists that are not there are not in it."""
    missing: Mapping[VideoPath, str]
    """Videos to be tested that are not there, or empty, with what is wrong."""

    def rows(self, part: str, values: Mapping[str, int]) -> tuple[VideoRow, ...]:
        """The videos of a part, in the order of its lists, each once; those of other classes are passed over."""
        lists = [fill(name, values) for name in self.protocol.parts[part].lists]
        rows = {_place(row.path): row for name in lists for row in self.files[name].rows}
        if self.protocol.parts[part].classes == ALL:
            return tuple(rows.values())
        wanted = set(self.protocol.candidates(part).names)
        names = self.protocol.all_classes().names
        return tuple(row for row in rows.values() if names[row.label] in wanted)

    def test_rows(self, values: Mapping[str, int]) -> tuple[VideoRow, ...]:
        """The videos of all parts, each once."""
        rows = {_place(row.path): row for part in self.protocol.parts for row in self.rows(part, values)}
        return tuple(rows.values())


def read_protocol_lists(protocol: Protocol, root: str | Path) -> ProtocolLists:
    """Read and check all lists of a protocol below a folder, and look whether their videos are there.

    Raises:
        ValueError: if a list is not there (all that are needed are named), a label is no class of the protocol or is
            a number, a video is in a training list too, or a part has no video, or none that is there.
    """
    root = Path(root)
    lacking = [name for name in protocol.test_lists if not (root / name).is_file()]
    if lacking:
        raise ValueError(
            f"protocol {protocol.name} needs {', '.join(protocol.test_lists)} below {root}: {', '.join(lacking)}"
            f" {'is' if len(lacking) == 1 else 'are'} not there; write lines of 'path,class name', and give the folder"
            " with --root"
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
    missing: dict[VideoPath, str] = {}
    for values in protocol.values:
        tested = lists.test_rows(values)
        _refuse_overlap(tested, [(name, files[name].rows) for name in _train_lists(protocol, values) if name in files])
        missing |= {row.path: problem for row, problem in file_problems(tested)}
        for part in protocol.parts:
            _refuse_nothing(lists, part, values, missing)
    return ProtocolLists(protocol, root, files, missing)


def _refuse_nothing(
    lists: ProtocolLists, part: str, values: Mapping[str, int], missing: Mapping[VideoPath, str]
) -> None:
    """Refuse a part without videos, or of which none is there: it could not be scored."""
    protocol, rows = lists.protocol, lists.rows(part, values)
    named = ", ".join(fill(name, values) for name in protocol.parts[part].lists)
    if not rows:
        count = len(protocol.candidates(part).names)
        raise ValueError(f"{named}: no video is of one of the {count} candidate classes of {part}")
    if all(row.path in missing for row in rows):
        raise ValueError(
            f"{named}: none of the {len(rows)} videos of {part} is there, such as {rows[0].path}; check --root"
        )


def check_training(lists: ProtocolLists, values: Mapping[str, int], model: str) -> str:
    """What is known of the model's training videos, in words.

    Raises:
        ValueError: if the model was trained on a video that is tested, or on another number of videos a class.
    """
    protocol = lists.protocol
    checked = [name for name in _train_lists(protocol, values) if name in lists.files]
    beside = Path(model).parent / TRAIN_LIST_FILE
    if model and beside.is_file():
        rows = _read(beside, None, None)
        _refuse_overlap(lists.test_rows(values), [(str(beside), rows)])
        shots = int(fill(protocol.shots, values))
        for label, count in Counter(row.label for row in rows).items():
            if shots and count != shots:
                raise ValueError(
                    f"{beside}: class {label} has {count} videos, {protocol.name} asks for {shots} of each;"
                    " evaluate the model that was trained on so many"
                )
        checked.append(str(beside))
    return f"no tested video is in {', '.join(checked)}" if checked else "not checked: no training list is there"


def describe_missing(lists: ProtocolLists) -> list[str]:
    """A line for each of the first videos that are not there, and how many more there are."""
    problems = list(lists.missing.values())
    more = [f"... and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
    return [*problems[:_SHOWN], *more]


def _read(file: Path, root: Path | None, names: Sequence[str] | None) -> tuple[VideoRow, ...]:
    """The rows of a list, each video once; whether the files are there is not looked at."""
    rows, problems, _ = read_rows(file, root, names)
    first: dict[str, VideoRow] = {}
    for row in rows:
        earlier = first.setdefault(_place(row.path), row)
        if earlier is not row:
            problems.append(f"{row.source}: {row.path} is listed already at {earlier.source}; remove one of the two")
    if problems:
        more = [f"... and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise ValueError("\n".join([f"{file}: {len(problems)} found wrong", *problems[:_SHOWN], *more]))
    return tuple(rows)


def _refuse_numbers(file: Path, names: Sequence[str], rows: Sequence[VideoRow]) -> None:
    """Refuse labels that are class numbers: those alone mean another class when the names are in another order."""
    turned = [*names[1:], *names[:1]]
    for row, again in zip(rows, _read(file, None, turned), strict=True):
        if names[row.label] != turned[again.label]:
            raise ValueError(
                f"{row.source}: has a class number as its label; write the class's name, whatever the order of numbers"
            )


def _train_lists(protocol: Protocol, values: Mapping[str, int]) -> list[str]:
    return [fill(name, values) for name in protocol.train]


def _refuse_overlap(rows: Iterable[VideoRow], train: Iterable[tuple[str, Iterable[VideoRow]]]) -> None:
    sources = {_place(row.path): row.source for row in rows}
    for name, train_rows in train:
        both = [row for row in train_rows if _place(row.path) in sources]
        if both:
            first = both[0]
            raise ValueError(
                f"{len(both)} of the tested videos are in the training list {name}, such as {first.path}"
                f" ({sources[_place(first.path)]} and {first.source}); test on other videos"
            )


def _place(path: VideoPath) -> str:
    return str(path.resolve())
