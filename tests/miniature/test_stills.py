"""Stills look like frames where the shape rests, and show their motion as a trail where it moves."""

import math
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from vitaclip.miniature import captions, stills, videos, world


def test_a_still_depends_on_its_number_alone() -> None:
    whole = stills.render_stills(3, 0, 6, 32)
    part = stills.render_stills(3, 4, 2, 32)
    assert whole.pixels.shape == (6, 3, 32, 32)
    assert whole.pixels.dtype == torch.uint8
    assert torch.equal(whole.pixels[4:], part.pixels)
    assert np.array_equal(whole.codes[4:], part.codes)
    assert not torch.equal(whole.pixels[0], stills.render_stills(4, 0, 1, 32).pixels[0])


def test_a_still_at_rest_looks_like_a_decoded_frame(tmp_path: Path) -> None:
    """The same scene once through H.264 and once through `halve_chroma`, both at the CLIP's size."""
    class_id, path = world.class_id_of("red heart moving left"), tmp_path / "clip.mp4"
    videos.write_clip(path, 0, class_id, 1, world.IMAGE_SIZE, world.FRAME_COUNT)
    with av.open(str(path)) as container:
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    drawn = world.render_video(0, class_id, 1)

    def small(frames: np.ndarray) -> np.ndarray:
        resized = stills.resize(torch.from_numpy(frames.copy()).permute(0, 3, 1, 2), 64)
        return resized.numpy().astype(float)

    shape = np.abs(small(drawn) - small(drawn[::-1])).max(axis=(0, 1)) > 20
    gap = np.abs(small(stills.halve_chroma(drawn)) - small(decoded))[:, :, shape].mean()
    assert gap < 3.0


def test_halve_chroma_keeps_grey_and_averages_colour() -> None:
    grey = np.repeat(np.random.default_rng(0).integers(0, 256, (1, 8, 8, 1)), 3, axis=3).astype(np.uint8)
    assert np.abs(stills.halve_chroma(grey).astype(int) - grey).max() <= 1
    red = np.zeros((1, 2, 2, 3), np.uint8)
    red[0, 0, 0, 0] = 200
    luma = 0.299 * 200
    expected = (200 - luma) / 4 + np.array([luma, 0, 0, 0])  # the red left in each pixel of the block
    assert np.abs(stills.halve_chroma(red)[0, ..., 0].ravel() - expected).max() <= 1


@pytest.mark.parametrize("motion", range(8))
def test_the_trail_lies_behind_the_motion(motion: int) -> None:
    """Where the light lies that the sharp shape does not explain."""
    scene = world.draw_scene(np.random.default_rng(8), 5, world.SHAPES.index("arrow"))
    dark = world.Scene(scene.shape, scene.paint, np.zeros_like(scene.background), *later_fields(scene))
    light = stills.trail_picture(dark, motion).astype(float).mean(axis=-1)
    sharp = world.render_frames(dark, dark.rest[None])[0].mean(axis=-1)
    trail = light * (sharp < 5)
    rows, columns = np.mgrid[:96, :96] + 0.5
    x, y, radius = dark.rest[0] * 96, dark.rest[1] * 96, math.exp(dark.rest[2]) * 96
    name = world.MOTIONS[motion]
    if name.startswith("moving"):
        offset = ((trail * (columns - x)).sum() / trail.sum(), (trail * (rows - y)).sum() / trail.sum())
        expected = {"left": (1, 0), "right": (-1, 0), "up": (0, 1), "down": (0, -1)}[name.split()[1]]
        assert np.dot(offset, expected) > 0.3 * radius
        assert abs(np.dot(offset, expected[::-1])) < 0.3 * radius
    elif name == "growing":
        assert trail.sum() < 0.02 * light.sum()
        centre = light[(np.hypot(rows - y, columns - x) < 0.25 * radius) & (sharp > 200)].mean()
        assert centre > 1.3 * light[(np.hypot(rows - y, columns - x) > 0.75 * radius) & (sharp > 200)].mean()
    elif name == "shrinking":
        assert trail.sum() > 0.1 * light.sum()
        assert trail[np.hypot(rows - y, columns - x) > radius + 1].sum() > 0.05 * light.sum()
    else:
        mirrored = stills.trail_picture(dark, motion ^ 1).astype(float).mean(axis=-1)
        assert np.abs(light - mirrored).sum() > 0.1 * light.sum()


def later_fields(scene: world.Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A resting pose in the middle of the image, turned by no symmetric angle."""
    return np.array([0.5, 0.5, math.log(0.2), 20.0]), scene.travel, np.full(4, 0.5)


def test_trails_end_at_rest_and_start_behind() -> None:
    scene = world.draw_scene(np.random.default_rng(0), 0, 0)
    for motion in range(8):
        path = stills.trail_path(scene, motion)
        coordinate = world.MOTION_COORDINATE[motion]
        assert np.array_equal(path[-1], scene.rest)
        assert (path[-1, coordinate] - path[0, coordinate]) * world.MOTION_SIGN[motion] > 0


def test_motion_is_independent_of_the_sharp_pose() -> None:
    """Place, size and direction of a still with a trail say nothing about the motion (chi-squared, 5 sigma)."""
    made = stills.render_stills(11, 0, 1200, 16)
    moving = made.codes[made.codes[:, captions.MOTION] != captions.NO_MOTION]
    assert abs(len(moving) / len(made) - stills.MOVING_SHARE) < 0.05
    for attribute in (captions.COLUMN, captions.ROW, captions.SIZE, captions.DIRECTION):
        table = np.zeros((8, len(list(captions.ATTRIBUTES.values())[attribute])))
        np.add.at(table, (moving[:, captions.MOTION], moving[:, attribute]), 1)
        expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()
        degrees = (table.shape[0] - 1) * (table.shape[1] - 1)
        assert ((table - expected) ** 2 / expected).sum() < degrees + 5 * math.sqrt(2 * degrees)


def test_a_pool_is_kept(tmp_path: Path) -> None:
    reports: list[tuple[int, int]] = []
    first = stills.render_pool(tmp_path, 3, 5, 32, progress=lambda done, total: reports.append((done, total)))
    again = stills.render_pool(tmp_path, 3, 5, 32, progress=lambda done, total: reports.append((done, total)))
    assert reports == [(5, 5)]
    expected = stills.render_stills(3, 0, 5, 32)
    for pool in (first, again):
        assert len(pool) == 5
        assert torch.equal(pool.pixels, expected.pixels)
        assert np.array_equal(pool.codes, expected.codes)
        assert np.array_equal(pool.poses, expected.poses)
