"""Which samples of a list are trained on: a few of each class, or those that validation does not take."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePath

import numpy as np

from vitaclip.data.labels import format_labels, single_labels
from vitaclip.data.lists.video_list import VideoSample
from vitaclip.data.sampling import Stream, generator
from vitaclip.files import csv_text
from vitaclip.strings import counted

_CLIP_OF_FILM = re.compile(
    r"_[0-9]{6}_[0-9]{6}$"  # Kinetics: first and last second
    r"|_[a-z]+_(?:cm|nm)_np[0-9]_(?:ba|fr|le|ri)_(?:bad|goo|med)_[0-9]+$"  # HMDB51: what is seen, and the clip's number
    r"|[ _.-](?:c|clip|part|scene|seg|segment|shot)[ _-]?[0-9]+$",  # UCF101 and others: the clip's number
    re.IGNORECASE,
)


def draw_shots(
    samples: Sequence[VideoSample], class_names: Sequence[str], shots: int, seed: int
) -> tuple[VideoSample, ...]:
    """`shots` random videos of every class, in the order of the list.

    The draw of a class depends on the seed and on the samples of that class alone; fewer shots are among those of more.

    Raises:
        ValueError: a class has fewer videos.
    """
    labels = single_labels([sample.labels for sample in samples], "data.shots")
    chosen: set[int] = set()
    for label, name in enumerate(class_names):
        of_class = np.flatnonzero(labels == label)
        if len(of_class) < shots:
            videos = counted(len(of_class), "video")
            raise ValueError(f"data.shots = {shots}: class {name!r} has {videos}; lower data.shots or add videos")
        order = generator(seed, Stream.SHOTS, label).permutation(len(of_class))
        chosen.update(of_class[order[:shots]].tolist())
    return tuple(sample for index, sample in enumerate(samples) if index in chosen)


def list_text(samples: Sequence[VideoSample], class_names: Sequence[str] = ()) -> str:
    """A list file of the samples, as `read_list` takes it: full paths, and labels as names, else numbers."""
    labels = ([class_names[label] for label in each.labels] if class_names else each.labels for each in samples)
    written = zip(samples, map(format_labels, labels), strict=True)
    return csv_text((each.path.absolute(), *([text] if text else [])) for each, text in written)


def as_fraction(setting: str | float) -> float | None:
    """The number between 0 and 1 that `data.val` gives in place of a list, such as 0.2; None if it names videos.

    Raises:
        ValueError: a number beyond these, unless a path is called so.
    """
    try:
        number = float(setting)
    except ValueError:
        if re.fullmatch(r"[\d.]+ ?%", str(setting)) and not Path(str(setting)).exists():
            raise ValueError(f"data.val = {setting}: write the fraction, such as 0.2 for 20 %") from None
        return None
    if 0 < number < 1:
        return number
    if Path(str(setting)).exists():
        return None
    raise ValueError(f'data.val = {setting}: give a fraction of data.train between 0 and 1, videos, or "" for none')


def film_of(sample: VideoSample) -> str:
    """The name of the film that a video was cut from: its own name without the number or the times of a clip."""
    return _CLIP_OF_FILM.sub("", PurePath(sample.path.parts[-1]).stem)


def split_validation(
    samples: Sequence[VideoSample], fraction: float, seed: int
) -> tuple[tuple[VideoSample, ...], tuple[VideoSample, ...]]:
    """Training and validation videos, in the order of the list: about that fraction of each class is for validation.

    Clips of one film stay together, because a model recognises the film otherwise. No class loses all its videos.
    """
    films: dict[str, list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        films[film_of(sample)].append(index)
    available = Counter(label for sample in samples for label in sample.labels)
    taken, chosen = Counter[int](), set[int]()
    order = sorted(films)
    for number in generator(seed, Stream.VALIDATION).permutation(len(order)).tolist():
        film = films[order[number]]
        labels = Counter(label for index in film for label in samples[index].labels)
        # Half of what comes in may lie beyond the fraction: so it is rounded, and not always cut off.
        wanted = (taken[each] + count / 2 <= fraction * available[each] for each, count in labels.items())
        if all(wanted) and all(taken[each] + count < available[each] for each, count in labels.items()):
            taken += labels
            chosen.update(film)
    parts = ([], [])  # type: tuple[list[VideoSample], list[VideoSample]]
    for index, sample in enumerate(samples):
        parts[index in chosen].append(sample)
    return tuple(parts[0]), tuple(parts[1])
