"""The miniature world: coloured shapes that move over textured backgrounds, rendered by numpy alone.

Axes: F frames (or poses), H x W pixels (both are ``image_size``), 3 the red, green and blue channels.

A shape has a pose of four coordinates ``(x, y, log_radius, angle)``: x and y are the centre in fractions of the
image's side, from its top left corner; log_radius is the natural logarithm of the shape's radius in the same unit;
angle is in degrees, clockwise from upright. A video moves exactly one of them, linearly.

No motion can be guessed from appearance, by construction:

* played backwards, a video is exactly a video of the opposite motion, with the same probability. Whatever ignores the
  order of the frames cannot tell left from right, up from down, growing from shrinking, clockwise from
  counterclockwise;
* a coordinate that rests is drawn as a moving one would be met at a frame chosen at random, so that a single frame
  says nothing about the motion at all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Float64Array = NDArray[np.float64]
ByteArray = NDArray[np.uint8]

IMAGE_SIZE = 96
FRAME_COUNT = 24
FRAMES_PER_SECOND = 12

# Chosen to stay apart after the chroma planes are halved. All are brighter than any background, so that a shape's
# outline shows in the same way whatever its colour: a small network sees shapes much sooner.
COLOUR_VALUES: dict[str, tuple[float, float, float]] = {
    "red": (1.00, 0.24, 0.20),
    "green": (0.18, 0.88, 0.28),
    "blue": (0.25, 0.45, 1.00),
    "yellow": (1.00, 0.90, 0.12),
    "purple": (0.85, 0.30, 1.00),
    "white": (1.00, 1.00, 1.00),
}
COLOURS = tuple(COLOUR_VALUES)
SHAPES = ("arrow", "heart", "moon", "flag", "fish", "key")
MOTIONS = (
    *("moving left", "moving right", "moving up", "moving down"),
    *("growing", "shrinking", "spinning clockwise", "spinning counterclockwise"),
)

X, Y, LOG_RADIUS, ANGLE = range(4)
# The coordinate that each motion changes, and whether it grows or falls with time.
MOTION_COORDINATE = (X, X, Y, Y, LOG_RADIUS, LOG_RADIUS, ANGLE, ANGLE)
MOTION_SIGN = (-1.0, 1.0, -1.0, 1.0, 1.0, -1.0, 1.0, -1.0)

RADIUS_RANGE = (0.13, 0.26)
# The centre keeps one largest radius away from the border: every shape is fully visible in every frame. Angles keep to
# half a circle: on a whole one no frame has an angle that is larger than another's, and turning is not a direction.
COORDINATE_LOW = np.array([RADIUS_RANGE[1], RADIUS_RANGE[1], np.log(RADIUS_RANGE[0]), -90.0])
COORDINATE_HIGH = np.array([1 - RADIUS_RANGE[1], 1 - RADIUS_RANGE[1], np.log(RADIUS_RANGE[1]), 90.0])
# How far a moving coordinate travels in one video (least, most).
TRAVEL_LOW = np.array([0.37, 0.37, np.log(1.70), 80.0])
TRAVEL_HIGH = np.array([0.45, 0.45, np.log(1.90), 100.0])

_TABLE_SIZE = 512
_TABLE_EXTENT = 1.15


def class_names() -> tuple[str, ...]:
    """All 288 names, such as "red arrow moving left"; a name's place in the tuple is its class id."""
    return tuple(f"{colour} {shape} {motion}" for colour in COLOURS for shape in SHAPES for motion in MOTIONS)


def is_novel(class_id: int) -> bool:
    """Whether the colour of a class is never trained with its shape, in any motion (9 of the 36 pairs).

    A diagonal and half of another one: every colour and every shape loses one or two of its six partners.
    """
    colour, shape, _ = class_parts(class_id)
    return shape == colour or (colour % 2 == 0 and shape == (colour + 3) % len(SHAPES))


def trained_classes() -> tuple[str, ...]:
    """The 216 names that may be trained on, in the order of `class_names`."""
    return tuple(name for class_id, name in enumerate(class_names()) if not is_novel(class_id))


