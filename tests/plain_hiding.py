"""Hiding frames of a clip (T, 3, H, W) by a plain loop, as an oracle."""

from torch import Tensor


def nearest_shown(t: int, num_frames: int, hidden: set[int]) -> int:
    """Walk away from t, a frame further each time, backwards first."""
    for distance in range(num_frames):
        for other in (t - distance, t + distance):
            if 0 <= other < num_frames and other not in hidden:
                return other
    raise AssertionError("all are hidden")


def plain_hide(clip: Tensor, hidden: set[int]) -> Tensor:
    result = clip.clone()
    for t in range(len(clip)):
        result[t] = clip[nearest_shown(t, len(clip), hidden)]
    return result
