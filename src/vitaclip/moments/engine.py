"""What happens when in a video: windows, scores and segments put together."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from vitaclip.data.loading.clips import EvalViews
from vitaclip.data.reading.container import as_video_error
from vitaclip.data.reading.decode import open_video
from vitaclip.data.reading.path import VideoPath
from vitaclip.evaluation.decision import Decider
from vitaclip.evaluation.feature_cache import file_state
from vitaclip.evaluation.scoring import ViewEncoder
from vitaclip.moments.config import MomentsConfig
from vitaclip.moments.scan import FrameRing, KeptScores, scan, window_scores
from vitaclip.moments.segments import find_segments
from vitaclip.moments.table import Moments
from vitaclip.moments.windows import plan_windows

_EARLY = 1.02, 1.0
"""A video ends early if what it states as its length is beyond its last frame by this factor and so many seconds."""


def find_moments(
    path: VideoPath,
    views: EvalViews,
    encoder: ViewEncoder,
    deciders: Sequence[Decider],
    config: MomentsConfig,
    *,
    batch_size: int,
    scores_file: Path | None = None,
    about: Mapping[str, Any] | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Moments:
    """Search one video; see `Predictor.moments`.

    Args:
        path: the video.
        views: how its frames come to the model's size, and how many make a window.
        encoder: the model.
        deciders: with classes that exclude each other, or one for each query.
        config: windows and segments.
        batch_size: windows that go through the model together.
        scores_file: keeps the scores.
        about: what decides the scores beside the video and the windows; scores of other things are not taken up.
        on_progress: called with the chosen frames done, and with all.
    """
    names = tuple(name for decider in deciders for name in decider.texts.names)
    with open_video(path, *views.options) as source:
        with as_video_error(path):
            duration, fps = float(source.times[-1]) + 1 / source.fps, source.fps
        windows = plan_windows(source, config, views.sampling.num_frames)
        of = {"file": file_state(path), "windows": windows.digest} | dict(about or {})
        kept = KeptScores(scores_file, of, len(names))
        score = partial(window_scores, deciders)
        ring = FrameRing(encoder, score, windows.offsets, views.size, batch_size)

        def frames_from(step: int) -> Iterator[Tensor]:
            return source.stream(windows.numbers[step:], views.resize)

        error, note = scan(path, windows, frames_from, ring, kept, on_progress), source.note
        if not error and source.stated_seconds > _EARLY[0] * duration + _EARLY[1]:
            error = f"{path} states {source.stated_seconds:.1f} seconds and ends at {duration:.1f}: copy it again"
    seen = kept.num_steps
    if seen < len(windows.times):  # the video failed half-way
        duration = min(duration, seen * windows.step_s)
    scores, changes = kept.joined()
    exclusive = len(deciders) == 1
    segments, curves = find_segments(windows, scores, changes, duration, names, config, exclusive=exclusive)
    return Moments(path, duration, fps, names, segments, windows.times[:seen], curves, error, note)