def novel_classes() -> tuple[str, ...]:
    """The 72 names of never trained pairs of colour and shape, with all eight motions."""
    return tuple(name for class_id, name in enumerate(class_names()) if is_novel(class_id))


def class_parts(class_id: int) -> tuple[int, int, int]:
    """Class id -> the indices of its colour, shape and motion."""
    appearance, motion = divmod(class_id, len(MOTIONS))
    colour, shape = divmod(appearance, len(SHAPES))
    return colour, shape, motion


def class_id_of(name: str) -> int:
    """The id of a class name."""
    return class_names().index(name)


def appearance_of(name: str) -> str:
    """The colour and the shape of a class name.

    >>> appearance_of("red arrow moving left")
    'red arrow'
    """
    return " ".join(name.split()[:2])


@dataclass(frozen=True)
class Scene:
    """Everything about a video except which way it moves."""

    shape: int
    """Index into `SHAPES`."""
    paint: FloatArray
    """(3,) colour of the shape, 0 to 1."""
    background: FloatArray
    """(H, W, 3), 0 to 1."""
    centre: Float64Array
    """(4,) the middle of each coordinate's path."""
    travel: Float64Array
    """(4,) how far each coordinate goes if it is the one that moves."""
    rest_time: Float64Array
    """(4,) the time, 0 to 1, whose place on the path a coordinate keeps if it is not."""

    @property
    def rest(self) -> Float64Array:
        """(4,) the pose with every coordinate at rest."""
        return self.centre + (self.rest_time - 0.5) * self.travel


def frame_times(frame_count: int) -> Float64Array:
    """(F,) times from 0 to 1, exactly symmetric about one half."""
    steps = np.arange(frame_count)
    # Computed as an offset from the middle, so that 1 - time of the mirrored frame is equal to the last bit.
    return 0.5 + (2 * steps - (frame_count - 1)) / (2.0 * max(frame_count - 1, 1))


def draw_scene(
    rng: np.random.Generator, colour: int, shape: int, image_size: int = IMAGE_SIZE, frame_count: int = FRAME_COUNT
) -> Scene:
    """Draw what surrounds a motion. The draws are the same ones whatever the colour, the shape and the motion.

    The centre of each path is uniform among those that keep the whole path inside `COORDINATE_LOW` and
    `COORDINATE_HIGH`.
    """
    travel = rng.uniform(TRAVEL_LOW, TRAVEL_HIGH)
    low, high = COORDINATE_LOW + travel / 2, COORDINATE_HIGH - travel / 2
    centre = rng.uniform(low, high)
    rest_time = frame_times(frame_count)[rng.integers(frame_count, size=4)]
    paint = np.array(COLOUR_VALUES[COLOURS[colour]]) * rng.uniform(0.9, 1.0)
    background = draw_background(rng, image_size)
    return Scene(shape, paint.astype(np.float32), background, centre, travel, rest_time)


def motion_poses(scene: Scene, motion: int, times: Float64Array) -> Float64Array:
    """The poses (F, 4) at times (F,) from 0 (start of the path) to 1 (its end)."""
    poses, coordinate = np.tile(scene.rest, (len(times), 1)), MOTION_COORDINATE[motion]
    path = MOTION_SIGN[motion] * (times - 0.5) * scene.travel[coordinate]
    poses[:, coordinate] = scene.centre[coordinate] + path
    return poses


def render_video(
    seed: int, class_id: int, index: int, image_size: int = IMAGE_SIZE, frame_count: int = FRAME_COUNT
) -> ByteArray:
    """The frames of one video, a pure function of the arguments: (F, H, W, 3), uint8."""
    colour, shape, motion = class_parts(class_id)
    rng = np.random.default_rng([seed, class_id, index])
    scene = draw_scene(rng, colour, shape, image_size, frame_count)
    return render_frames(scene, motion_poses(scene, motion, frame_times(frame_count)))


