"""Which samples of a list are trained on: a few of each class, or all classes equally often."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vitaclip.data.labels import format_labels, single_labels
from vitaclip.data.lists.video_list import VideoSample
from vitaclip.data.rng import Stream, generator
from vitaclip.files import csv_text


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
            videos = f"{len(of_class)} video{'' if len(of_class) == 1 else 's'}"
            raise ValueError(f"data.shots = {shots}: class {name!r} has {videos}; lower data.shots or add videos")
        order = generator(seed, Stream.SHOTS, label).permutation(len(of_class))
        chosen.update(of_class[order[:shots]].tolist())
    return tuple(sample for index, sample in enumerate(samples) if index in chosen)


def list_text(samples: Sequence[VideoSample]) -> str:
    """A list file of the samples, with full paths, as `read_list` takes it."""
    return csv_text((sample.path.absolute(), format_labels(sample.labels)) for sample in samples)


def balanced_order(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """An epoch for samples of these classes, (N,): N indices in random order, every class equally often (to one).

    Samples of small classes repeat, each as often as the others of its class (to one); some of large ones sit out.
    """
    classes = np.unique(labels)
    share, rest = divmod(len(labels), len(classes))
    one_more = set(rng.permutation(classes)[:rest].tolist())
    drawn: list[NDArray[np.int64]] = []
    for label in classes.tolist():
        of_class = np.flatnonzero(labels == label)
        repeats, remainder = divmod(share + (label in one_more), len(of_class))
        drawn += [np.tile(of_class, repeats), rng.choice(of_class, remainder, replace=False)]
    return rng.permutation(np.concatenate(drawn))
