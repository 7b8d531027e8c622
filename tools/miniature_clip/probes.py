"""What the tiny CLIP knows of the miniature world, measured on stills that it was not trained on.

Axes: S stills, K texts, A attributes, D features, 3 x H x W pixels.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from miniature_clip import captions
from miniature_clip.stills import Stills
from vitaclip.backbones import CLIP, Tokenizer
from vitaclip.miniature import world

POSE_TARGETS = ("x", "y", "log_radius", "sin_angle", "cos_angle")


@torch.no_grad()
def image_features(clip: CLIP, pixels: Tensor, batch_size: int = 500) -> tuple[Tensor, Tensor]:
    """Features of uint8 stills (S, 3, H, W).

    Returns:
        (S, D) unit vectors in the shared space, and (S, C) the last block's cls tokens they are made of.
    """
    cls_rows = []
    for batch in pixels.split(batch_size):
        x = clip.vision.norm_pre(clip.vision.embed(clip.normalize_pixels(batch)))
        for block in clip.vision.blocks:
            x = block(x)
        cls_rows.append(x[:, 0])
    cls = torch.cat(cls_rows)
    return normalize(clip.vision.frame_features(cls[:, None]), dim=-1), cls


@torch.no_grad()
def text_features(clip: CLIP, tokenizer: Tokenizer, texts: list[str]) -> Tensor:
    """(K, D) unit vectors."""
    tokens = tokenizer(texts, clip.config.text.context_length)
    return normalize(clip.encode_ids(tokens.ids, tokens.end), dim=-1)


def zero_shot_scores(clip: CLIP, tokenizer: Tokenizer, stills: Stills) -> dict[str, float]:
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
        best = (images[rows] @ text_features(clip, tokenizer, texts).T).argmax(dim=1).numpy()
        return float((best == truth[rows]).mean())

    def given(pattern: str, words: list[str], truth: np.ndarray, rows: np.ndarray) -> float:
        texts = [
            pattern.format(thing=f"{colour} {shape}", word=word)
            for colour in world.COLOURS
            for shape in world.SHAPES
            for word in words
        ]
        features = text_features(clip, tokenizer, texts).unflatten(0, (-1, len(words)))
        mine = features[codes[rows, captions.COLOUR] * len(world.SHAPES) + codes[rows, captions.SHAPE]]
        best = torch.einsum("sd,skd->sk", images[rows], mine).argmax(dim=1).numpy()
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


def motion_confusion(clip: CLIP, tokenizer: Tokenizer, stills: Stills) -> np.ndarray:
    """(8, 8) shares: true motion of the stills with a trail x motion read, appearance given."""
    moving = stills.codes[:, captions.MOTION] != captions.NO_MOTION
    codes = stills.codes[moving].astype(np.int64)
    images, _ = image_features(clip, stills.pixels[torch.from_numpy(moving)])
    features = text_features(clip, tokenizer, list(world.class_names())).unflatten(0, (-1, len(world.MOTIONS)))
    mine = features[codes[:, captions.COLOUR] * len(world.SHAPES) + codes[:, captions.SHAPE]]
    best = torch.einsum("sd,skd->sk", images, mine).argmax(dim=1).numpy()
    counts = np.zeros((len(world.MOTIONS),) * 2)
    np.add.at(counts, (codes[:, captions.MOTION], best), 1)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def pose_scores(clip: CLIP, stills: Stills) -> dict[str, dict[str, float]]:
    """How much of the pose a linear map reads from the stills at rest: R squared on the half it was not fitted to.

    Prompts can only learn a motion whose coordinate the cls token carries.

    Returns:
        For "feature" (the unit vector in the shared space) and "cls" (the last block's cls token): R squared of x, y,
        log_radius, sin_angle and cos_angle.
    """
    rows = torch.from_numpy(stills.codes[:, captions.MOTION] == captions.NO_MOTION)
    poses = torch.from_numpy(stills.poses)[rows].double()
    angle = torch.deg2rad(poses[:, world.ANGLE])
    targets = torch.cat([poses[:, : world.ANGLE], angle.sin()[:, None], angle.cos()[:, None]], dim=1)
    feature, cls = image_features(clip, stills.pixels[rows])
    return {
        name: dict(zip(POSE_TARGETS, _linear_fit(inputs.double(), targets), strict=True))
        for name, inputs in (("feature", feature), ("cls", cls))
    }


def _linear_fit(inputs: Tensor, targets: Tensor, ridge: float = 1e-3) -> list[float]:
    inputs = (inputs - inputs.mean(dim=0)) / inputs.std(dim=0)
    inputs = torch.cat([inputs, torch.ones_like(inputs[:, :1])], dim=1)
    half = len(inputs) // 2
    known, unknown = inputs[:half], inputs[half:]
    gram = known.T @ known + ridge * half * torch.eye(known.shape[1], dtype=known.dtype)
    weights = torch.linalg.solve(gram, known.T @ targets[:half])
    error = (targets[half:] - unknown @ weights).square().mean(dim=0)
    return [float(value) for value in 1 - error / targets[half:].var(dim=0, unbiased=False)]
