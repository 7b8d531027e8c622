"""One pass over a video: chosen frames in, the scores of all windows out, in bounded memory.

Axes: n frames or windows, T frames of a window, K classes or queries.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vitaclip.data.loading.clips import EvalViews
from vitaclip.data.reading.container import VideoError, as_video_error
from vitaclip.data.reading.source import VideoSource
from vitaclip.data.transforms.geometry import spatial_views
from vitaclip.evaluation.decision import Decider
from vitaclip.evaluation.scoring import ViewEncoder, fuse_views
from vitaclip.moments.windows import Windows

_BLOCK = 64
"""Steps that are read before the windows which they complete are scored."""
Progress = Callable[[int, int], None]
"""Called with the steps done so far, and with all."""


class KeptScores:
    """What a pass has found so far, in a file that a stopped pass goes on behind: a line that says what it is of, then
    after each block the new scores and changes as numpy saves them."""

    def __init__(self, file: Path | None, about: Mapping[str, Any], width: int) -> None:
        """Take up the `width` scores a window that the file holds, if they are of the same; no file keeps nothing."""
        self._file = file
        self.scores = np.empty((0, width), np.float32)
        """(W or fewer, K) of the windows, in their order."""
        self.changes = np.empty(0, np.float32)
        """(N or fewer,) mean change of a pixel from the frame before, in grey levels, of each step."""
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
        self.scores = np.concatenate([self.scores, scores])
        self.changes = np.concatenate([self.changes, changes])


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


def scan(
    source: VideoSource,
    windows: Windows,
    views: EvalViews,
    encoder: ViewEncoder,
    score: Callable[[Tensor], Tensor],
    kept: KeptScores,
    batch_size: int,
    on_progress: Progress = lambda done, total: None,
) -> str:
    """Score the windows of a video, and measure how much the picture changes; `kept` then has both.

    Each chosen frame is decoded once. If the image tower sees frames alone, each also goes through it once, and a
    window is the pool and the head on what was kept of its frames; else each window's frames go through it, because
    what the tower makes of a frame depends on the others of its window.

    Args:
        source: the video.
        windows: what is looked at.
        views: how frames come to the model's size.
        encoder: the model.
        score: scores (n, K) of windows with features (n, 1, ...).
        kept: what an earlier pass that was stopped has found.
        batch_size: windows that go through the model together.
        on_progress: called after each block of steps.

    Returns:
        Why the video fails half-way, if it does.
    """
    done, total, error = len(kept.scores), len(windows.numbers), ""
    needed = np.append(np.minimum.accumulate(windows.starts[::-1])[::-1], total)  # from the window of that number on
    held_from = step = int(needed[done])
    alone, size = encoder.model.sees_frames_alone, round(views.size / views.crop)
    frames = source.stream(windows.numbers[step:], partial(views.fit.resize, size=size))
    held, last = torch.empty(0), None
    while step < total and not error:
        block, error = _take(frames, min(_BLOCK - step % _BLOCK, total - step), source)
        if not block:
            break
        pixels = torch.stack([spatial_views(frame[None], views.size, 1)[0, 0] for frame in block])
        before = pixels[:1] if last is None else last
        changes = torch.cat([before, pixels]).short().diff(dim=0).abs().float().mean(dim=(1, 2, 3)).numpy()
        changes, last = changes[max(0, len(kept.changes) - step) :], pixels[-1:]
        step += len(block)
        items = encoder.tower_features(pixels[:, None, None])[:, 0, 0] if alone else pixels
        held = torch.cat([held.to(items), items]) if len(held) else items
        due = int(np.searchsorted(windows.ends, step, side="right"))
        new = np.empty((due - done, kept.scores.shape[1]), np.float32)
        for length, offsets in enumerate(windows.offsets):
            chosen = np.flatnonzero(windows.lengths[done:due] == length)
            for some in (chosen[first : first + batch_size] for first in range(0, len(chosen), batch_size)):
                looks = held[torch.from_numpy(windows.starts[done + some, None] + offsets - held_from)][:, None]
                read = looks if alone else encoder.tower_features(looks)
                new[some] = score(encoder.encode_features(read))
        kept.add(new, changes)
        done, keep_from = due, min(step, int(needed[due]))
        held, held_from = held[keep_from - held_from :].clone(), keep_from
        on_progress(step, total)
    return error


def _take(frames: Iterator[Tensor], count: int, source: VideoSource) -> tuple[list[Tensor], str]:
    """The next frames, and why there are fewer than `count`."""
    taken = list[Tensor]()
    try:
        with as_video_error(source.path):
            for frame in islice(frames, count):
                taken.append(frame)
    except VideoError as error:
        return taken, str(error)
    return taken, ""
