"""One pass over a video: chosen frames in, the scores of all windows out, in bounded memory.

Axes: n frames or windows, T frames of a window, K classes or queries.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vitaclip.data.reading.container import VideoError, as_video_error
from vitaclip.data.reading.path import VideoPath
from vitaclip.data.transforms import spatial_views
from vitaclip.evaluation.decision import Decider
from vitaclip.evaluation.scoring import ViewEncoder, fuse_views
from vitaclip.moments.windows import Windows

_BLOCK = 64
"""Steps that are read before the windows which they complete are scored."""
_PARTS, _MOST = 8, 4
"""Parts of each side of the picture, and how many of all tell of a motion."""


class KeptScores:
    """What a pass has found so far, in a file that a stopped pass goes on behind: a line that says what it is of, then
    after each block what is new, as numpy saves it."""

    def __init__(self, file: Path | None, about: Mapping[str, Any], width: int) -> None:
        """Take up the `width` scores a window that the file holds, if they are of the same; no file keeps nothing."""
        self._file = file
        self._blocks = [(np.empty((0, width), np.float32), np.empty((0, 2), np.float32))]
        self.width, self.num_windows, self.num_steps = width, 0, 0
        if file is None:
            return
        head = json.dumps(about, sort_keys=True).encode() + b"\n"
        if not file.exists():
            file.write_bytes(head)
        with file.open("rb+") as opened:
            if opened.readline() != head:
                opened.seek(0)
                opened.write(head)
            whole = opened.tell()
            with suppress(EOFError, ValueError):  # the end, or a block that was not written whole
                while True:
                    self._append(np.load(opened), np.load(opened))
                    whole = opened.tell()
            opened.truncate(whole)

    def add(self, scores: np.ndarray, changes: np.ndarray) -> None:
        """Keep those of a further block."""
        self._append(scores, changes)
        if self._file is not None:
            with self._file.open("ab") as opened:
                np.save(opened, scores)
                np.save(opened, changes)

    def _append(self, scores: np.ndarray, changes: np.ndarray) -> None:
        self._blocks.append((scores, changes))
        self.num_windows, self.num_steps = self.num_windows + len(scores), self.num_steps + len(changes)

    def joined(self) -> tuple[np.ndarray, np.ndarray]:
        """Scores (num_windows, K) of the windows in their order, and of each step, (num_steps, 2), the changes that
        `FrameRing.add` gives."""
        scores, changes = zip(*self._blocks, strict=True)
        return np.concatenate(scores), np.concatenate(changes)


def window_scores(deciders: Sequence[Decider], features: Tensor) -> Tensor:
    """Scores (n, K) in [0, 1] of windows with features (n, 1, ...): the probability of each class among all candidates
    of its decider and the background texts. A calibration scores those 0 that it finds strange."""
    columns = []
    for decider in deciders:
        scores = fuse_views(decider.model, features, decider.texts.features)
        if decider.rejects:
            evidence = decider.evidence(features, "softmax")
            if evidence.known is not None:
                scores = scores * evidence.known[:, None]
            if decider.calibration:
                scores = scores.masked_fill(decider.decide(scores, evidence).rejected[:, None], 0.0)
        columns.append(scores)
    return torch.cat(columns, dim=1)


class FrameRing:
    """The last frames of a video, and the scores of windows of them. If the image tower sees frames alone, each goes
    through it once, and a window is the pool and the head on what was kept of its frames; else each window's frames go
    through it, because what the tower makes of a frame depends on the others of its window."""

    def __init__(
        self,
        encoder: ViewEncoder,
        score: Callable[[Tensor], Tensor],
        offsets: Sequence[np.ndarray],
        size: int,
        batch_size: int,
    ) -> None:
        """Hold nothing yet.

        Args:
            encoder: the model.
            score: scores (n, K) of windows with features (n, 1, ...).
            offsets: of each length, the (T,) steps of a window whose frames it takes, counted from its first.
            size: S, side of the central square of a frame that the model sees.
            batch_size: windows that go through the model together.
        """
        self._encoder, self._score, self._offsets, self._batch_size = encoder, score, offsets, batch_size
        self._alone, self._size = encoder.model.sees_frames_alone, size
        self.start(0)

    def start(self, step: int) -> None:
        """Hold nothing, and take the next frame for that of this step."""
        self._held, self._first, self._last = torch.empty(0), step, torch.empty(0, dtype=torch.uint8)

    def add(self, frames: Sequence[Tensor]) -> np.ndarray:
        """Take in the next n frames, uint8 (3, H, W), resized. Gives (n, 2), in grey levels, by how much the mean
        colours of 8 x 8 parts of the picture change from the frame before, which noise does to pixels much more: the
        mean of the four parts that change most, which is large where something moves, and the median of all, which is
        small there and large where all of the picture is another, as at a cut. A first frame has none."""
        pixels = torch.stack([spatial_views(frame[None], self._size, 1)[0, 0] for frame in frames])
        items = self._encoder.tower_features(pixels[:, None, None])[:, 0, 0] if self._alone else pixels
        self._held = torch.cat([self._held.to(items), items]) if len(self._held) else items
        joined = torch.cat([self._last if len(self._last) else pixels[:1], pixels])
        self._last = pixels[-1:]
        parts = F.adaptive_avg_pool2d(joined.float(), _PARTS).diff(dim=0).abs().mean(dim=1).flatten(1)
        return torch.stack([parts.topk(_MOST).values.mean(dim=1), parts.median(dim=1).values], dim=1).numpy()

    def scores(self, starts: np.ndarray, lengths: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Batches of windows of one length: which of the given ones, and their scores (n, K). Windows are given by
        their first step and the number of their length."""
        for length, offsets in enumerate(self._offsets):
            chosen = np.flatnonzero(lengths == length)
            for some in (chosen[first : first + self._batch_size] for first in range(0, len(chosen), self._batch_size)):
                looks = self._held[torch.from_numpy(starts[some, None] + offsets - self._first)][:, None]
                read = looks if self._alone else self._encoder.tower_features(looks)
                yield some, self._score(self._encoder.encode_features(read)).numpy()

    def forget(self, before: int) -> None:
        """Drop the frames of all steps before this one."""
        if before > self._first:
            self._held, self._first = self._held[before - self._first :].clone(), before


