"""What happens in a stream, told as it happens.

Axes: n frames or windows, L lengths, K classes or queries.
"""

import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from queue import Queue
from threading import Thread
from typing import Any, Literal, NamedTuple

import httpx2
import numpy as np
from torch import Tensor

from vitaclip.data.loading.clips import EvalViews
from vitaclip.data.reading.container import VideoError, as_video_error
from vitaclip.data.reading.live import GrowingVideo, LiveVideo
from vitaclip.evaluation.decision import Decider
from vitaclip.evaluation.scoring import ViewEncoder
from vitaclip.moments.config import MomentsConfig
from vitaclip.moments.scan import FrameRing, window_scores
from vitaclip.moments.segments import CUTS_AMONG, find_cuts
from vitaclip.moments.table import Segment
from vitaclip.moments.windows import choose_step, window_steps
from vitaclip.strings import one_line

BEHIND_S = 4.0
"""A scan that falls further behind its stream drops frames."""
_LEAPS_S = {True: 10.0, False: 600.0}
"""Timestamps that leap further are a mistake, in a stream or in a file; the latter may hold a pause."""
_LONGEST_WAIT_S = 32.0
_BLOCK = 64
_POST_AFTER_S = 0.0, 1.0, 4.0
_POST_TIMEOUT_S = 5.0
Event = tuple[Literal["open", "close"], Segment]
"""A segment that opens, with its end as far as it is known, or closes."""
Note = Callable[[str], None]
"""Called with a line on each thing that went wrong, also from another thread."""


class LiveStep(NamedTuple):
    """A chosen frame."""

    number: int
    """Of its step of the grid, from the start of the scan."""
    step_s: float
    """Seconds of a step."""
    connection: int
    """Which connection it came by: no window reaches across."""
    frame: Tensor
    """uint8 (3, H, W), resized."""


def choose_frames(
    video: LiveVideo, views: EvalViews, choose: Callable[[float], float], on_note: Note
) -> Iterator[LiveStep]:
    """The frames of a grid of times, whose step `choose` tells from the frames a second, as they come. A stream that
    breaks off is connected again, ever later after each failure, and time goes on by the clock on the wall.

    Raises:
        VideoError: nothing answers; or a file cannot be read any further.
    """
    streams, number, step_s, connections, failures = not isinstance(video, GrowingVideo), 0, 0.0, 0, 0
    last = wall = offset = 0.0
    while True:
        error, before = f"{video} broke off", number
        try:
            with as_video_error(video), video.connect(*views.options) as frames:
                step_s, frame_s = step_s or choose(frames.fps), 1 / frames.fps
                shown: Callable[[], Tensor] | None = None
                for stated, pixels in frames:
                    now = time.monotonic()
                    passed = max(frame_s, now - wall) if streams else frame_s
                    at = last + passed if stated is None or shown is None else stated + offset
                    if shown is None:
                        at, lag = at if number else 0.0, math.inf
                        number = max(number, math.ceil(at / step_s - 0.5 - 1e-6))
                    elif not last <= at <= last + _LEAPS_S[streams]:
                        on_note(f"{video}: timestamps jump by {at - last:.1f} s; time goes on without that")
                        at = last + passed
                    offset = at - (stated or 0.0)
                    while shown and (number + 0.5) * step_s + 1e-6 < at:
                        yield LiveStep(number, step_s, connections, views.resize(shown()[None])[0])
                        number += 1
                    lag = min(lag + 1e-3 * passed, now - at)  # the least, by clocks of which ours may be faster
                    if streams and now - at > lag + BEHIND_S and not frames.waits_for_key:
                        frames.waits_for_key = True
                        on_note(f"{video}: decoding falls behind; pictures up to the next key frame are dropped")
                    shown, last, wall = pixels, at, now
                while shown and number * step_s < last + frame_s - 1e-6 * step_s:
                    yield LiveStep(number, step_s, connections, views.resize(shown()[None])[0])
                    number += 1
        except VideoError as problem:
            if not streams or not step_s:
                raise
            error = str(problem)
        if not streams:
            return
        connections, failures = connections + 1, 0 if number > before else min(failures + 1, 5)
        wait = min(_LONGEST_WAIT_S, 2.0**failures)
        on_note(f"{error}; connection {connections + 1} in {wait:g} s")
        time.sleep(wait)


