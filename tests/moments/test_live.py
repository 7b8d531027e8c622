"""Streams: a file that grows gives the scores of one that is whole, and what goes wrong is counted and said."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event, Thread
from time import sleep
from typing import Any

import numpy as np
import pytest
import torch

from moments_case import SETTINGS, kept
from small_world import NAMES, Refusal
from video_files import write_video
from vitaclip.cli import main
from vitaclip.data.loading.clips import EvalViews
from vitaclip.data.reading import live as reading
from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.decode import open_video
from vitaclip.data.reading.live import LiveVideo
from vitaclip.data.sampling import FrameSampling
from vitaclip.moments import live
from vitaclip.moments.config import MomentsConfig
from vitaclip.moments.live import Hysteresis, LiveStep, choose_frames, read_ahead
from vitaclip.moments.windows import plan_windows
from vitaclip.predictor import Predictor


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_SECONDS_OF_SILENCE", 0.6)
    monkeypatch.setattr(reading, "_POLL_S", 0.02)
    monkeypatch.setattr(live, "_LONGEST_WAIT_S", 0.01)


def write_slowly(content: bytes, path: Path) -> Thread:
    """A thread that writes a file in pieces; something of it is there."""
    path.write_bytes(content[:1000])

    def write() -> None:
        with path.open("ab", buffering=0) as file:
            for place in range(1000, len(content), 8000):
                sleep(0.01)
                file.write(content[place : place + 8000])

    thread = Thread(target=write, daemon=True)
    thread.start()
    return thread


FRAGMENTED = {"movflags": "frag_keyframe+empty_moov"}


@pytest.mark.parametrize(("name", "options"), [("film.ts", {}), ("film.mkv", {}), ("film.mp4", FRAGMENTED)])
def test_growing_file_has_the_scores_of_a_whole_one(
    predictor: Predictor, name: str, options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = write_video(tmp_path / name, frames=150, gop=30, container_options=options)
    settings, rows, told, notes = replace(SETTINGS, reject=False), list[Any](), Hysteresis.add, list[str]()
    predictor.moments(film, settings, scores_file=tmp_path / "scores")
    with open_video(film) as source:
        windows = plan_windows(source, settings, 4)

    def noted(segments: Hysteresis, length: int, start: int, scores: np.ndarray) -> Iterator[live.Event]:
        rows.append((length, start, scores))
        return told(segments, length, start, scores)

    monkeypatch.setattr(Hysteresis, "add", noted)
    thread = write_slowly(film.read_bytes(), tmp_path / f"growing{film.suffix}")
    events = [*predictor.live(tmp_path / f"growing{film.suffix}", settings, on_note=notes.append)]
    thread.join(10)
    regular = [
        (length, start, scores)
        for length, start, scores in zip(windows.lengths, windows.starts, kept(tmp_path / "scores")[0], strict=True)
        if start % max(1, round(windows.spans[length] * settings.hop)) == 0
    ]
    assert not notes
    assert [row[:2] for row in rows] == [row[:2] for row in regular]
    np.testing.assert_allclose([row[2] for row in rows], [row[2] for row in regular], rtol=1e-4)
    assert [event for event, _ in events] == ["open"] * 3 + ["close"] * 3  # all the time, with a threshold of 0
    assert {segment.label for _, segment in events} == {*NAMES}
    assert events[-1][1].end_s == pytest.approx(6.0)


def test_no_segment_of_a_stream_crosses_a_cut(predictor: Predictor, tmp_path: Path) -> None:
    pictures = np.array([(250, 0, 0), (0, 0, 250), (0, 0, 0)], np.uint8).repeat(50, axis=0)
    film = write_video(tmp_path / "film.ts", pictures=(np.broadcast_to(shot, (48, 64, 3)) for shot in pictures))
    spans = {}
    for shots in (False, True):
        events = [*predictor.live(film, replace(SETTINGS, stride_s=0.2, reject=False, shots=shots))]
        spans[shots] = {(round(each.start_s, 1), round(each.end_s, 1)) for event, each in events if event == "close"}
    assert spans == {False: {(0.0, 6.0)}, True: {(0.0, 2.0), (2.0, 4.0), (4.0, 6.0)}}


def test_file_that_does_not_grow_well_is_one_line(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(write_video(tmp_path / "whole.mp4").read_bytes()[:3000])
    for name, told in (("film.mp4", "record fragmented mp4"), ("gone.ts", "No such file"), ("rtsp://[", "check the")):
        with pytest.raises(VideoError, match=told):
            next(predictor.live(name if "//" in name else tmp_path / name))


Frames = Sequence[tuple[float | None, int]]
"""Their times and sizes."""


class FakeStream(LiveVideo):
    """Connections, each a list of frames, or an error."""

    def __init__(self, *connections: Frames | str, wait: float = 0.0) -> None:
        super().__init__("rtsp://fake")
        self.__dict__.update(connections=iter(connections), wait=wait)

    @contextmanager
    def connect(self, *_: Any) -> Iterator[Any]:
        frames = next(self.__dict__["connections"], "nothing more")
        if isinstance(frames, str):
            raise VideoError(frames)
        yield _Connection(frames, self.__dict__["wait"])


class _Connection:
    fps, waits_for_key = 10.0, False

    def __init__(self, frames: Frames, wait: float) -> None:
        self._frames, self._wait = frames, wait

    def __iter__(self) -> Iterator[Any]:
        for number, (time, size) in enumerate(self._frames):
            sleep(self._wait)
            yield time, partial(torch.full, (3, size, size), number % 256, dtype=torch.uint8)


def seconds(start: float, count: int, size: int = 20) -> Frames:
    return [(start + n / 10, size) for n in range(count)]


def chosen(stream: FakeStream, until: int, notes: list[str]) -> list[LiveStep]:
    """Steps of 0.2 seconds, up to that of a number."""
    views, found = EvalViews(FrameSampling("segments", 4, 1), size=16), list[LiveStep]()
    for step in choose_frames(stream, views, lambda fps: 2 / fps, notes.append):
        found.append(step)
        if step.number >= until:
            break
    assert {each.frame.shape[1:] for each in found} == {(16, 16)}
    return found


@pytest.mark.parametrize("jump", [-500.0, 3600.0, None])
def test_time_goes_on_where_a_clock_jumps(jump: float | None) -> None:
    after: Frames = [(None, 30)] * 10 if jump is None else seconds(7.0 + jump, 10, 30)  # of another size
    notes = list[str]()
    steps = chosen(FakeStream([*seconds(5.0, 10), *after]), 9, notes)
    assert [each.number for each in steps] == [*range(10)]
    assert [int(each.frame[0, 0, 0]) for each in steps] == [*range(1, 20, 2)]
    assert {each.connection for each in steps} == {0}
    assert len([note for note in notes if "timestamps jump" in note]) == (jump is not None)


def test_stream_that_breaks_off_is_connected_again() -> None:
    notes = list[str]()
    steps = chosen(FakeStream(seconds(5.0, 10), "no route", "no route", seconds(9.0, 10)), 9, notes)
    assert [each.connection for each in steps] == [3 * (number >= 5) for number in range(len(steps))]
    assert [each.number for each in steps] == sorted({each.number for each in steps})
    assert [note.split(";")[0] for note in notes[:3]] == ["rtsp://fake broke off", "no route", "no route"]
    assert "connection 4" in notes[2]
    with pytest.raises(VideoError, match="nothing answers"):
        chosen(FakeStream("nothing answers", seconds(0.0, 10)), 9, notes)


def test_scan_that_is_too_slow_drops_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "BEHIND_S", 1.0)
    steps, notes, slept = [LiveStep(n, 0.2, 0, torch.empty(0)) for n in range(100)], list[str](), Event()

    def gated() -> Iterator[LiveStep]:
        yield steps[0]
        slept.wait()
        yield from steps[1:]

    blocks = read_ahead(gated(), True, notes.append)
    numbers = [each.number for each in next(blocks)]
    slept.set()
    sleep(0.5)
    numbers += [each.number for block in blocks for each in block]
    assert numbers[0] == 0
    assert numbers[-5:] == [95, 96, 97, 98, 99]
    assert len(numbers) < 100
    assert notes[0].endswith("chosen frames dropped so far: 1")
    assert [each.number for block in read_ahead(iter(steps), False, notes.append) for each in block] == [*range(100)]


def test_decoding_that_is_too_slow_waits_for_a_key_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "BEHIND_S", 0.5)
    notes = list[str]()
    chosen(FakeStream(seconds(0.0, 20), wait=0.2), 9, notes)
    assert sum("up to the next key frame" in note for note in notes) == 1


def by_brute_force(times: np.ndarray, curve: np.ndarray, high: float, low: float) -> list[tuple[float, float]]:
    """Spans of a curve that runs straight, found on a fine grid."""
    fine = np.linspace(0, times[-1], 100_001)
    values, spans, rose, is_open = np.interp(fine, times, curve), list[tuple[float, float]](), 0.0, False
    for n, value in enumerate(values):
        if value < low:
            if is_open:
                spans.append((rose, fine[n]))
            is_open = False
        elif n and values[n - 1] < low:
            rose = fine[n]
        is_open |= value >= high
    return spans + [(rose, times[-1])] * bool(is_open)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("width", [1, 3])
def test_hysteresis_equals_brute_force(seed: int, width: int) -> None:
    rng, settings = np.random.default_rng(seed), MomentsConfig(smooth=width * 0.25, threshold=0.6, edge=0.5)
    raw = rng.random((60, 2)).repeat(3, axis=0)
    segments, events = Hysteresis(("run", "sit"), (4,), 0.5, settings), list[live.Event]()
    for number, scores in enumerate(raw):
        events += segments.add(0, number, scores)
    count, half = len(raw), (width - 1) // 2
    curve = np.stack([raw[max(0, n - half) : n + width // 2 + 1].mean(axis=0) for n in range(count - width // 2)])
    times = (np.arange(len(curve)) + 2) * 0.5
    events += segments.end(times[-1])
    for k, name in enumerate(("run", "sit")):
        told = [each for each in events if each[1].label == name]
        assert [event for event, _ in told] == ["open", "close"] * (len(told) // 2)
        expected = by_brute_force(np.append(0, times), np.append(curve[0, k], curve[:, k]), 0.6, 0.3)
        found = [(each.start_s, each.end_s) for _, each in told[1::2]]
        np.testing.assert_allclose(found, expected, atol=0.01)
        assert all(0.6 <= each.score <= 1 for _, each in told)


def test_longer_windows_tell_nothing_twice() -> None:
    settings = MomentsConfig(smooth=0.0, threshold=0.5)
    segments, events = Hysteresis(("run",), (2, 8), 1.0, settings), list[live.Event]()
    short, long = np.zeros(60), np.zeros(60)
    short[10:14] = short[40:44] = long[16:26] = 0.9
    for step in range(60):
        events += segments.add(0, step, short[step : step + 1])
        events += segments.add(1, step - 6, long[step : step + 1]) if step >= 6 else ()
    assert [(event, round(each.start_s)) for event, each in events] == [
        *(("open", 10), ("close", 10), ("open", 40), ("close", 40))
    ]


class _Server(HTTPServer):
    refusals = 2
    heard: list[dict[str, Any]]


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.refusals -= 1
        self.server.heard += [content] * (self.server.refusals < 0)
        self.send_response(500 if self.server.refusals >= 0 else 204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def test_webhook_is_tried_again_and_never_stops_the_scan(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(live, "_POST_AFTER_S", (0.0, 0.01, 0.01))
    film, server = write_video(tmp_path / "film.ts", frames=60), _Server(("127.0.0.1", 0), _Handler)
    server.heard = []
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/alarm"
    command = f"moments {film} --live --model {model_folder} --lengths_s 0.5 --threshold 0 --reject false"
    assert main([*command.split(), "--webhook", address]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["open"] * 3 + ["close"] * 3
    assert lines[0].keys() == {"video", "event", "label", "start_s", "end_s", "score", "time"}
    assert server.heard == lines
    server.shutdown()
    server.server_close()
    assert main([*command.split(), "--webhook", address]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 6
    assert shown.err.count("was not told that") == 6


def test_followed_videos_have_no_table(refusal: Refusal, tmp_path: Path) -> None:
    words = ["moments", "rtsp://door/1", "--model", "miniature"]
    assert "--out needs a whole video" in refusal(*words, "--out", str(tmp_path / "x.csv"))
    assert "is no address" in refusal(*words, "--webhook", "door")
    assert "one video at a time" in refusal("moments", "camera:0", *words[1:])
