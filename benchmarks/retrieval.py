"""How right the search in an archive is: films of the miniature world (synthetic) whose moments are known.

    python benchmarks/retrieval.py --films 2000 --seeds 1 2 3 --out retrieval.json

A film is two or three scenes of 64 pixels and 8 frames a second, each a coloured shape before a texture. In half of
the scenes the shape moves, for 1.5 to 2.5 seconds with rest before and behind; in three of ten it rests, in the others
there is none. All 288 names are equally frequent; 72 are of pairs of colour and shape that the model never saw.

Queries, one of each kind for each name: the name in words; a clip of it, and the middle frame of that clip, from
another seed than the films. A hit of words or of a clip is right if its temporal IoU with a motion of that name is at
least 0.5; of a picture, which says nothing of a motion, with a scene that shows its colour and shape, moving or at
rest. A film is right if it has such a motion, or scene, anywhere; films are ranked by their best moment. Names of
which the archive has nothing are not asked for.

hit@k: queries with something right among the first k. recall@k: of all that is right, the part among the first k.
nDCG@10 and MRR@10 look at the first 10. Frozen CLIP is the same backbone without prompts, indexed and asked in the
same way.

With --outside, mteb computes once more: the figures of words; those of words that find the first 200 films of the first
seed, a vector each, over `vitaclip.mteb`, which we compute by a product of vectors; and the accuracy of the clips among
all names, over `vitaclip.mteb`, which we compute by `vitaclip eval`.
"""

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from film import Scene, render
from PIL import Image
from timing import machine

from vitaclip.cli.main import main as main_command
from vitaclip.data.config import DataConfig, ViewsConfig
from vitaclip.files import write_json
from vitaclip.miniature import world
from vitaclip.miniature.videos import encode_video
from vitaclip.model import VideoModel
from vitaclip.moments.config import WindowsConfig
from vitaclip.moments.metrics import temporal_iou
from vitaclip.moments.table import Segment
from vitaclip.predictor import Predictor
from vitaclip.runtime import RuntimeConfig
from vitaclip.search.archive import Archive
from vitaclip.search.hits import Hits

FPS, IMAGE_SIZE, IOU = 8, 64, 0.5
MODELS: Mapping[str, Callable[[str], VideoModel]] = {
    "ours": VideoModel.from_pretrained,
    "frozen CLIP": VideoModel.from_backbone,
}
FIGURES = ("hit@1", "hit@10", "recall@1", "recall@10", "nDCG@10", "MRR@10")
TOP = 20
"""Moments of a query. Of them the first 10 count; films are those of all."""
Truth = Mapping[str, Sequence[Segment]]
"""What happens in each film: motions by name, and scenes by colour and shape."""


def write_film(path: Path, seed: Sequence[int]) -> list[Segment]:
    """Write a film, unless it is there; what happens in it."""
    rng, frames, truth, start = np.random.default_rng(seed), [], list[Segment](), 0
    for number in range(rng.integers(2, 4)):
        class_id, kind = int(rng.integers(len(world.class_names()))), rng.choice(3, p=[0.5, 0.3, 0.2])
        before, motion, after = (rng.uniform((0.2, 1.5, 0.2), (0.6, 2.5, 0.6)) * FPS).round().astype(int).tolist()
        scene = Scene(class_id, kind == 0, kind == 2, before, before + motion, before + motion + after, False)
        name, end = world.class_names()[class_id], start + scene.count
        if scene.moves:
            truth.append(Segment((start + scene.start) / FPS, (start + scene.end) / FPS, name, 1.0))
        if not scene.is_empty:
            truth.append(Segment(start / FPS, end / FPS, world.appearance_of(name), 1.0))
        if not path.exists():
            frames.append(render(scene, [*seed, number], IMAGE_SIZE))
        start = end
    if frames:
        encode_video(path, np.concatenate(frames), FPS)
    return truth