def read_ahead(steps: Iterator[LiveStep], drops: bool, on_note: Note) -> Iterator[list[LiveStep]]:
    """What a thread has read since the last block, at least one step. Where more than `BEHIND_S` waits, the oldest are
    dropped, or the thread waits."""
    waiting, closed = Queue[LiveStep | VideoError | None](0 if drops else _BLOCK), list[bool]()

    def read() -> None:
        dropped, last = 0, None
        try:
            for step in steps:
                waiting.put(step)
                if drops and waiting.qsize() * step.step_s > max(BEHIND_S, step.step_s):
                    waiting.get()
                    dropped += 1
                    if dropped.bit_count() == 1:  # 1, 2, 4, ...
                        on_note(f"the scan falls behind; chosen frames dropped so far: {dropped}")
                if closed:
                    return
        except VideoError as error:
            last = error
        waiting.put(last)

    Thread(target=read, daemon=True).start()
    try:
        while True:
            block = [waiting.get()]
            while not waiting.empty() and len(block) < _BLOCK:
                block.append(waiting.get())
            if found := [step for step in block if isinstance(step, LiveStep)]:
                yield found
            if isinstance(block[-1], VideoError):
                raise block[-1]
            if block[-1] is None:
                return
    finally:
        closed.append(True)
        while not waiting.empty():  # so that the thread goes on, to its end
            waiting.get()


class Hysteresis:
    """Segments from the curves of windows of several lengths, as scores come in.

    The score of a class is averaged over neighbouring windows of a length as `length_curves` does. A segment opens when
    one of these curves reaches `threshold`, from where it rose above `edge` times that, and closes when all that
    reached it have fallen below the latter. Longer windows know later: what begins before the end of a segment that is
    closed already is that one again, and not told. The score is the highest so far.
    """

    def __init__(self, names: Sequence[str], spans: Sequence[int], step_s: float, config: MomentsConfig) -> None:
        self._names, self._spans, self._step_s = names, spans, step_s
        self._high, self._low = config.threshold, config.edge * config.threshold
        self._width = max(1, round(config.smooth / config.hop))
        self._open, self._closed = dict[int, Segment](), np.full(len(names), -math.inf)
        self.start(0.0)

    def start(self, at: float) -> None:
        """Begin anew at a time."""
        shape = len(self._spans), len(self._names)
        self._rows = [deque[tuple[float, np.ndarray]](maxlen=self._width) for _ in self._spans]
        # A curve that is high at once has risen where it starts.
        self._then, self._before = [at] * shape[0], np.full(shape, self._low * (1 - 1e-6))
        self._since, self._on, self._again = np.full(shape, at), np.zeros(shape, bool), np.zeros(shape, bool)

    def end(self, at: float) -> Iterator[Event]:
        """Close what is open."""
        for k in [*self._open]:
            yield self._close(k, at)

    def _close(self, k: int, at: float) -> Event:
        self._closed[k] = at
        return "close", replace(self._open.pop(k), end_s=at)

    def add(self, length: int, start: int, scores: np.ndarray) -> Iterator[Event]:
        """Take in the scores (K,) of the next window of a length, which begins at a step."""
        rows, behind = self._rows[length], self._width // 2
        rows.append(((start + self._spans[length] / 2) * self._step_s, scores))
        if len(rows) <= behind:
            return
        at, curve = rows[-1 - behind][0], np.mean([each for _, each in rows], axis=0)
        on, again, before, then = self._on[length], self._again[length], self._before[length], self._then[length]
        share = (self._low - before) / np.where(curve == before, 1.0, curve - before)
        crossing = then + share.clip(0, 1) * (at - then)
        self._since[length] = np.where((before < self._low) & (curve >= self._low), crossing, self._since[length])
        for k in np.flatnonzero(~on & (curve >= self._high)).tolist():
            since = float(self._since[length, k])
            on[k], again[k] = True, k not in self._open and since < self._closed[k]
            if not again[k] and k not in self._open:
                self._open[k] = Segment(since, at, self._names[k], float(curve[k]))
                yield "open", self._open[k]
        for k in np.flatnonzero(on & ~again).tolist():
            known, falls = self._open[k], curve[k] < self._low
            since, until = max(float(self._since[length, k]), self._closed[k]), float(crossing[k]) if falls else at
            spans = min(known.start_s, since), max(known.end_s, until)
            self._open[k] = Segment(*spans, known.label, max(known.score, float(curve[k])))
            on[k] = not falls
            if not (self._on[:, k] & ~self._again[:, k]).any():
                yield self._close(k, spans[1])
        on &= curve >= self._low
        self._before[length], self._then[length] = curve, at


