"""Stills of the miniature world: photographs in which motion, where there is any, shows as a trail.

A moving shape is photographed as in a long exposure that ends with a flash: every pose of its path leaves a faint
image, the last one a strong and sharp one. A shape at rest looks exactly like a frame of a video.

Axes: S stills, H x W pixels, A attributes.
"""

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch.nn.functional import interpolate

from miniature_clip import captions
from vitaclip.data.workers import run_in_processes
from vitaclip.files import atomic_write
from vitaclip.miniature import world

TRAIL_POSES = 18
# Length of a trail over the travel of a video, for x, y, log_radius and angle: long enough to show the way, short
# enough not to fade.
TRAIL_SHARE = (0.6, 0.6, 1.2, 0.6)
# Share of the light that the last pose gets; the others divide the rest evenly.
FLASH_SHARE = 0.35
# Share of the stills that show a motion, and how often each: the two ways to spin are the hardest to tell apart.
MOVING_SHARE = 0.6
MOTION_SHARE = (0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.2, 0.2)
CHUNK = 1000


@dataclass(frozen=True)
class Stills:
    """Rendered stills and what is true of them.

    Attributes:
        pixels: (S, 3, H, W) uint8.
        codes: (S, A) int8, see `captions.ATTRIBUTES`.
        poses: (S, 4) float32, of the sharp shape: x, y, log_radius, angle.
    """

    pixels: torch.Tensor
    codes: captions.Codes
    poses: world.FloatArray

    def __len__(self) -> int:
        return len(self.codes)


def render_stills(seed: int, first: int, count: int, image_size: int) -> Stills:
    """Stills number `first` to ``first + count - 1`` of a seed, each a pure function of the seed and its number."""
    drawn = [_render_still(np.random.default_rng([seed, 7, first + offset])) for offset in range(count)]
    pictures, codes, poses = zip(*drawn, strict=True)
    pixels = resize(torch.from_numpy(halve_chroma(np.stack(pictures))).permute(0, 3, 1, 2), image_size)
    return Stills(pixels.contiguous(), np.stack(codes), np.stack(poses).astype(np.float32))


def render_pool(folder: str | Path, seed: int, count: int, image_size: int) -> Stills:
    """Render many stills in two processes, or read them back if `folder` has them from before."""
    path = Path(folder) / f"stills_seed{seed}_{count}x{image_size}.pt"
    if not path.is_file():
        starts = range(0, count, CHUNK)
        chunks: dict[int, Any] = {}
        outcomes = run_in_processes(partial(_render_chunk, seed, count, image_size), starts, 2, math.inf)
        for outcome in track(outcomes, "stills", len(starts)):
            if outcome.error:
                raise outcome.error
            chunks[outcome.item] = outcome.result
        pixels, codes, poses = (torch.cat([chunks[start][part] for start in starts]) for part in range(3))
        with atomic_write(path) as file:
            torch.save({"pixels": pixels, "codes": codes, "poses": poses}, file)
    kept = torch.load(path, weights_only=True)
    return Stills(kept["pixels"], kept["codes"].numpy(), kept["poses"].numpy())


def _render_chunk(
    seed: int, count: int, image_size: int, start: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    stills = render_stills(seed, start, min(CHUNK, count - start), image_size)
    return stills.pixels, torch.from_numpy(stills.codes), torch.from_numpy(stills.poses)


def _render_still(rng: np.random.Generator) -> tuple[world.ByteArray, captions.Codes, world.Float64Array]:
    colour, shape = (int(rng.integers(n)) for n in (len(world.COLOURS), len(world.SHAPES)))
    motion = int(rng.choice(len(world.MOTIONS), p=MOTION_SHARE))
    moving = bool(rng.random() < MOVING_SHARE)
    scene = world.draw_scene(rng, colour, shape)
    pose = scene.rest
    picture = trail_picture(scene, motion) if moving else world.render_frames(scene, pose[None])[0]
    return picture, captions.scene_codes(colour, shape, motion if moving else None, pose), pose


def trail_picture(scene: world.Scene, motion: int) -> world.ByteArray:
    """A long exposure of a shape that moves to its resting pose, (H, W, 3).

    The last pose is drawn like any resting one, whatever the motion, so that where a shape is tells nothing about how
    it got there: only the trail does. A trail may begin beyond the border.
    """
    image_size = scene.background.shape[0]
    path = trail_path(scene, motion)
    weights = np.full(len(path), (1 - FLASH_SHARE) / (len(path) - 1))
    weights[-1] = FLASH_SHARE
    light = np.zeros((image_size, image_size), dtype=np.float32)
    for weight, pose in zip(weights, path, strict=True):
        window, cover = world.coverage(scene.shape, pose, image_size)
        light[window] += np.float32(weight) * cover
    return world.to_bytes(scene.background + light[..., None] * (scene.paint - scene.background))


def trail_path(scene: world.Scene, motion: int) -> world.Float64Array:
    """(TRAIL_POSES, 4) the poses of a path that ends at the scene's resting pose."""
    path = np.tile(scene.rest, (TRAIL_POSES, 1))
    coordinate = world.MOTION_COORDINATE[motion]
    before = np.linspace(-TRAIL_SHARE[coordinate], 0.0, TRAIL_POSES) * scene.travel[coordinate]
    path[:, coordinate] += world.MOTION_SIGN[motion] * before
    return path


def halve_chroma(pictures: world.ByteArray) -> world.ByteArray:
    """What a video's 4:2:0 coding does to colour: (S, H, W, 3) with the chroma of each 2 x 2 block averaged."""
    values = pictures.astype(np.float32)
    luma = values @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    chroma = values - luma[..., None]
    count, height, width, _ = chroma.shape
    blocks = chroma.reshape(count, height // 2, 2, width // 2, 2, 3).mean(axis=(2, 4))
    spread = blocks.repeat(2, axis=1).repeat(2, axis=2)
    return np.clip(luma[..., None] + spread + 0.5, 0, 255).astype(np.uint8)


def resize(pixels: torch.Tensor, image_size: int) -> torch.Tensor:
    """uint8 (S, 3, H, W) -> (S, 3, image_size, image_size), bicubic with antialiasing as for video frames."""
    return interpolate(pixels, size=(image_size, image_size), mode="bicubic", antialias=True)