def write_queries(folder: Path, seed: int) -> dict[str, dict[str, str | Path]]:
    """A query of each kind for each name; clips and pictures are files in the folder."""
    folder.mkdir(exist_ok=True)
    queries = {kind: dict[str, str | Path]() for kind in ("words", "clips", "pictures")}
    for class_id, name in enumerate(world.class_names()):
        frames = world.render_video(1000 + seed, class_id, 0, IMAGE_SIZE)
        clip = folder / f"{class_id:03}.mp4"
        encode_video(clip, frames)
        Image.fromarray(frames[len(frames) // 2]).save(clip.with_suffix(".png"))
        queries["words"][name], queries["clips"][name], queries["pictures"][name] = name, clip, clip.with_suffix(".png")
    return queries


def moments_found(hits: Hits, truth: Truth, label: str) -> list[str]:
    """What each hit is: the true moment that it meets, if none before it did, or a moment of its own."""
    found = list[str]()
    for hit in hits.hits:
        true = [each for each in truth[hit.path] if each.label == label]
        ious = temporal_iou([Segment(hit.start_s, hit.end_s, label, hit.score)], true)[0]
        right = [f"{hit.path} {label} {true[n].start_s}" for n in np.argsort(-ious) if ious[n] >= IOU]
        found.append(next((each for each in right if each not in found), f"{hit.path} {hit.start_s} {hit.end_s}"))
    return found


def wanted(truth: Truth, label: str) -> tuple[set[str], set[str]]:
    """The moments that are right, as `moments_found` calls them, and the films."""
    right = [(path, each) for path, own in truth.items() for each in own if each.label == label]
    return {f"{path} {label} {each.start_s}" for path, each in right}, {path for path, _ in right}


def figures(right: Sequence[set[str]], found: Sequence[Sequence[str]]) -> dict[str, float]:
    """The means over some queries, from what is right and what was found, best first.

    >>> figures([{"a", "b"}], [["c", "a"]])["recall@10"]
    0.5
    """
    rows = []
    for own, ranked in zip(right, found, strict=True):
        places = np.array([n for n, each in enumerate(ranked[:10]) if each in own])
        ideal = (1 / np.log2(np.arange(min(10, len(own))) + 2)).sum()
        first = bool((places == 0).any())
        reciprocal = 1 / (places[0] + 1) if len(places) else 0.0
        gain = (1 / np.log2(places + 2)).sum() / ideal
        rows.append([first, len(places) > 0, first / len(own), len(places) / len(own), gain, reciprocal])
    return dict(zip(FIGURES, np.mean(rows, axis=0).tolist(), strict=True))


def load(name: str) -> Predictor:
    """One of the models."""
    runtime, data = RuntimeConfig(device="cpu", precision="float32"), DataConfig(workers=0)
    return Predictor(MODELS[name]("miniature"), runtime=runtime, data=data, views=ViewsConfig(aggregation="features"))


def make_archive(folder: Path, name: str, windows: WindowsConfig) -> tuple[Archive, Predictor]:
    """The archive of the folder's films, with the model that made it."""
    predictor = load(name)
    archive = Archive.open(folder / f"archive of {name}")
    archive.add(predictor, [folder / "films"], windows)
    return archive, predictor


def groups(names: Iterable[str]) -> dict[str, list[str]]:
    """Names that were trained, and the others."""
    found = defaultdict[str, list[str]](list)
    for name in names:
        found["never trained" if world.is_novel(world.class_id_of(name)) else "trained"].append(name)
    return dict(sorted(found.items(), reverse=True))


def films_found(predictor: Predictor, names: Sequence[str], paths: Sequence[str]) -> list[list[str]]:
    """For each name, films by the cosine of one vector each, best first."""
    vectors = F.normalize(torch.stack([each.vector for each in predictor.embed(paths)]), dim=-1)
    cosines = F.normalize(predictor.set_classes(names).features, dim=-1) @ vectors.T
    return [[paths[n] for n in row.argsort(descending=True).tolist()] for row in cosines]


def eval_accuracy(folder: Path, name: str, clips: Mapping[str, str | Path]) -> float:
    """What `vitaclip eval` makes of the clips, with all names as candidates."""
    (folder / "names.txt").write_text("\n".join(clips))
    (folder / "clips.csv").write_text("\n".join(f"{path},{n}" for n, path in enumerate(clips.values())))
    command = ["eval", str(folder / "clips.csv"), "--classes", str(folder / "names.txt"), "--data.workers", "0"]
    command += ["--views.aggregation", "features", "--runtime.precision", "float32", "--runtime.device", "cpu"]
    command += [
        "--backbone" if name == "frozen CLIP" else "--model",
        "miniature",
        "--out",
        str(folder / f"{name}.json"),
    ]
    assert main_command(command) == 0
    return float(json.loads((folder / f"{name}.json").read_text())["top1"])


def compare(folder: Path, truth: Truth, clips: Mapping[str, str | Path], first: int = 200) -> None:
    """Print what we and mteb compute of one model after the other, see above."""
    from outside import Retrieval, ZeroShot, retrieval_figures, scores

    from vitaclip.mteb import MtebModel

    some = {path: truth[path] for path in [*truth][:first]}
    right = {name: found for name in clips if (found := wanted(some, name)[1])}
    for name in MODELS:
        predictor = load(name)
        encoder = MtebModel(predictor)
        ours = figures([*right.values()], films_found(predictor, [*right], [*some]))
        theirs = retrieval_figures(encoder, Retrieval([*right], [*some], right))
        print(f"{name}: words to {len(some)} films, a vector each: ours {ours}, mteb {theirs}")
        task = ZeroShot([*map(str, clips.values())], range(len(clips)), [*clips])
        ours_eval, accuracy = eval_accuracy(folder, name, clips), scores(encoder, task)["accuracy"]
        print(f"{name}: accuracy of the clips: vitaclip eval {ours_eval:.5f}, mteb {accuracy:.5f}", flush=True)


def measure(
    folder: Path, films: int, seed: int, windows: WindowsConfig, outside: bool
) -> tuple[dict[str, dict[str, float]], Truth]:
    """A row of figures for each group of names, kind of query, model, and what is found; and what happens."""
    (folder / "films").mkdir(parents=True, exist_ok=True)
    start, rows = time.process_time(), dict[str, dict[str, float]]()
    paths = [folder / "films" / f"{number:05}.mp4" for number in range(films)]
    truth = {str(path.absolute()): write_film(path, [seed, n]) for n, path in enumerate(paths)}
    queries = write_queries(folder / "queries", seed)
    print(f"seed {seed}: processor seconds: {films} films {time.process_time() - start:.0f}", end="", flush=True)
    for model in MODELS:
        start = time.process_time()
        archive, predictor = make_archive(folder, model, windows)
        count = sum(map(len, archive.store.rows(predictor.provenance()["fingerprint"])))
        print(f"; {model}: index of {count} windows {time.process_time() - start:.0f}", end="", flush=True)
        start, alike = time.process_time(), 0
        for kind, asked in queries.items():
            labels = {name: world.appearance_of(name) if kind == "pictures" else name for name in asked}
            right = {name: wanted(truth, label) for name, label in labels.items()}
            names = [name for name in asked if right[name][0]]
            hits = dict(zip(names, archive.search(predictor, [asked[n] for n in names], TOP), strict=True))
            alike += sum(bool(hit.alike) for each in hits.values() for hit in each.hits)
            for group, some in groups(names).items():
                moments = [moments_found(hits[name], truth, labels[name]) for name in some]
                found = [[*dict.fromkeys(hit.path for hit in hits[name].hits)] for name in some]
                of = f"{kind}, {group}; {model}"
                rows[f"{of}; moments"] = figures([right[name][0] for name in some], moments)
                rows[f"{of}; films"] = figures([right[name][1] for name in some], found)
                if outside and kind == "words":
                    from outside import Found, Retrieval, retrieval_figures

                    pairs = [
                        zip(own, hits[name].hits[:10], strict=False) for own, name in zip(moments, some, strict=True)
                    ]
                    answers = {
                        name: {each: hit.score for each, hit in own} for name, own in zip(some, pairs, strict=True)
                    }
                    task = Retrieval(some, [*truth], {name: right[name][0] for name in some})
                    rows[f"{of}; moments, by mteb"] = retrieval_figures(Found(answers), task)
        print(
            f", search {time.process_time() - start:.0f} ({alike} hits stand for other films too)", end="", flush=True
        )
    print()
    return rows, truth


def main() -> None:
    """Print a table, the mean and the range over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--lengths_s", type=float, nargs="+", default=[2.0], help="of the windows")
    parser.add_argument("--hop", type=float, default=0.25)
    parser.add_argument("--folder", type=Path, help="keep films and archives there; a later call goes on with them")
    parser.add_argument("--outside", action="store_true", help="compute words once more by mteb, and compare")
    parser.add_argument("--out", type=Path, help="write all figures to this .json file")
    options = parser.parse_args()
    windows, rows = WindowsConfig(lengths_s=tuple(options.lengths_s), hop=options.hop), {}
    with tempfile.TemporaryDirectory() as made:
        for seed in options.seeds:
            folder = (options.folder or Path(made)) / str(seed)
            rows[seed], truth = measure(folder, options.films, seed, windows, options.outside)
            if options.out:
                write_json(options.out, {str(each): own for each, own in rows.items()})
            if options.outside and seed == options.seeds[0]:
                compare(folder, truth, write_queries(folder / "queries", seed)["clips"])
    print(f"\n{len(rows)} archives of {options.films} films (synthetic); mean over the seeds (least to most)")
    print(f"windows of {options.lengths_s} seconds, hop {options.hop}; {machine()}")
    for what in ("moments", "films", "moments, by mteb")[: 2 + options.outside]:
        print(f"\n| {what} | {' | '.join(FIGURES)} |\n|---|{len(FIGURES) * '---:|'}")
        for name in sorted(row for row in rows[options.seeds[0]] if row.endswith(f"; {what}")):
            values = np.array([list(own[name].values()) for own in rows.values()])
            cells = zip(values.mean(axis=0), values.min(axis=0), values.max(axis=0), strict=True)
            print(
                f"| {name.removesuffix(f'; {what}')} | "
                + " | ".join(f"{m:.3f} ({a:.3f}-{b:.3f})" for m, a, b in cells),
                "|",
            )


if __name__ == "__main__":
    main()