def live_moments(
    video: LiveVideo,
    views: EvalViews,
    encoder: ViewEncoder,
    deciders: Sequence[Decider],
    config: MomentsConfig,
    *,
    batch_size: int,
    on_note: Note,
) -> Iterator[Event]:
    """Search a stream as it comes; see `Predictor.live`. Arguments as of `find_moments`."""
    num_frames, names = views.sampling.num_frames, [name for decider in deciders for name in decider.texts.names]
    steps = choose_frames(video, views, partial(choose_step, config, num_frames=num_frames), on_note)
    connection, done, base, distances = -1, 0, 0, np.empty(0)
    for block in read_ahead(steps, not isinstance(video, GrowingVideo), on_note):
        while block:
            first = block.pop(0)
            if connection < 0:
                step_s = first.step_s
                spans, offsets = window_steps(config, step_s, num_frames)
                hops = [max(1, round(span * config.hop)) for span in spans]
                score = partial(window_scores, deciders)
                ring = FrameRing(encoder, score, offsets, views.size, batch_size)
                segments = Hysteresis(names, spans, step_s, config)
            if first.connection != connection or first.number - done > spans[-1]:
                yield from segments.end(done * step_s)
                connection, base, done, distances = first.connection, first.number, first.number, np.empty(0)
                segments.start(base * step_s)
                ring.start(base)
            frames = [first.frame] * (first.number - done + 1)  # it stands in for those that were dropped
            while block and block[0].number == done + len(frames) and block[0].connection == connection:
                frames.append(block.pop(0).frame)
            distances = np.append(distances, ring.add(frames)[:, 1])
            new = find_cuts(distances, spans[0]) - len(distances) + len(frames)
            distances = distances[-CUTS_AMONG - 2 * spans[0] :]
            cuts = (done + new[new >= 0]).tolist() if config.shots else []
            for begin, stop in itertools.pairwise([done, *cuts, done + len(frames)]):
                if begin in cuts:
                    yield from segments.end(begin * step_s)
                    segments.start(begin * step_s)
                    base = begin
                due = [(n, end - span) for end in range(begin + 1, stop + 1) for n, span in enumerate(spans)]
                due = [(n, start) for n, start in due if start >= base and (start - base) % hops[n] == 0]
                lengths, starts = np.array(due, np.int64).reshape(-1, 2).T
                found = dict[int, np.ndarray]()
                for some, scores in ring.scores(starts, lengths):
                    found |= zip(some.tolist(), scores, strict=True)
                for number, (length, start) in enumerate(due):
                    yield from segments.add(length, start, found[number])
            done += len(frames)
            ring.forget(max(base, done - spans[-1]))
    if connection >= 0:
        yield from segments.end(done * step_s)


def post_event(url: str, content: Mapping[str, Any], on_note: Note) -> None:
    """Post JSON, three times at most."""
    reason = ""
    for wait in _POST_AFTER_S:
        time.sleep(wait)
        try:
            httpx2.post(url, json=content, timeout=_POST_TIMEOUT_S).raise_for_status()
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            reason = one_line(error)
        else:
            return
    on_note(f"{url} was not told that {content['label']!r} {content['event']}s ({reason})")
