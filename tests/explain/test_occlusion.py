"""Occlusion against the plain loop: one clip at a time, pixel for pixel."""

from itertools import combinations

import pytest
import torch
from torch import Tensor

from plain_occlusion import nearest_shown, occlude_plainly
from vitaclip.explain.occlusion import occlude_frames, stand_ins


def uneven(clips: Tensor) -> Tensor:
    """A made-up probability that no two clips share."""
    means = clips.double().mean(dim=(2, 3, 4))
    return torch.sigmoid((means * torch.tensor([0.9, -2.0, 1.7, 0.4, -0.6], dtype=torch.float64)).sum(dim=1))


def test_stand_ins_are_the_nearest_shown_frames() -> None:
    for num_frames in range(1, 7):
        for count in range(num_frames):
            for occluded in combinations(range(num_frames), count):
                expected = [nearest_shown(t, num_frames, set(occluded)) for t in range(num_frames)]
                assert stand_ins(num_frames, occluded) == expected
    assert stand_ins(5, [2]) == [0, 1, 1, 3, 4]


def test_probabilities_equal_the_plain_loop() -> None:
    clip = torch.randn(5, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    found = occlude_frames(clip, uneven)
    alone = [float(uneven(occlude_plainly(clip, {t})[None])) for t in range(5)]
    assert found.single == pytest.approx(alone, rel=1e-12)
    ranked: list[int] = []
    while len(ranked) < 5:
        ranked.append(min((t for t in range(5) if t not in ranked), key=alone.__getitem__))
    assert list(found.order) == ranked
    growing = [float(uneven(occlude_plainly(clip, set(ranked[:count]))[None])) for count in range(5)]
    assert found.curve == pytest.approx(growing, rel=1e-12)
    assert len(set(growing)) == 5


def test_a_still_video_has_no_important_frame() -> None:
    found = occlude_frames(torch.ones(4, 3, 2, 2), lambda clips: clips.mean(dim=(1, 2, 3, 4)))
    assert found.order == (0, 1, 2, 3)
    assert found.single == found.curve == (1.0,) * 4


def test_one_frame_cannot_be_occluded() -> None:
    with pytest.raises(ValueError, match=r"at least 2.*--views.frames"):
        occlude_frames(torch.ones(1, 3, 2, 2), uneven)
