"""Occluding frames of a clip (T, 3, H, W) by a plain loop, as an oracle."""

from torch import Tensor


def nearest_shown(t: int, num_frames: int, occluded: set[int]) -> int:
    """Walk away from t, a frame further each time, backwards first."""
    for distance in range(num_frames):
        for other in (t - distance, t + distance):
            if 0 <= other < num_frames and other not in occluded:
                return other
    raise AssertionError("all are occluded")


def occlude_plainly(clip: Tensor, occluded: set[int]) -> Tensor:
    result = clip.clone()
    for t in range(len(clip)):
        result[t] = clip[nearest_shown(t, len(clip), occluded)]
    return result
