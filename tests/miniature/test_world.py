"""The world keeps its promises: no motion leaks through appearance, every pose is visible, draws are reproducible."""

import numpy as np
import pytest

from vitaclip.miniature import world

LOOKS = [(colour, (colour + 2) % 6) for colour in range(6)]


def draw(motion: int, number: int, colour: int = 0, shape: int = 1) -> tuple[world.Scene, np.ndarray]:
    scene = world.draw_scene(np.random.default_rng([5, motion, number]), colour, shape, image_size=32)
    return scene, world.motion_poses(scene, motion, world.frame_times(world.FRAME_COUNT))


@pytest.mark.parametrize("motion", range(0, 8, 2))
@pytest.mark.parametrize(("colour", "shape"), LOOKS)
def test_backwards_is_the_opposite_motion_exactly(motion: int, colour: int, shape: int) -> None:
    opposite = motion ^ 1
    times = world.frame_times(world.FRAME_COUNT)
    for number in range(3):
        scene = world.draw_scene(np.random.default_rng(number), colour, shape, image_size=48)
        forwards = world.render_frames(scene, world.motion_poses(scene, motion, times))
        backwards = world.render_frames(scene, world.motion_poses(scene, opposite, times))
        assert np.array_equal(forwards[::-1], backwards)
        assert not np.array_equal(forwards, backwards)


def test_draws_do_not_depend_on_the_look() -> None:
    one = world.draw_scene(np.random.default_rng(3), 0, 0)
    other = world.draw_scene(np.random.default_rng(3), 4, 5)
    assert np.array_equal(one.background, other.background)
    assert np.array_equal(one.rest, other.rest)


@pytest.mark.slow
def test_one_frame_says_nothing_about_the_motion() -> None:
    """Two-sample Kolmogorov-Smirnov: each motion's coordinates at a random frame against all the other motions'."""
    count = 1200
    samples = np.empty((8, count, 4))
    times = world.frame_times(world.FRAME_COUNT)
    for motion in range(8):
        for number in range(count):
            rng = np.random.default_rng([9, motion, number])
            scene = world.draw_scene(rng, 0, 0, image_size=2)
            samples[motion, number] = world.motion_poses(scene, motion, times[[rng.integers(len(times))]])[0]
    for motion in range(8):
        for coordinate in range(4):
            others = np.delete(samples, motion, axis=0)[..., coordinate].ravel()
            # A false alarm has a chance of 0.1 % in one comparison; the seeds are fixed.
            bound = 1.95 * np.sqrt(1 / count + 1 / others.size)
            assert largest_gap(samples[motion, :, coordinate], others) < bound, (world.MOTIONS[motion], coordinate)


def largest_gap(one: np.ndarray, other: np.ndarray) -> float:
    points = np.concatenate([one, other])
    ranks = [np.searchsorted(np.sort(sample), points, side="right") / len(sample) for sample in (one, other)]
    return float(np.abs(ranks[0] - ranks[1]).max())


@pytest.mark.parametrize("motion", range(8))
def test_exactly_one_coordinate_moves_linearly(motion: int) -> None:
    for number in range(20):
        scene, poses = draw(motion, number)
        steps = np.diff(poses, axis=0)
        moving = world.MOTION_COORDINATE[motion]
        assert np.allclose(steps[:, moving], steps[0, moving])
        assert np.sign(steps[0, moving]) == world.MOTION_SIGN[motion]
        assert np.isclose(abs(poses[-1, moving] - poses[0, moving]), scene.travel[moving])
        assert not np.delete(steps, moving, axis=1).any()


def test_signs_mean_what_the_names_say() -> None:
    """Seen from the pixels: where the shape's centre of mass, area and tip go."""
    name = "white arrow {}".format
    mass = {
        motion: centre_and_area(world.render_video(0, world.class_id_of(name(motion)), 0)) for motion in world.MOTIONS
    }
    assert mass["moving left"][-1, 0] < mass["moving left"][0, 0] - 20
    assert mass["moving right"][-1, 0] > mass["moving right"][0, 0] + 20
    assert mass["moving up"][-1, 1] < mass["moving up"][0, 1] - 20
    assert mass["moving down"][-1, 1] > mass["moving down"][0, 1] + 20
    assert mass["growing"][-1, 2] > 1.8 * mass["growing"][0, 2]
    assert mass["shrinking"][0, 2] > 1.8 * mass["shrinking"][-1, 2]


def test_clockwise_turns_the_tip_to_the_right() -> None:
    scene = world.draw_scene(np.random.default_rng(0), 0, world.SHAPES.index("arrow"))
    for angle, (side, sign) in {
        0: (world.Y, -1),
        90: (world.X, 1),
        180: (world.Y, 1),
        270: (world.X, -1),
    }.items():
        window, cover = world.coverage(scene.shape, np.array([0.5, 0.5, np.log(0.4), angle]), 96)
        rows, columns = np.mgrid[window]
        middle = {world.X: (cover * (columns + 0.5)).sum(), world.Y: (cover * (rows + 0.5)).sum()}[side] / cover.sum()
        assert (middle - 48) * sign > 1  # an arrow's head outweighs its shaft
    clockwise = world.MOTIONS.index("spinning clockwise")
    assert np.all(np.diff(world.motion_poses(scene, clockwise, world.frame_times(5))[:, world.ANGLE]) > 0)


def centre_and_area(video: np.ndarray) -> np.ndarray:
    """(F, 3): x and y of the white pixels' centre, and their number."""
    rows, columns = np.mgrid[: video.shape[1], : video.shape[2]]
    white = video.min(axis=-1) > 200
    return np.array([[columns[mask].mean(), rows[mask].mean(), mask.sum()] for mask in white])


def test_the_shape_is_fully_visible_in_every_frame() -> None:
    for motion in range(8):
        for number in range(40):
            _, poses = draw(motion, number)
            radius = np.exp(poses[:, world.LOG_RADIUS])
            assert radius.min() >= world.RADIUS_RANGE[0] - 1e-9
            assert radius.max() <= world.RADIUS_RANGE[1] + 1e-9
            assert np.all(poses[:, :2] >= radius[:, None] - 1e-9)
            assert np.all(poses[:, :2] <= 1 - radius[:, None] + 1e-9)


def test_names_and_split() -> None:
    names = world.class_names()
    trained, novel = world.trained_classes(), world.novel_classes()
    assert (len(names), len(trained), len(novel)) == (288, 216, 72)
    assert sorted(trained + novel) == sorted(names)
    looks = {world.appearance_of(name) for name in novel}
    assert len(looks) == 9
    assert looks.isdisjoint(world.appearance_of(name) for name in trained)
    for group in (trained, novel):
        assert {name.removeprefix(world.appearance_of(name) + " ") for name in group} == set(world.MOTIONS)
        for words in (world.COLOURS, world.SHAPES):
            assert all(any(word in name.split() for name in group) for word in words)
    assert [world.class_id_of(name) for name in names] == list(range(288))


def test_rendered_world_is_the_one_trained_on() -> None:
    """The shipped weights know this world. Means, because the sine of another CPU may move a byte."""
    means = [float(world.render_video(5, class_id, 1, 64, 8).mean()) for class_id in range(0, 288, 37)]
    assert world.render_video(1, 17, 3).shape == (24, 96, 96, 3)
    assert means == pytest.approx([43.6, 49.36, 66.01, 69.16, 56.72, 48.33, 36.83, 35.96], abs=0.01)
