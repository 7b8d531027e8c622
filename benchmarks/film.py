"""What happens when in a film of the miniature world (synthetic), by our model and by the obvious baseline.

    python benchmarks/film.py --minutes 10 --seeds 1 2 3 --out film.json

A film is a row of scenes, each a coloured shape before a texture. In a scene nothing happens (a shape rests, or none is
there), or something that has no name among the candidates, or one of the candidates: the shape rests, moves for 1.5 to
6 seconds, and rests again. Scenes follow each other by cuts and cross-fades. Candidates are 24 classes that the model
was trained on and 8 of pairs of colour and shape that it never saw. The baseline is frozen CLIP, without prompts, on
sliding windows of the same lengths: each window is given to its likeliest class, and windows of a length that follow
each other with one class are a segment. A second baseline is our model in that way.

Detection is mAP over IoU 0.5 to 0.95, over the classes of the film. R1 counts each class of a film as a query, of which
the surest segment must meet one of its true ones. False alarms are those an hour, at the score where 95 % of the true
segments are found at IoU 0.5; never, if they are not found at any score. Settings of the segments were chosen on the
film of seed 0.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import av
import numpy as np
from timing import machine

from vitaclip.data.config import DataConfig
from vitaclip.files import write_json
from vitaclip.miniature import world
from vitaclip.model import VideoModel
from vitaclip.moments.config import MomentsConfig
from vitaclip.moments.metrics import ACTIVITYNET_IOUS, evaluate_detection, evaluate_retrieval, false_alarms_per_hour
from vitaclip.moments.table import Moments, Segment
from vitaclip.predictor import Predictor
from vitaclip.runtime import RuntimeConfig

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
    if not scene.moves:
        return world.render_frames(drawn, np.tile(drawn.rest, (scene.count, 1)))
    times = ((np.arange(scene.count) - scene.start) / (scene.end - scene.start)).clip(0, 1)
    return world.render_frames(drawn, world.motion_poses(drawn, motion, times))


def write_film(path: Path, seed: int, minutes: float, noise: float = 0.0) -> tuple[list[Segment], list[int]]:
    """Write a film, with normal noise of some grey levels on each pixel; the true segments of the candidates, and these
    by their class ids."""
    rng = np.random.default_rng([seed, 2])
    scenes, known = draw_scenes(np.random.default_rng([seed, 0]), minutes)
    fps, names, truth, place = world.FRAMES_PER_SECOND, world.class_names(), list[Segment](), 0
    fade = round(FADE_S * fps)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "veryfast", "crf": "18"})
        stream.thread_count = 1
        stream.height = stream.width = world.IMAGE_SIZE
        stream.pix_fmt, waiting = "yuv420p", np.empty((0, world.IMAGE_SIZE, world.IMAGE_SIZE, 3), np.uint8)

        def put(frames: np.ndarray) -> None:
            for clean in frames:
                frame = (clean + noise * rng.standard_normal(clean.shape)).clip(0, 255).round().astype(np.uint8)
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


def argmax_segments(found: Moments) -> list[Segment]:
    """Neighbouring steps with one likeliest class, without background or anything else."""
    step, best, segments = found.times_s[1] - found.times_s[0], found.curves.argmax(axis=1), list[Segment]()
    for k, run in groupby(range(len(best)), key=lambda step: int(best[step])):
        steps = [*run]
        score = float(found.curves[steps, k].mean())
        times = found.times_s[steps[0]] - step / 2, found.times_s[steps[-1]] + step / 2
        segments.append(Segment(max(0.0, times[0]), times[1], found.names[k], score))
    return segments


def figures(truth: list[Segment], found: list[Segment], seconds: float) -> dict[str, float]:
    """What the table shows of one film."""
    true, predicted = {"film": truth}, {"film": found}
    detection = evaluate_detection(true, predicted, ACTIVITYNET_IOUS)
    alarms = false_alarms_per_hour(true, predicted, seconds / 3600)
    return {
        "R1@0.5": evaluate_retrieval(true, predicted)["R1@0.5"],
        "mAP": detection["mAP"],
        "mAP@0.5": detection["mAP@0.5"],
        "false alarms an hour": alarms,
        "segments": len(found),
    }


def search(path: Path, names: list[str]) -> dict[str, tuple[list[Segment], float]]:
    """The segments of each way, and the seconds that it took."""
    config = MomentsConfig(lengths_s=LENGTHS_S)
    every = MomentsConfig(lengths_s=LENGTHS_S, reject=False)
    plain = MomentsConfig(lengths_s=LENGTHS_S, reject=False, smooth=0.0)
    runtime, data = RuntimeConfig(device="cpu", precision="float32"), DataConfig(workers=0)
    ours = Predictor(VideoModel.from_pretrained("miniature"), runtime=runtime, data=data)
    frozen = Predictor(VideoModel.from_backbone("miniature"), runtime=runtime, data=data)
    ways: Mapping[str, tuple[Predictor, MomentsConfig, Callable[[Moments], list[Segment]]]] = {
        "ours": (ours, config, lambda found: [*found.segments]),
        "ours, without reject": (ours, every, lambda found: [*found.segments]),
        "our model, argmax of windows": (ours, plain, argmax_segments),
        "frozen CLIP, our segments": (frozen, config, lambda found: [*found.segments]),
        "frozen CLIP, argmax of windows": (frozen, plain, argmax_segments),
    }
    found = {}
    for name, (predictor, settings, segments) in ways.items():
        predictor.set_classes(names)
        scores = path.with_name(f"{predictor is ours} {settings.reject}")  # of one model they serve two ways
        start = time.perf_counter()
        found[name] = segments(predictor.moments(path, settings, scores_file=scores)), time.perf_counter() - start
    return found


def main() -> None:
    """Print a row for each way and group of classes, with the mean over the films."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--noise", type=float, default=0.0, help="of each pixel, in grey levels")
    parser.add_argument("--out", type=Path, help="write all figures to this .json file")
    options = parser.parse_args()
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            film = Path(folder) / "film.mp4"
            truth, known = write_film(film, seed, options.minutes, options.noise)
            names = [world.class_names()[number] for number in known]
            for way, (segments, took) in search(film, names).items():
                for group, some in {"all": names, "never trained": names[CANDIDATES["trained"] :]}.items():
                    pair = [[each for each in side if each.label in some] for side in (truth, segments)]
                    row = figures(*pair, 60 * options.minutes) | {"seconds": took, "true segments": len(pair[0])}
                    rows.setdefault(f"{way}; {group} classes", []).append(row)
                    print(seed, way, group, json.dumps(row), flush=True)
    print(
        f"\n{len(options.seeds)} films of {options.minutes:g} minutes (synthetic), noise {options.noise:g}; {machine()}"
    )
    print("| | R1@0.5 | mAP 0.5:0.95 | mAP@0.5 | false alarms an hour at 95 % recall |\n|---|---:|---:|---:|---:|")
    for name, each in rows.items():
        means = {key: float(np.mean([row[key] for row in each])) for key in each[0]}
        cells = " | ".join(f"{means[key]:.3f}" for key in ("R1@0.5", "mAP", "mAP@0.5"))
        alarms = means["false alarms an hour"]
        print(f"| {name} | {cells} | {'never' if np.isinf(alarms) else f'{alarms:.0f}'} |")
    if options.out:
        write_json(
            options.out, {name: [{k: str(v) for k, v in row.items()} for row in each] for name, each in rows.items()}
        )


if __name__ == "__main__":
    main()
