"""What happens when in a film of the miniature world (synthetic), by our model and by the obvious baseline.

    python benchmarks/film.py --minutes 10 --out film

A film is a row of scenes, each a coloured shape before a texture. In a scene nothing happens (a shape rests, or none is
there), or something that has no name among the candidates, or one of the candidates: the shape rests, moves for 1.5 to
6 seconds, and rests again. Scenes follow each other by cuts and cross-fades. Candidates are 24 classes that the model
was trained on and 8 of pairs of colour and shape that it never saw. The baseline is frozen CLIP, without prompts, on
sliding windows of the same lengths, each given to its likeliest class.
"""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from vitaclip.miniature import world
from vitaclip.moments.table import Segment

CANDIDATES = {"trained": 24, "never trained": 8}
FADE_S = 0.5
LENGTHS_S = (1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class Scene:
    """A scene of a film; times in frames, from its start."""

    class_id: int
    moves: bool
    is_empty: bool
    start: int
    """Where the motion begins."""
    end: int
    count: int
    fades: bool
    """Whether it comes in by a cross-fade over the scene before."""


def choose_candidates(rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Class ids that have a name among the candidates, trained first, and those that have none."""
    trained = [n for n in range(len(world.class_names())) if not world.is_novel(n)]
    novel = [n for n in range(len(world.class_names())) if world.is_novel(n)]
    known = [*rng.choice(trained, CANDIDATES["trained"], replace=False).tolist()]
    known += rng.choice(novel, CANDIDATES["never trained"], replace=False).tolist()
    return known, sorted({*trained, *novel} - {*known})


def draw_scenes(rng: np.random.Generator, minutes: float) -> tuple[list[Scene], list[int]]:
    """Scenes until the film is so long, and the candidates."""
    known, others = choose_candidates(rng)
    fps, scenes, total = world.FRAMES_PER_SECOND, list[Scene](), 0
    while total < minutes * 60 * fps:
        kind = rng.choice(["known", "unknown", "rest", "empty"], p=[0.4, 0.25, 0.2, 0.15])
        class_id = int(rng.choice(known if kind == "known" else others))
        before, motion, after = (rng.uniform((0.5, 1.5, 0.5), (3.0, 6.0, 3.0)) * fps).round().astype(int).tolist()
        fades = bool(scenes) and bool(rng.random() < 0.3)
        before += round(FADE_S * fps) * fades
        moves = kind in ("known", "unknown")
        scenes.append(Scene(class_id, moves, kind == "empty", before, before + motion, before + motion + after, fades))
        total += scenes[-1].count - round(FADE_S * fps) * fades
    return scenes, known


def render(scene: Scene, seed: list[int]) -> world.ByteArray:
    """The frames of a scene (F, H, W, 3)."""
    colour, shape, motion = world.class_parts(scene.class_id)
    drawn = world.draw_scene(np.random.default_rng(seed), colour, shape)
    if scene.is_empty:
        return np.repeat(world.to_bytes(drawn.background)[None], scene.count, axis=0)
    times = ((np.arange(scene.count) - scene.start) / (scene.end - scene.start)).clip(0, 1)
    return world.render_frames(drawn, world.motion_poses(drawn, motion if scene.moves else None, times))


def write_film(path: Path, seed: int, minutes: float) -> tuple[list[Segment], list[int]]:
    """Write a film; the true segments of the candidates, and these."""
    scenes, known = draw_scenes(np.random.default_rng([seed, 0]), minutes)
    fps, names, truth, place = world.FRAMES_PER_SECOND, world.class_names(), list[Segment](), 0
    fade = round(FADE_S * fps)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "veryfast", "crf": "18"})
        stream.height = stream.width = world.IMAGE_SIZE
        stream.pix_fmt, waiting = "yuv420p", np.empty((0, world.IMAGE_SIZE, world.IMAGE_SIZE, 3), np.uint8)

        def put(frames: np.ndarray) -> None:
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))

        for number, scene in enumerate(scenes):
            frames = render(scene, [seed, 1, number])
            if scene.fades:
                share = (np.arange(1, fade + 1) / (fade + 1))[:, None, None, None]
                frames[:fade] = (1 - share) * waiting[-fade:] + share * frames[:fade]
                waiting, place = waiting[:-fade], place - fade
            put(waiting)
            if scene.moves and scene.class_id in known:
                start, end = place + scene.start, place + scene.end
                truth.append(Segment(start / fps, end / fps, names[scene.class_id], 1.0))
            place, waiting = place + scene.count, frames
        put(waiting)
        container.mux(stream.encode())
    return truth, known
