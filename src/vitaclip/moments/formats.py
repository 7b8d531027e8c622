"""The files that other programs read, each written from the one table of moments.

Times are seconds from the start of the video. Where a format counts frames, it is the frame that is on at that time,
counted by the video's own rate.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vitaclip.data.reading.path import VideoPath
from vitaclip.files import csv_text, write_text
from vitaclip.moments.table import Moments, Segment
from vitaclip.strings import did_you_mean, one_line
from vitaclip.version import __version__

_COLUMNS = ("video", "start_s", "end_s", "label", "score", "error", "note")


def write_moments(file: str | Path, moments: Sequence[Moments], format: str = "") -> None:
    """Write what happens in one or several videos, in a format of `FORMATS`; empty: what the file's ending says.

    Raises:
        ValueError: see `check_format`.

    >>> write_moments("film.srt", [predictor.moments("film.mp4")])  # doctest: +SKIP
    """
    name = check_format(file, format, [each.path for each in moments])
    write_text(file, FORMATS[name](moments))


def check_format(file: str | Path, format: str = "", paths: Sequence[VideoPath] = ()) -> str:
    """The name of the format in which `write_moments` writes a file about videos of these paths.

    Raises:
        ValueError: there is no such format, no format has this ending, or it cannot tell the videos apart.

    >>> check_format("film.vtt"), check_format("film.json", "label_studio")
    ('vtt', 'label_studio')
    """
    suffix = Path(file).suffix.lower()
    name = format or _OF_SUFFIX.get(suffix, "")
    if format and format not in FORMATS:
        raise ValueError(f"--format {format}: unknown{did_you_mean(format, FORMATS)}; there is {', '.join(FORMATS)}")
    if not name:
        raise ValueError(f"{file}: name a file that ends in {', '.join(_OF_SUFFIX)}, or say --format")
    if name in _ONE_VIDEO and len(paths) > 1:
        raise ValueError(f"{file}: {name} is of one video, not {len(paths)}; write .csv, .jsonl or .json")
    keys = [video_name(path) for path in paths]
    if name in _BY_NAME and (twice := [key for key in keys if keys.count(key) > 1]):
        raise ValueError(f"{file}: two videos are called {twice[0]}, which {name} takes for one; write .csv or .jsonl")
    return name


def video_name(path: VideoPath) -> str:
    """What annotations call a video: its file's name without the ending."""
    return Path(path.parts[-1]).stem


def _rows(moments: Sequence[Moments]) -> Iterator[dict[str, Any]]:
    """A row a segment; one without times, of a video that has no segment and ends early or cannot be read."""
    for each in moments:
        video = dict.fromkeys(_COLUMNS) | {"video": str(each.path), "error": each.error, "note": each.note}
        for segment in each.segments:
            times = {"start_s": round(segment.start_s, 3), "end_s": round(segment.end_s, 3)}
            yield video | times | {"label": segment.label, "score": round(segment.score, 6)}
        if each.error and not each.segments:
            yield video


def _csv(moments: Sequence[Moments]) -> str:
    return csv_text([_COLUMNS, *([*row.values()] for row in _rows(moments))], for_people=True)


def _jsonl(moments: Sequence[Moments]) -> str:
    return _json_lines(_rows(moments))


def _activitynet(moments: Sequence[Moments]) -> str:
    """The submission of the detection task. Files of ActivityNet are called `v_` and the name of the video."""
    results = {
        video_name(each.path).removeprefix("v_"): [
            {"label": segment.label, "score": segment.score, "segment": [segment.start_s, segment.end_s]}
            for segment in each.segments
        ]
        for each in moments
    }
    details = "; ".join([f"vitaclip {__version__}", *(f"{each.path} ends early" for each in moments if each.error)])
    return _json({"version": "VERSION 1.3", "results": results, "external_data": {"used": True, "details": details}})


def _qvhighlights(moments: Sequence[Moments]) -> str:
    """A line for each query of each video, the surest window first; `qid` counts the lines."""
    pairs = [(each, query) for each in moments for query in each.names]
    return _json_lines(
        {"qid": n, "query": query, "vid": video_name(each.path), "pred_relevant_windows": _windows(each, query)}
        for n, (each, query) in enumerate(pairs)
    )


def _windows(moments: Moments, query: str) -> list[list[float]]:
    windows = [[each.start_s, each.end_s, each.score] for each in moments.segments if each.label == query]
    return sorted(windows, key=lambda window: -window[2])


def _vtt(moments: Sequence[Moments], cues: "_Cues") -> str:
    notes = (one_line(line).replace("-->", "->") for line in (moments[0].error, moments[0].note) if line)
    blocks = ["WEBVTT", *(f"NOTE {line}" for line in notes)]
    for start, end, text in cues(moments[0].segments):
        shown = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        blocks.append(f"{_clock(start)} --> {_clock(end)}\n{shown}")
    return "\n\n".join(blocks) + "\n"


def _srt(moments: Sequence[Moments], cues: "_Cues") -> str:
    blocks = enumerate(cues(moments[0].segments), 1)
    return "".join(f"{n}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{text}\n\n" for n, (start, end, text) in blocks)


_Cue = tuple[float, float, str]
_Cues = Callable[[Sequence[Segment]], Iterator[_Cue]]


def _captions(segments: Sequence[Segment]) -> Iterator[_Cue]:
    for each in segments:
        yield each.start_s, each.end_s, f"{one_line(each.label)} ({each.score:.0%})"


