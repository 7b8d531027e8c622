"""What really happens in videos, from the annotation files of ActivityNet, THUMOS'14 and QVHighlights."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitaclip.data.reading.path import VideoPath
from vitaclip.moments.formats import video_name
from vitaclip.moments.metrics import ACTIVITYNET_IOUS, THUMOS_IOUS, evaluate_detection, evaluate_retrieval
from vitaclip.moments.table import Moments, Segment
from vitaclip.untrusted import read_bytes, read_json, reading


@dataclass(frozen=True)
class Truth:
    """The true segments of videos, and the rules by which predictions are measured against them."""

    videos: Mapping[str, tuple[Segment, ...]]
    """By the name of the video, as the annotations have it."""
    ious: Sequence[float] = ()
    """Thresholds of detection; empty for retrieval, where labels are queries."""

    def name_of(self, path: VideoPath) -> str:
        """What a video is called here; ActivityNet's files have `v_` in front of it. Empty if it is not annotated."""
        name = video_name(path)
        return next((each for each in (name, name.removeprefix("v_")) if each in self.videos), "")

    def annotated(self, paths: Sequence[VideoPath]) -> list[VideoPath]:
        """The videos that are annotated.

        Raises:
            ValueError: there is none.
        """
        if kept := [path for path in paths if self.name_of(path)]:
            return kept
        given, known = ", ".join(map(video_name, paths[:3])), ", ".join([*self.videos][:3])
        raise ValueError(f"no video ({given}) is annotated (as are {known}); files bear the names of the annotations")

    def queries(self, path: VideoPath) -> tuple[str, ...]:
        """What is searched for in an annotated video; none for detection."""
        return () if self.ious else tuple(dict.fromkeys(each.label for each in self.videos[self.name_of(path)]))

    def evaluate(self, moments: Sequence[Moments]) -> dict[str, float]:
        """The figures of annotated videos, see `evaluate_detection` and `evaluate_retrieval`. Others that are annotated
        do not count."""
        found = {self.name_of(each.path): each.segments for each in moments}
        truth = {name: self.videos[name] for name in found}
        return evaluate_detection(truth, found, self.ious) if self.ious else evaluate_retrieval(truth, found)


def read_truth(path: str | Path) -> Truth:
    """Read annotations: ActivityNet's `.json`, QVHighlights' `.jsonl`, or for THUMOS'14 a folder of `.txt` files, one a
    class, whose lines are `video start end`. THUMOS' ambiguous stretches are left out, as in the literature.

    Raises:
        ValueError: none of these, or damaged.

    >>> read_truth("val.jsonl").videos["film"]  # doctest: +SKIP
    (Segment(start_s=10.0, end_s=14.0, label='a red heart shrinks', score=1.0),)
    """
    path = Path(path)
    ious: Sequence[float] = ()
    with reading(path):
        if path.is_dir():
            files = [file for file in sorted(path.glob("*.txt")) if not file.stem.startswith("Ambiguous")]
            rows, ious = [row for file in files for row in _thumos(file)], THUMOS_IOUS
        elif path.suffix == ".jsonl":
            rows = [row for line in _lines(path) for row in _qvhighlights(json.loads(line))]
        else:
            rows, ious = [*_activitynet(read_json(path))], ACTIVITYNET_IOUS
        videos = defaultdict[str, list[Segment]](list)
        for video, start, end, label in rows:
            videos[video].append(Segment(float(start), float(end), str(label), 1.0))
    if not videos:
        raise ValueError(f"{path}: no segment in it; give ActivityNet's .json, QVHighlights' .jsonl or THUMOS' folder")
    return Truth({video: tuple(segments) for video, segments in videos.items()}, ious)


_Row = tuple[str, Any, Any, Any]


def _lines(path: Path) -> list[str]:
    return [line for line in read_bytes(path).decode("utf-8").splitlines() if line.strip()]


def _thumos(file: Path) -> Iterator[_Row]:
    label = re.sub("_(val|test)$", "", file.stem)
    for line in _lines(file):
        video, start, end = line.split()
        yield video, start, end, label


def _qvhighlights(query: Mapping[str, Any]) -> Iterator[_Row]:
    for start, end in query["relevant_windows"]:
        yield query["vid"], start, end, query["query"]


def _activitynet(content: Mapping[str, Any]) -> Iterator[_Row]:
    for video, entry in content["database"].items():
        for each in entry["annotations"]:
            yield video, *each["segment"], each["label"]