def scan(
    path: VideoPath,
    windows: Windows,
    frames_from: Callable[[int], Iterator[Tensor]],
    ring: FrameRing,
    kept: KeptScores,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> str:
    """Score the windows of a video, and measure how much the picture changes; `kept` then has both. Each chosen frame
    is decoded once.

    Args:
        path: the video, for messages.
        windows: what is looked at.
        frames_from: the chosen frames, resized, from that of a step on.
        ring: scores windows.
        kept: what an earlier pass that was stopped has found.
        on_progress: called after each block of steps with those done so far, and with all.

    Returns:
        Why the video fails half-way, if it does.
    """
    done, total, error = kept.num_windows, len(windows.numbers), ""
    needed = np.append(np.minimum.accumulate(windows.starts[::-1])[::-1], total)  # from the window of that number on
    step = int(needed[done])
    ring.start(step)
    frames = frames_from(step)
    while step < total and not error:
        block, error = take_frames(frames, min(_BLOCK - step % _BLOCK, total - step), path)
        if not block:
            break
        changes = ring.add(block)[max(0, kept.num_steps - step) :]
        step += len(block)
        due = max(done, int(np.searchsorted(windows.ends, step, side="right")))  # of what is seen again none is new
        new = np.empty((due - done, kept.width), np.float32)
        for some, scores in ring.scores(windows.starts[done:due], windows.lengths[done:due]):
            new[some] = scores
        kept.add(new, changes)
        done = due
        ring.forget(min(step, int(needed[due])))
        on_progress(step, total)
    return error


def take_frames(frames: Iterator[Tensor], count: int, path: VideoPath) -> tuple[list[Tensor], str]:
    """The next frames, and why there are fewer than `count`."""
    taken = list[Tensor]()
    try:
        with as_video_error(path):
            for frame in islice(frames, count):
                taken.append(frame)
    except VideoError as error:
        return taken, str(error)
    return taken, ""