def render_frames(scene: Scene, poses: Float64Array) -> ByteArray:
    """Paint the shape in each of F poses (F, 4) over the scene's background: uint8 (F, H, W, 3)."""
    image_size = scene.background.shape[0]
    still = to_bytes(scene.background)
    frames = np.repeat(still[None], len(poses), axis=0)
    for frame, pose in zip(frames, poses, strict=True):
        window, cover = coverage(scene.shape, pose, image_size)
        below = scene.background[window]
        frame[window] = to_bytes(below + cover[..., None] * (scene.paint - below))
    return frames


def to_bytes(image: FloatArray) -> ByteArray:
    """Values from 0 to 1 -> uint8, rounded to the nearest."""
    return (image * 255.0 + 0.5).astype(np.uint8)


def coverage(shape: int, pose: Float64Array, image_size: int) -> tuple[tuple[slice, slice], FloatArray]:
    """How much of each pixel the shape covers in a pose (4,), antialiased.

    Returns:
        The window of rows and columns that the shape can touch, and the coverage in it, 0 to 1.
    """
    radius = float(np.exp(pose[LOG_RADIUS])) * image_size
    rows, columns = (_window(float(pose[axis]) * image_size, radius, image_size) for axis in (Y, X))
    down = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5 - pose[Y] * image_size) / radius
    right = (np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5 - pose[X] * image_size) / radius
    sine, cosine = np.sin(np.deg2rad(pose[ANGLE])), np.cos(np.deg2rad(pose[ANGLE]))
    # In the shape's own frame: across runs to its right, along runs to its top.
    across = (right * cosine)[None, :] + (down * sine)[:, None]
    along = (right * sine)[None, :] - (down * cosine)[:, None]
    distance = _distance_table(shape)[_table_index(along), _table_index(across)] * np.float32(radius)
    return (rows, columns), np.clip(0.5 - distance, 0.0, 1.0)


def _window(centre: float, radius: float, image_size: int) -> slice:
    start, stop = int(np.floor(centre - radius - 1)), int(np.ceil(centre + radius + 1))
    return slice(min(max(start, 0), image_size), min(max(stop, 0), image_size))


def _table_index(position: Float64Array) -> NDArray[np.intp]:
    scale = (_TABLE_SIZE - 1) / (2 * _TABLE_EXTENT)
    return np.clip((position + _TABLE_EXTENT) * scale + 0.5, 0, _TABLE_SIZE - 1).astype(np.intp)


def draw_background(rng: np.random.Generator, image_size: int) -> FloatArray:
    """A low-contrast texture (H, W, 3) of random hue, between 0.02 and 0.4: a gradient, smooth noise and stripes."""
    down, right = np.meshgrid(*(np.linspace(-0.5, 0.5, image_size, dtype=np.float32),) * 2, indexing="ij")
    gradient_angle, stripe_angle = rng.uniform(0, 2 * np.pi, size=2)
    texture = rng.uniform(0, 0.12) * (np.cos(gradient_angle) * right + np.sin(gradient_angle) * down)
    wave = 2 * np.pi * rng.uniform(3, 9) * (np.cos(stripe_angle) * right + np.sin(stripe_angle) * down)
    texture = texture + rng.uniform(0, 0.025) * np.sin(wave + rng.uniform(0, 2 * np.pi))
    texture = texture + rng.uniform(0, 0.04) * _smooth_noise(rng, cells=int(rng.integers(4, 11)), image_size=image_size)
    base = rng.uniform(0.08, 0.24) + rng.uniform(-0.05, 0.05, size=3)
    tint = 1.0 + rng.uniform(-0.25, 0.25, size=3)
    return np.clip(base + texture[..., None] * tint, 0.02, 0.4).astype(np.float32)


def _smooth_noise(rng: np.random.Generator, cells: int, image_size: int) -> FloatArray:
    """(H, W) of standard normal values on a coarse grid, interpolated smoothly."""
    grid = rng.standard_normal((cells, cells)).astype(np.float32)
    position = np.linspace(0, cells - 1, image_size)
    left = np.minimum(position.astype(np.intp), cells - 2)
    fraction = position - left
    ease = fraction * fraction * (3 - 2 * fraction)
    mix = np.zeros((image_size, cells), dtype=np.float32)
    mix[np.arange(image_size), left] = 1 - ease
    mix[np.arange(image_size), left + 1] = ease
    return (mix @ grid @ mix.T).astype(np.float32)


