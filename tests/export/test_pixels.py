"""Reading without torch gives the pixels of a training, bit by bit."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from video_files import write_video
from video_kinds import KINDS
from vitaclip.data import transforms
from vitaclip.data.loading.clips import EvalViews
from vitaclip.data.reading.container import VideoError
from vitaclip.data.sampling import FrameSampling
from vitaclip.data.transforms import FrameFit
from vitaclip.export.pixels import read_views, resize


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("hard", [False, True])
def test_resizing_equals_torch(interpolation: str, hard: bool) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        height, width, new_height, new_width = rng.integers(3, 200, 4).tolist()
        frame = rng.integers(256, size=(height, width, 3), dtype=np.uint8)
        frame = np.where(frame > 128, 255, 0).astype(np.uint8) if hard else frame
        shape = new_height, new_width, interpolation
        theirs = transforms.resize(torch.from_numpy(frame).permute(2, 0, 1)[None], *shape)[0].permute(1, 2, 0)
        assert np.array_equal(resize(frame, *shape), theirs)


def described(fit: FrameFit, sampling: FrameSampling) -> dict[str, Any]:
    return {
        "size": 32,
        "fit": "squash" if fit.squash else "crop",
        "interpolation": fit.interpolation,
        "sampling": vars(sampling),
    }


@pytest.mark.parametrize(
    "kind", ["h264_b_frames.mp4", "h264_open_gop.avi", "gif.gif", "vp9_odd_size.webm", "mpeg2.mpg"]
)
@pytest.mark.parametrize("sampling", [FrameSampling("dense", 4, 5), FrameSampling("segments", 4)])
def test_views_of_every_kind_are_the_same(kind: str, sampling: FrameSampling, tmp_path: Path) -> None:
    KINDS[kind].make(tmp_path / kind)
    fit = FrameFit(squash=sampling.kind == "segments", interpolation="bilinear")
    expected = EvalViews(sampling, 3, 1, 32, fit=fit).read(tmp_path / kind)
    assert np.array_equal(read_views(tmp_path / kind, described(fit, sampling), 3), expected)


@pytest.mark.parametrize(
    "shown", [{"rotation": 90}, {"rotation": -90, "mirror": True}, {"pixel_aspect": Fraction(4, 3)}]
)
def test_frames_are_shown_as_the_file_says(shown: dict[str, Any], tmp_path: Path) -> None:
    path, fit, sampling = write_video(tmp_path / "turned.mp4", frames=8, **shown), FrameFit(), FrameSampling(stride=1)
    expected = EvalViews(sampling, 1, 1, 32, fit=fit).read(path)
    assert np.array_equal(read_views(path, described(fit, sampling), 1), expected)


def test_what_is_no_video_is_one_line(tmp_path: Path) -> None:
    about = described(FrameFit(), FrameSampling())
    with pytest.raises(VideoError, match="does not exist: check the path"):
        read_views(tmp_path / "a.mp4", about, 1)
