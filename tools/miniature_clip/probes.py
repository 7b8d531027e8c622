"""What a tiny image-text model knows of the miniature world, measured on stills that it was not trained on.

Axes: S stills, K texts, A attributes, D features, 3 x H x W pixels.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from miniature_clip import captions
from miniature_clip.stills import Stills
from vitaclip.backbones.model import CLIP
from vitaclip.miniature import world

POSE_TARGETS = ("x", "y", "log_radius", "sin_angle", "cos_angle")


@torch.no_grad()
def image_features(clip: CLIP, pixels: Tensor, batch_size: int = 500) -> tuple[Tensor, Tensor]:
    """Features of uint8 stills (S, 3, H, W).

    Returns:
        (S, D) unit vectors in the shared space, and (S, C) the frame tokens behind the last block.
    """
    features, tokens = [], []
    for batch in pixels.split(batch_size):
        *_, last = clip.vision.run_blocks(clip.vision.embed(clip.normalize_pixels(batch)))
        features.append(normalize(clip.vision.frame_features(last.output), dim=-1))
        tokens.append(clip.vision.frame_token(last.output))
    return torch.cat(features), torch.cat(tokens)


def zero_shot_scores(clip: CLIP, stills: Stills) -> dict[str, float]:
    """Share of the stills whose best text is the true one, for each attribute.

    Colour and shape are asked alone. The other attributes are asked with the true appearance given, as in
    "a red arrow {moving left}": motion among 8 on the stills with a trail, place among 9, size among 5, direction
    among 5. "class" is the whole class name among 288, on the stills with a trail.
    """
    images, _ = image_features(clip, stills.pixels)
    codes = stills.codes.astype(np.int64)
    moving = codes[:, captions.MOTION] != captions.NO_MOTION
    place = codes[:, captions.ROW] * len(captions.COLUMNS) + codes[:, captions.COLUMN]
    places = [captions.place_words(column, row) for row in range(3) for column in range(3)]

    def alone(texts: list[str], truth: np.ndarray, rows: np.ndarray) -> float:
        best = (images[rows] @ _text_features(clip, texts).T).argmax(dim=1).numpy()
        return float((best == truth[rows]).mean())

    def given(pattern: str, words: list[str], truth: np.ndarray, rows: np.ndarray) -> float:
        best = _best_words(clip, images[rows], codes[rows], pattern, words)
        return float((best == truth[rows]).mean())

    every = np.ones(len(codes), dtype=bool)
    class_ids = (codes[:, captions.COLOUR] * len(world.SHAPES) + codes[:, captions.SHAPE]) * len(world.MOTIONS)
    directions = [f"pointing {word}" for word in captions.DIRECTIONS]
    return {
        "colour": alone([f"a {word} shape" for word in world.COLOURS], codes[:, captions.COLOUR], every),
        "shape": alone([f"a photo of a {word}" for word in world.SHAPES], codes[:, captions.SHAPE], every),
        "motion": given("{thing} {word}", list(world.MOTIONS), codes[:, captions.MOTION], moving),
        "place": given("a {thing} {word}", places, place, every),
        "size": given("a {word} {thing}", list(captions.SIZES), codes[:, captions.SIZE], every),
        "direction": given("a {thing} {word}", directions, codes[:, captions.DIRECTION], every),
        "class": alone(list(world.class_names()), class_ids + codes[:, captions.MOTION], moving),
    }


def motion_scores(clip: CLIP, stills: Stills) -> dict[str, float]:
    """For each motion, the share of the stills with its trail whose motion is read, appearance given."""
    moving = stills.codes[:, captions.MOTION] != captions.NO_MOTION
    codes = stills.codes[moving].astype(np.int64)
    images, _ = image_features(clip, stills.pixels[torch.from_numpy(moving)])
    right = _best_words(clip, images, codes, "{thing} {word}", list(world.MOTIONS)) == codes[:, captions.MOTION]
    of_motion = (codes[:, captions.MOTION] == number for number in range(len(world.MOTIONS)))
    return {name: float(right[rows].mean()) for name, rows in zip(world.MOTIONS, of_motion, strict=True)}


def pose_scores(clip: CLIP, stills: Stills) -> dict[str, dict[str, float]]:
    """How much of the pose a linear map reads from the stills at rest: R squared on the half it was not fitted to.

    Prompts can only learn a motion whose coordinate the frame token carries.

    Returns:
        For "feature" (the unit vector in the shared space) and "token" (the last block's frame token): R squared of x,
        y, log_radius, sin_angle and cos_angle.
    """
    rows = torch.from_numpy(stills.codes[:, captions.MOTION] == captions.NO_MOTION)
    poses = torch.from_numpy(stills.poses)[rows].double()
    angle = torch.deg2rad(poses[:, world.ANGLE])
    targets = torch.cat([poses[:, : world.ANGLE], angle.sin()[:, None], angle.cos()[:, None]], dim=1)
    return {
        name: dict(zip(POSE_TARGETS, _linear_fit(inputs.double(), targets), strict=True))
        for name, inputs in zip(("feature", "token"), image_features(clip, stills.pixels[rows]), strict=True)
    }


@torch.no_grad()
def _text_features(clip: CLIP, texts: list[str]) -> Tensor:
    """(K, D) unit vectors."""
    return normalize(clip.encode_texts(texts), dim=-1)


def _best_words(clip: CLIP, images: Tensor, codes: captions.Codes, pattern: str, words: list[str]) -> np.ndarray:
    """(S,) which of the words fits each image (S, D) best, in the pattern with its true colour and shape (S, A)."""
    things = [f"{colour} {shape}" for colour in world.COLOURS for shape in world.SHAPES]
    texts = [pattern.format(thing=thing, word=word) for thing in things for word in words]
    features = _text_features(clip, texts).unflatten(0, (-1, len(words)))
    mine = features[codes[:, captions.COLOUR] * len(world.SHAPES) + codes[:, captions.SHAPE]]
    return torch.einsum("sd,skd->sk", images, mine).argmax(dim=1).numpy()


def _linear_fit(inputs: Tensor, targets: Tensor, ridge: float = 1e-3) -> list[float]:
    inputs = (inputs - inputs.mean(dim=0)) / inputs.std(dim=0)
    inputs = torch.cat([inputs, torch.ones_like(inputs[:, :1])], dim=1)
    half = len(inputs) // 2
    known, unknown = inputs[:half], inputs[half:]
    gram = known.T @ known + ridge * half * torch.eye(known.shape[1], dtype=known.dtype)
    weights = torch.linalg.solve(gram, known.T @ targets[:half])
    error = (targets[half:] - unknown @ weights).square().mean(dim=0)
    return [float(value) for value in 1 - error / targets[half:].var(dim=0, unbiased=False)]
