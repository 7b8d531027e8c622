"""What happens when in a film of the miniature world (synthetic), by our model and by the obvious baseline.

    python benchmarks/film.py --minutes 120 --seeds 1 2 3 --out film.json --picture film.png

A film is a row of scenes, each a coloured shape before a texture. In a scene nothing happens (a shape rests, or none is
there), or something that has no name among the candidates, or one of the candidates: the shape rests, moves for 1.5 to
6 seconds, and rests again. Scenes follow each other by cuts and cross-fades. Candidates are 24 classes that the model
was trained on and 8 of pairs of colour and shape that it never saw. The baseline is frozen CLIP, without prompts, on
sliding windows of the same lengths: each window is given to its likeliest class, and windows of a length that follow
each other with one class are a segment. A second baseline is our model in that way.

Detection is mAP over IoU 0.5 to 0.95, over the classes of the films. R1 counts each class of a film as a query, of
which the surest segment must meet one of its true ones. False alarms are those an hour, at the score where 95 % of the
true segments are found at IoU 0.5; never, if they are not found at any score: a second report of one motion is an
alarm, and so is one whose ends are too far off. Settings of the segments were chosen on films of seeds 0, 10 and, with
noise, 12. Each model reads a film once: scores without reject are those with it, divided by their sum.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import av
import numpy as np
from timing import machine

from vitaclip.data.config import DataConfig
from vitaclip.data.reading.decode import open_video
from vitaclip.figures import ACCENT, SOFT, drawing, to_png
from vitaclip.files import write_json
from vitaclip.miniature import world
from vitaclip.model import VideoModel
from vitaclip.moments.config import MomentsConfig
from vitaclip.moments.metrics import (
    ACTIVITYNET_IOUS,
    evaluate_detection,
    evaluate_retrieval,
    false_alarms_per_hour,
    temporal_iou,
)
from vitaclip.moments.scan import KeptScores
from vitaclip.moments.segments import find_segments, length_curves
from vitaclip.moments.table import Segment
from vitaclip.moments.windows import Windows, plan_windows
from vitaclip.predictor import Predictor
from vitaclip.runtime import RuntimeConfig

CANDIDATES = {"trained": 24, "never trained": 8}
FADE_S = 0.5
GENERAL = MomentsConfig(lengths_s=(1.0, 2.0, 4.0, 8.0))
"""The defaults, but for windows as short as the motions."""
SETTINGS = replace(GENERAL, motion=True)
"""For motions alone."""


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


def render(scene: Scene, seed: list[int], image_size: int = world.IMAGE_SIZE) -> world.ByteArray:
    """The frames of a scene (F, H, W, 3)."""
    colour, shape, motion = world.class_parts(scene.class_id)
    drawn = world.draw_scene(np.random.default_rng(seed), colour, shape, image_size)
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


def argmax_segments(windows: Windows, scores: np.ndarray, names: Sequence[str]) -> tuple[Segment, ...]:
    """Neighbouring steps with one likeliest class, without background or anything else."""
    curves = length_curves(windows, scores, replace(GENERAL, smooth=0.0)).max(axis=0)
    half, best, segments = windows.step_s / 2, curves.argmax(axis=1), list[Segment]()
    for k, run in groupby(range(len(best)), key=lambda step: int(best[step])):
        steps = [*run]
        start, end = float(windows.times[steps[0]]) - half, float(windows.times[steps[-1]]) + half
        segments.append(Segment(max(0.0, start), end, names[k], float(curves[steps, k].mean())))
    return tuple(segments)


Found = dict[str, tuple[Segment, ...]]
"""The segments of each way."""


def search(path: Path, names: tuple[str, ...]) -> tuple[Found, dict[str, float]]:
    """The segments of each way, and the processor seconds that each model took."""
    found, seconds = Found(), dict[str, float]()
    runtime, data = RuntimeConfig(device="cpu", precision="float32"), DataConfig(workers=0)
    for name, model in {
        "ours": VideoModel.from_pretrained("miniature"),
        "frozen CLIP": VideoModel.from_backbone("miniature"),
    }.items():
        predictor = Predictor(model, runtime=runtime, data=data)
        predictor.set_classes(names)
        file, start = path.with_name(f"{name}.scores"), time.process_time()
        duration = predictor.moments(path, SETTINGS, scores_file=file).duration_s
        seconds[name] = time.process_time() - start
        with file.open("rb") as opened:
            scores, changes = KeptScores(file, json.loads(opened.readline()), len(names)).joined()
        with open_video(path, *predictor.reader.options) as source:
            windows = plan_windows(source, SETTINGS, predictor.reader.sampling.num_frames)
        alone = scores / scores.sum(axis=1, keepdims=True).clip(1e-30)
        for way, values, settings in (
            (name, scores, SETTINGS),
            (f"{name}, defaults", scores, GENERAL),
            (f"{name}, without reject", alone, SETTINGS),
        ):
            found[way] = find_segments(windows, values, changes, duration, names, settings)[0]
        found[f"{name}, argmax of windows"] = argmax_segments(windows, alone, names)
    return found, seconds


def figures(
    truth: Mapping[str, Sequence[Segment]], found: Mapping[str, Sequence[Segment]], hours: float
) -> dict[str, float]:
    """What the table shows of some films."""
    detection = evaluate_detection(truth, found, ACTIVITYNET_IOUS)
    return {
        "R1@0.5": evaluate_retrieval(truth, found)["R1@0.5"],
        "mAP": detection["mAP"],
        "mAP@0.5": detection["mAP@0.5"],
        "false alarms an hour at 95 % recall": false_alarms_per_hour(truth, found, hours),
        "at 90 %": false_alarms_per_hour(truth, found, hours, recall=0.9),
        "true segments": sum(map(len, truth.values())),
        "segments": sum(map(len, found.values())),
    }


def draw_timeline(truth: Sequence[Segment], found: Sequence[Segment], minutes: int) -> bytes:
    """A PNG of the first minutes of a film, a row each: the true segments above what is found, the surer the darker."""
    with drawing(10, 0.75 * minutes) as figure:
        for number, axes in enumerate(figure.subplots(minutes, squeeze=False).flat):
            axes.set(
                xlim=(60 * number, 60 * number + 60), ylim=(0, 2.7), yticks=(0.5, 1.5), yticklabels=("found", "true")
            )
            axes.tick_params(labelsize=6, length=0)
            for each in truth:
                axes.broken_barh([(each.start_s, each.end_s - each.start_s)], (1.05, 0.9), color=SOFT)
                axes.text(each.start_s, 2.1, each.label, fontsize=5, clip_on=True)
            for each in found:
                correct = temporal_iou([each], [it for it in truth if it.label == each.label]).max(initial=0) >= 0.5
                span = [(each.start_s, each.end_s - each.start_s)]
                axes.broken_barh(span, (0.05, 0.9), color=ACCENT if correct else "#c2410c", alpha=each.score)
        return to_png(figure)


def main() -> None:
    """Print a row for each way and group of classes, of each film and of all together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--noise", type=float, default=0.0, help="of each pixel, in grey levels")
    parser.add_argument("--out", type=Path, help="write all figures to this .json file")
    parser.add_argument("--picture", type=Path, help="draw the first eight minutes of the first film to this .png file")
    options = parser.parse_args()
    groups = ("all", "never trained")
    truth, found = {group: dict[str, list[Segment]]() for group in groups}, dict[str, dict[str, list[Segment]]]()
    rows = dict[str, dict[str, dict[str, str]]]()
    for seed in map(str, options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            film = Path(folder) / "film.mp4"
            start = time.process_time()
            true, known = write_film(film, int(seed), options.minutes, options.noise)
            seconds = {"film": time.process_time() - start}
            names = tuple(world.class_names()[number] for number in known)
            ways, took = search(film, names)
        print(f"seed {seed}: processor seconds { ({name: round(each) for name, each in (seconds | took).items()}) }")
        for group, some in zip(groups, (names, names[CANDIDATES["trained"] :]), strict=True):
            truth[group][seed] = [each for each in true if each.label in some]
            for way, segments in ways.items():
                name = f"{way}; {group} classes"
                found.setdefault(name, {})[seed] = [each for each in segments if each.label in some]
                row = figures({seed: truth[group][seed]}, {seed: found[name][seed]}, options.minutes / 60)
                rows.setdefault(name, {})[seed] = {key: f"{value:.4g}" for key, value in row.items()}
                print(seed, name, rows[name][seed], flush=True)
    count = {group: sum(map(len, each.values())) for group, each in truth.items()}
    print(f"\n{len(options.seeds)} films of {options.minutes:g} minutes (synthetic), noise {options.noise:g}")
    print(f"true segments: {count}; {machine()}\n")
    print("| | R1@0.5 | mAP 0.5:0.95 | mAP@0.5 | false alarms an hour at 95 % recall | at 90 % |\n|---|" + 5 * "---:|")
    for name, each in found.items():
        group = name.split("; ")[1].removesuffix(" classes")
        row = figures(truth[group], each, len(options.seeds) * options.minutes / 60)
        rows[name]["together"] = {key: f"{value:.4g}" for key, value in row.items()}
        cells = [f"{row[key]:.3f}" for key in ("R1@0.5", "mAP", "mAP@0.5")]
        alarms = [row[key] for key in ("false alarms an hour at 95 % recall", "at 90 %")]
        cells += ["never" if np.isinf(rate) else f"{rate:.1f}" for rate in alarms]
        print(f"| {name} | {' | '.join(cells)} |")
    if options.out:
        write_json(options.out, rows)
    if options.picture:
        seed = str(options.seeds[0])
        picture = draw_timeline(truth["all"][seed], found["ours; all classes"][seed], min(8, int(options.minutes)))
        options.picture.write_bytes(picture)


if __name__ == "__main__":
    main()