def _chapters(segments: Sequence[Segment]) -> Iterator[_Cue]:
    """Chapters do not overlap: where segments do, the surest has the time."""
    spans: list[_Cue] = []
    for start, end in itertools.pairwise(sorted({time for each in segments for time in (each.start_s, each.end_s)})):
        on = [each for each in segments if each.start_s <= start and each.end_s >= end]
        label = one_line(max(on, key=lambda each: each.score).label) if on else ""
        if spans and spans[-1][1:] == (start, label):
            start = spans.pop()[0]
        spans.append((start, end, label))
    return (span for span in spans if span[2])


def _clock(seconds: float, point: str = ".") -> str:
    millis = round(1000 * seconds)
    return f"{millis // 3_600_000:02}:{millis // 60_000 % 60:02}:{millis // 1000 % 60:02}{point}{millis % 1000:03}"


def _frames(segment: Segment, moments: Moments) -> tuple[int, int]:
    """The first frame of a segment, from 0, and the first behind it."""
    first = round(segment.start_s * moments.fps)
    return first, max(first + 1, round(segment.end_s * moments.fps))


def _edl(moments: Sequence[Moments]) -> str:
    """CMX 3600: the segments one behind the other, as an assembly cut; timecodes without drop frames."""
    lines, position = ["TITLE: vitaclip moments", "FCM: NON-DROP FRAME"], 0
    pairs = [(each, segment) for each in moments for segment in each.segments]
    for n, (each, segment) in enumerate(pairs, 1):
        first, end = _frames(segment, each)
        times = (first, end, position, position + end - first)
        position = times[-1]
        codes = " ".join(_timecode(frame, round(each.fps)) for frame in times)
        lines += ["", f"{n:03}  AX       V     C        {codes}", f"* FROM CLIP NAME: {one_line(segment.label)}"]
        lines += [f"* SOURCE FILE: {each.path}", f"* COMMENT: score {segment.score:.3f}"]
    return "\n".join(lines) + "\n"


def _timecode(frame: int, rate: int) -> str:
    seconds = frame // rate
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}:{frame % rate:02}"


def _otio(moments: Sequence[Moments]) -> str:
    """A timeline of one track, on which each segment is a clip of its video."""
    clips = [_otio_clip(each, segment) for each in moments for segment in each.segments]
    track = {"OTIO_SCHEMA": "Track.1", "name": "moments", "kind": "Video", "children": clips}
    stack = {"OTIO_SCHEMA": "Stack.1", "name": "tracks", "children": [track]}
    return _json({"OTIO_SCHEMA": "Timeline.1", "name": "vitaclip moments", "tracks": stack})


def _otio_clip(moments: Moments, segment: Segment) -> dict[str, Any]:
    first, end = _frames(segment, moments)
    start, length = ({"OTIO_SCHEMA": "RationalTime.1", "rate": moments.fps, "value": n} for n in (first, end - first))
    url = moments.path.absolute().as_uri() if isinstance(moments.path, Path) else str(moments.path)
    return {
        "OTIO_SCHEMA": "Clip.1",
        "name": segment.label,
        "media_reference": {"OTIO_SCHEMA": "ExternalReference.1", "target_url": url},
        "source_range": {"OTIO_SCHEMA": "TimeRange.1", "start_time": start, "duration": length},
        "metadata": {"vitaclip": {"score": segment.score, "error": moments.error}},
    }


def _label_studio(moments: Sequence[Moments]) -> str:
    """Tasks with predictions for `<TimelineLabels name="moments" toName="video">`, which counts frames from 1."""
    tasks = []
    for each in moments:
        spans = [_frames(segment, each) for segment in each.segments]
        results = [
            {"from_name": "moments", "to_name": "video", "type": "timelinelabels", "score": segment.score}
            | {"value": {"ranges": [{"start": first + 1, "end": end}], "timelinelabels": [segment.label]}}
            for segment, (first, end) in zip(each.segments, spans, strict=True)
        ]
        prediction = {"model_version": f"vitaclip {__version__}", "result": results}
        tasks.append({"data": {"video": str(each.path)}, "predictions": [prediction]})
    return _json(tasks)


def _fiftyone(moments: Sequence[Moments]) -> str:
    """`labels.json` of a FiftyOneTemporalDetectionDataset, whose folder `data` holds the videos."""
    labels = {
        video_name(each.path): [
            {"label": segment.label, "timestamps": [segment.start_s, segment.end_s], "confidence": segment.score}
            for segment in each.segments
        ]
        for each in moments
    }
    return _json({"classes": list(dict.fromkeys(name for each in moments for name in each.names)), "labels": labels})


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _json_lines(rows: Iterable[Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


FORMATS: Mapping[str, Callable[[Sequence[Moments]], str]] = {
    "csv": _csv,
    "jsonl": _jsonl,
    "activitynet": _activitynet,
    "qvhighlights": _qvhighlights,
    "vtt": partial(_vtt, cues=_captions),
    "vtt_chapters": partial(_vtt, cues=_chapters),
    "srt": partial(_srt, cues=_captions),
    "srt_chapters": partial(_srt, cues=_chapters),
    "edl": _edl,
    "otio": _otio,
    "label_studio": _label_studio,
    "fiftyone": _fiftyone,
}
"""By name, what makes the text of a file."""
_OF_SUFFIX = {f".{name}": name for name in ("csv", "jsonl", "vtt", "srt", "edl", "otio")} | {".json": "activitynet"}
_ONE_VIDEO = ("vtt", "vtt_chapters", "srt", "srt_chapters")
_BY_NAME = ("activitynet", "qvhighlights", "fiftyone")