# Each lies in the unit disc around the centre that it turns about, upright, with y upwards. None looks the same after
# any turn short of a full one, so that every angle is visible.

_ARROW = [(0, 1), (0.78, 0.1), (0.27, 0.1), (0.27, -0.95), (-0.27, -0.95), (-0.27, 0.1), (-0.78, 0.1)]
_FLAG = [(-0.55, 0.83), (0.85, 0.5), (-0.27, -0.02), (-0.27, -0.95), (-0.55, -0.83)]
_FISH_TAIL = [(0, -0.2), (0.68, -0.72), (0.3, -0.9), (0, -0.62), (-0.3, -0.9), (-0.68, -0.72)]
_KEY_SHAFT = [(-0.15, 0.1), (0.15, 0.1), (0.15, -0.3), (0.55, -0.3), (0.55, -0.52), (0.15, -0.52), (0.15, -0.73),
              (0.55, -0.73), (0.55, -0.83), (0.1, -0.97), (-0.15, -0.97)]  # fmt: skip


@cache
def _distance_table(shape: int) -> FloatArray:
    """Signed distance to the shape's outline (negative inside) on a grid: rows run upwards, columns to the right."""
    axis = np.linspace(-_TABLE_EXTENT, _TABLE_EXTENT, _TABLE_SIZE)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return _DISTANCES[SHAPES[shape]](x, y).astype(np.float32)


def _disc(x: Float64Array, y: Float64Array, x0: float, y0: float, radius: float) -> Float64Array:
    return np.hypot(x - x0, y - y0) - radius


def _heart(x: Float64Array, y: Float64Array) -> Float64Array:
    turn = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    right = 16 * np.sin(turn) ** 3
    up = 13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)
    return _polygon([(float(a) / 18.0, float(b + 2.2) / 18.0) for a, b in zip(right, up, strict=True)], x, y)


def _moon(x: Float64Array, y: Float64Array) -> Float64Array:
    return np.maximum(_disc(x, y, 0, 0, 1), -_disc(x, y, 0, 0.55, 0.82))


def _fish(x: Float64Array, y: Float64Array) -> Float64Array:
    half_width, half_height = 0.5, 0.72  # of the body, the overlap of two discs: pointed at the top and at the bottom
    offset = (half_height**2 - half_width**2) / (2 * half_width)
    sides = (_disc(x, y - 0.28, side * offset, 0, offset + half_width) for side in (1, -1))
    return np.minimum(np.maximum(*sides), _polygon(_FISH_TAIL, x, y))


def _key(x: Float64Array, y: Float64Array) -> Float64Array:
    ring = np.maximum(_disc(x, y, 0, 0.48, 0.5), -_disc(x, y, 0, 0.48, 0.22))
    return np.minimum(ring, _polygon(_KEY_SHAFT, x, y))


def _polygon(corners: list[tuple[float, float]], x: Float64Array, y: Float64Array) -> Float64Array:
    """Signed distance to a closed polygon: the nearest edge, with the sign from the even-odd rule."""
    nearest = np.full(x.shape, np.inf)
    inside = np.zeros(x.shape, dtype=bool)
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        edge_x, edge_y = x1 - x0, y1 - y0
        length_squared = edge_x**2 + edge_y**2
        along = np.clip(((x - x0) * edge_x + (y - y0) * edge_y) / length_squared, 0, 1)
        nearest = np.minimum(nearest, np.hypot(x - x0 - along * edge_x, y - y0 - along * edge_y))
        if y0 != y1:
            crossing = (y0 > y) != (y1 > y)
            inside ^= crossing & (x < x0 + (y - y0) * edge_x / edge_y)
    return np.where(inside, -nearest, nearest)


_DISTANCES: dict[str, Callable[[Float64Array, Float64Array], Float64Array]] = {
    "arrow": partial(_polygon, _ARROW),
    "heart": _heart,
    "moon": _moon,
    "flag": partial(_polygon, _FLAG),
    "fish": _fish,
    "key": _key,
}
