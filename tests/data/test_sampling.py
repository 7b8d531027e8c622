"""Frame choice against brute force."""

import numpy as np
import pytest

from vitaclip.data.config import SamplingConfig
from vitaclip.data.sampling import FrameSampling, frame_sampling

TOTALS = [1, 2, 7, 8, 9, 17, 30, 113, 300]


def padded_views(total: int, num_frames: int, stride: int, views: int) -> list[list[int]]:
    """Oracle: the published evaluation, which pads the list of frames and slices it."""
    frames = list(range(total))
    span = (num_frames - 1) * stride + 1
    while len(frames) < span:
        frames.append(frames[-1])
    slide = len(frames) - span
    starts = [slide // 2] if views == 1 else [round(slide / (views - 1) * view) for view in range(views)]
    return [frames[start : start + span : stride] for start in starts]


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize(("num_frames", "stride"), [(1, 1), (8, 1), (8, 16), (4, 5)])
def test_dense_views_pad_and_slice(total: int, num_frames: int, stride: int) -> None:
    for views in (1, 2, 3, 4, 10):
        found = FrameSampling("dense", num_frames, stride).views(total, views)
        np.testing.assert_array_equal(found, padded_views(total, num_frames, stride, views))


@pytest.mark.parametrize(("total", "num_frames", "stride"), [(30, 4, 5), (16, 4, 5), (10, 4, 5), (5, 1, 3)])
def test_dense_training_reaches_every_start_and_no_other(total: int, num_frames: int, stride: int) -> None:
    rng = np.random.default_rng(0)
    seen = {tuple(FrameSampling("dense", num_frames, stride).train(total, rng)) for _ in range(600)}
    last_start = max(0, total - ((num_frames - 1) * stride + 1))
    offsets = range(0, num_frames * stride, stride)
    assert seen == {tuple(min(start + offset, total - 1) for offset in offsets) for start in range(last_start + 1)}


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("num_frames", [1, 3, 8])
def test_segments_take_one_frame_each(total: int, num_frames: int) -> None:
    rng, sampling = np.random.default_rng(0), FrameSampling("segments", num_frames)
    seen: list[set[int]] = [set() for _ in range(num_frames)]
    for _ in range(1500 if total < 50 else 20):
        for segment, index in enumerate(sampling.train(total, rng)):
            seen[segment].add(int(index))
    for segment in range(num_frames):
        start = segment * total // num_frames
        expected = set(range(start, (segment + 1) * total // num_frames)) or {start}
        assert seen[segment] <= expected
        assert total >= 50 or seen[segment] == expected


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("num_frames", [1, 3, 8])
@pytest.mark.parametrize("views", [1, 2, 3, 5])
def test_segment_views_divide_the_segments_evenly(total: int, num_frames: int, views: int) -> None:
    chosen = FrameSampling("segments", num_frames).views(total, views)
    assert chosen.shape == (views, num_frames)
    segments = np.arange(num_frames) + ((np.arange(views) + 0.5) / views)[:, None]
    # A point inside each segment; exact in float64 up to the smallest rounding.
    assert np.abs(chosen + 0.5 - total * segments / num_frames).max() <= 0.5 + 1e-9
    assert chosen.min() >= 0
    assert chosen.max() < total
    np.testing.assert_array_equal(np.sort(chosen.T.ravel()), chosen.T.ravel())


def test_middle_of_segments() -> None:
    np.testing.assert_array_equal(FrameSampling("segments", 8).views(80, 1), [[5, 15, 25, 35, 45, 55, 65, 75]])


def test_sampling_of_a_config() -> None:
    assert frame_sampling(SamplingConfig(kind="segments", stride=4), 6) == FrameSampling("segments", 6, 4)


def test_impossible_samplings_are_refused() -> None:
    with pytest.raises(ValueError, match="views=0"):
        FrameSampling().views(10, 0)
    with pytest.raises(ValueError, match="total=0"):
        FrameSampling().train(0, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"FrameSampling\.stride = 0: must be at least 1"):
        FrameSampling(stride=0)
