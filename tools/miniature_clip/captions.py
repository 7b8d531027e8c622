"""What can be said about a still, and the captions that say a part of it.

A still's facts are a row of codes, one for each attribute of `ATTRIBUTES`; a caption states some of them.
Axes: S stills, A attributes, U captions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vitaclip.miniature import world

Codes = NDArray[np.int8]

COLUMNS = ("left", "middle", "right")
ROWS = ("top", "middle", "bottom")
SIZES = ("tiny", "small", "medium", "big", "huge")
DIRECTIONS = ("left", "up left", "up", "up right", "right")

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "colour": world.COLOURS,
    "shape": world.SHAPES,
    "motion": world.MOTIONS,
    "column": COLUMNS,
    "row": ROWS,
    "size": SIZES,
    "direction": DIRECTIONS,
}
COLOUR, SHAPE, MOTION, COLUMN, ROW, SIZE, DIRECTION = range(len(ATTRIBUTES))
# In a still's codes: it shows no motion. In a caption's codes: it says nothing about the attribute.
NO_MOTION = len(world.MOTIONS)
UNSAID = -1

TEMPLATES = (
    "{}",
    "{}.",
    "a photo of {}",
    "a photo of {}.",
    "a picture of {}",
    "an image of {}.",
    "a video of {}.",
    "a frame of {}",
    "there is {}",
)


@dataclass(frozen=True)
class Caption:
    """A text and the codes (A,) that it states, `UNSAID` elsewhere."""

    text: str
    codes: tuple[int, ...]


def scene_codes(colour: int, shape: int, motion: int | None, pose: NDArray[np.float64]) -> Codes:
    """The facts of a still whose sharp shape has this pose, (A,)."""
    share = (pose - world.COORDINATE_LOW) / (world.COORDINATE_HIGH - world.COORDINATE_LOW)
    words = {world.X: COLUMNS, world.Y: ROWS, world.LOG_RADIUS: SIZES, world.ANGLE: DIRECTIONS}
    column, row, size, direction = (
        int(np.clip(share[axis] * len(levels), 0, len(levels) - 1)) for axis, levels in words.items()
    )
    return np.array(
        [colour, shape, NO_MOTION if motion is None else motion, column, row, size, direction], dtype=np.int8
    )


def place_words(column: int, row: int) -> str:
    """Where something is; either code may be `UNSAID`."""
    if column == UNSAID:
        return "in the middle row" if ROWS[row] == "middle" else f"at the {ROWS[row]}"
    if row == UNSAID:
        return "in the middle column" if COLUMNS[column] == "middle" else f"on the {COLUMNS[column]}"
    if ROWS[row] == "middle":
        return "in the middle" if COLUMNS[column] == "middle" else f"at the {COLUMNS[column]}"
    return f"at the {ROWS[row]}" + (" middle" if COLUMNS[column] == "middle" else f" {COLUMNS[column]}")


def draw_caption(rng: np.random.Generator, codes: Codes) -> Caption:
    """Say a random part of the truth about one still.

    A third of the stills with motion get exactly their class name in a template.
    """
    said = _draw_said(rng, codes[MOTION] != NO_MOTION)
    stated = np.where(said, codes, UNSAID)
    return Caption(_draw_words(rng, stated), tuple(stated.tolist()))


def _draw_said(rng: np.random.Generator, moving: bool) -> NDArray[np.bool_]:
    chances = np.array([0.95, 0.95, 0.75 if moving else 0.0, 0.45, 0.45, 0.4, 0.45])
    if moving:
        if rng.random() < 0.35:
            chances = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
        else:
            chances[COLUMN:] *= 0.7
    said = rng.random(len(chances)) < chances
    if not said[COLOUR] and not said[SHAPE]:
        said[COLOUR] = True
    return said


def _draw_words(rng: np.random.Generator, stated: Codes) -> str:
    article = "a " if rng.random() < 0.6 else ""
    thing = _describe(stated, article, shuffle=rng if rng.random() < 0.3 else None)
    template = TEMPLATES[int(rng.integers(len(TEMPLATES)))] if rng.random() < 0.6 else "{}"
    return template.format(thing)


def _describe(stated: Codes, article: str, shuffle: np.random.Generator | None) -> str:
    """The stated codes in words: size, colour, noun, then motion, direction and place, shuffled if asked."""
    words = [SIZES[stated[SIZE]]] if stated[SIZE] != UNSAID else []
    words += [world.COLOURS[stated[COLOUR]]] if stated[COLOUR] != UNSAID else []
    words += ["shape" if stated[SHAPE] == UNSAID else world.SHAPES[stated[SHAPE]]]
    if article and words[0] == "arrow":
        article = "an "
    clauses = [world.MOTIONS[stated[MOTION]]] if stated[MOTION] != UNSAID else []
    if stated[DIRECTION] != UNSAID:
        clauses.append("pointing " + DIRECTIONS[stated[DIRECTION]])
    if stated[COLUMN] != UNSAID or stated[ROW] != UNSAID:
        clauses.append(place_words(int(stated[COLUMN]), int(stated[ROW])))
    if shuffle is not None:
        clauses = [clauses[index] for index in shuffle.permutation(len(clauses))]
    return article + " ".join([*words, *clauses])


def attribute_phrases(rng: np.random.Generator) -> list[list[str]]:
    """For each attribute, one short caption for each of its values, as in "a shape moving left"; random wording."""
    template = TEMPLATES[int(rng.integers(len(TEMPLATES)))]
    article = "a " if rng.random() < 0.7 else ""
    phrases = []
    for attribute, words in enumerate(ATTRIBUTES.values()):
        texts = []
        for value in range(len(words)):
            stated = np.full(len(ATTRIBUTES), UNSAID, dtype=np.int8)
            stated[attribute] = value
            texts.append(template.format(_describe(stated, article, shuffle=None)))
        phrases.append(texts)
    return phrases


def class_caption(class_id: int) -> Caption:
    """The bare name of a class as a caption."""
    codes = [UNSAID] * len(ATTRIBUTES)
    codes[COLOUR], codes[SHAPE], codes[MOTION] = world.class_parts(class_id)
    return Caption(world.class_names()[class_id], tuple(codes))


def caption_matches(stills: Codes, captions: Codes) -> NDArray[np.bool_]:
    """Which captions are true of which stills.

    Args:
        stills: (S, A) codes.
        captions: (U, A) codes.

    Returns:
        (S, U), true where all that the caption states holds.
    """
    agrees = (captions[None] == stills[:, None]) | (captions[None] == UNSAID)
    everywhere: NDArray[np.bool_] = agrees.all(axis=2)
    return everywhere
