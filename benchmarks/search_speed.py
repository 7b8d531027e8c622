"""How fast an archive answers and is made, how much it takes, and what faiss and the obvious script need for the same.

    python benchmarks/search_speed.py search --rows 10000 100000 1000000       both stores and faiss, on made-up vectors
    python benchmarks/search_speed.py index --minutes 1 --files 2              videos into an archive, beside the tower

`search`: vectors as windows of films have them, 512 numbers each (synthetic). A frame is the sum of what all share,
of its film (one of 1,000 topics, and its own), of its scene (10 s long on average) and of itself, drawn with a spread
that falls like one over the square root of the axis; a window of 8, 16, 32 or 64 s is the mean of its frames, of unit
length. So 15 minutes have 831 windows, many of them nearly the same. Queries are "words", a topic and as much of
something else, without what all frames share; and "clips", a row and a little of something else. A commit has 20,000
rows, as `vitaclip index` makes them; each store and size is searched by a process of its own, with the model's part
left out: opening, first answer, then each query once, by `Archive.search` with 10 hits. Recall is that of the ten
best rows.

`index`: H.264 of 1280 x 720 at 30 frames a second, a CLIP with random weights, `Archive.add` into a new archive;
beside it the tower alone on tensors, decoding alone, and PyAV with transformers' CLIP and faiss on every 30th frame.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from timing import machine, measure, print_table

from vitaclip.data.config import DataConfig
from vitaclip.runtime import RuntimeConfig
from vitaclip.search import archive as archive_module
from vitaclip.search.archive import Archive
from vitaclip.search.rows import FileEntry, Rows

DIM, COMMIT_ROWS, LENGTHS = 512, 20_000, (8, 16, 32, 64)


class World:
    """Where vectors of films and queries are drawn."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.axes = np.linalg.qr(rng.standard_normal((DIM, DIM)))[0].astype(np.float32)
        spread = np.arange(1, DIM + 1) ** -0.5
        self.spread = (spread / np.linalg.norm(spread)).astype(np.float32)
        self.topics = self.draw(rng, 1000)

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """(count, D) of length 1 on average."""
        drawn: np.ndarray = (rng.standard_normal((count, DIM), dtype=np.float32) * self.spread) @ self.axes.T
        return drawn

    def film(self, rng: np.random.Generator, seconds: int = 900) -> tuple[np.ndarray, np.ndarray]:
        """Times (W, 2) and vectors (W, D) of the windows of a film."""
        scenes = np.cumsum(rng.random(seconds) < 0.1)
        own = self.axes[:, -1] + 0.6 * self.topics[rng.integers(len(self.topics))] + 0.4 * self.draw(rng, 1)
        frames = own + 0.5 * self.draw(rng, scenes[-1] + 1)[scenes] + 0.3 * self.draw(rng, seconds)
        total = np.concatenate([np.zeros((1, DIM)), np.cumsum(frames, axis=0, dtype=np.float64)])
        starts = [np.arange(0, seconds - length + 1, length // 4) for length in LENGTHS]
        means = [(total[start + length] - total[start]) / length for start, length in zip(starts, LENGTHS, strict=True)]
        times = [np.stack([start, start + length], axis=1) for start, length in zip(starts, LENGTHS, strict=True)]
        return np.concatenate(times).astype(float), _unit(np.concatenate(means))

    def queries(self, rng: np.random.Generator, kind: str, rows: np.ndarray) -> np.ndarray:
        """A query (D,) for each of some rows, which words have nothing to do with."""
        if kind == "clips":
            return _unit(rows + 0.3 * self.draw(rng, len(rows)))
        return _unit(self.topics[rng.integers(len(self.topics), size=len(rows))] + self.draw(rng, len(rows)))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def commits(world: World, count: int) -> Iterator[list[Rows]]:
    """`count` rows of films, in commits."""
    rng, waiting, film = np.random.default_rng(1), list[Rows](), 0
    while count:
        times, vectors = (each[:count] for each in world.film(rng))
        looks = rng.integers(0, 2**62, (len(times), 3))
        waiting.append(Rows((f"{film:032x}",), np.zeros(len(times), np.int32), times, looks, vectors))
        count, film = count - len(times), film + 1
        if not count or sum(map(len, waiting)) >= COMMIT_ROWS:
            yield waiting
            waiting = []


def build(path: Path, world: World, count: int) -> dict[str, float]:
    """Make an archive; what its commits and, at the end, its index took, and its size."""
    store, adding, made = Archive.open(path).store, [0.0, 0.0], commits(world, count)
    about: dict[str, Any] = {"model": "made up", "plain": True, "views": {}, "windows": {}}
    with store.writing():
        while rows := next(made, None):
            names: dict[str, FileEntry | None] = {
                f"/films/{video}.mp4": FileEntry(video, (1, 1)) for each in rows for video in each.ids
            }
            wall, cpu = time.perf_counter(), time.process_time()
            store.commit("model", about, rows, names)
            adding = [adding[0] + time.perf_counter() - wall, adding[1] + time.process_time() - cpu]
        wall, cpu = time.perf_counter(), time.process_time()
    ending = time.perf_counter() - wall, time.process_time() - cpu
    disk = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    times = {"commits_s": adding[0], "commits_cpu_s": adding[1], "end_s": ending[0], "end_cpu_s": ending[1]}
    return {**times, "disk_mb": disk / 1e6}


def memory(before: dict[str, float] | None = None) -> dict[str, float]:
    """Megabytes of this process, of its own and of files that it has mapped, or what has come to them."""
    status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    kinds = {"own_mb": "RssAnon", "mapped_mb": "RssFile"}
    return {name: int(status[key].split()[0]) / 1024 - (before or {}).get(name, 0) for name, key in kinds.items()}


def ask(path: Path, queries: Path) -> None:
    """Search an archive for each query of a file, and print what it took as JSON: run in a process of its own."""
    vectors, before = dict(np.load(queries).items()), memory()
    start = time.perf_counter()
    archive = Archive.open(path)
    opened = time.perf_counter() - start
    model: Any = SimpleNamespace(name="made up", provenance=lambda: {"fingerprint": "model"})
    archive.store.models = {"model": {"windows": {}}}
    figures: dict[str, float] = {"open_ms": 1e3 * opened}
    for kind in ("words", "clips"):
        archive_module.text_vector = lambda _, query, __, of=vectors[kind]: of[int(query)]  # type: ignore[assignment]
        wall, cpu, recalls = list[float](), list[float](), list[float]()
        for number, query in enumerate(vectors[kind]):
            begun, busy = time.perf_counter(), time.process_time()
            archive.search(model, [str(number)])
            wall.append(1e3 * (time.perf_counter() - begun))
            cpu.append(1e3 * (time.process_time() - busy))
            scores, _ = archive.store.search("model", query, 160)
            recalls.append(np.mean(scores[:10] >= vectors[f"{kind}_best"][number] - 1e-6))
        figures |= {f"{kind}_first_ms": wall[0], f"{kind}_recall": float(np.mean(recalls))}
        figures |= {f"{kind}_p{q}_ms": float(np.percentile(wall[1:], q)) for q in (50, 95)}
        figures |= {f"{kind}_p{q}_cpu_ms": float(np.percentile(cpu[1:], q)) for q in (50, 95)}
    print(json.dumps({**figures, **memory(before)}))


def ask_faiss(path: Path, queries: Path, kind: str) -> None:
    """The same with faiss and its index in main memory; making it counts as the end of building."""
    import faiss

    pieces = Archive.open(path).store.rows("model")
    vectors, before = dict(np.load(queries).items()), memory()
    rows = np.concatenate([piece.vectors for piece in pieces])
    wall_made, made = time.perf_counter(), time.process_time()
    index: Any = faiss.IndexFlatIP(DIM)
    if kind == "IVF":
        index = faiss.IndexIVFFlat(index, DIM, round(len(rows) ** 0.5), faiss.METRIC_INNER_PRODUCT)
        index.train(rows[:: max(1, len(rows) // (64 * index.nlist))])
        index.nprobe = max(1, index.nlist // 20)
    index.add(rows)
    del rows
    figures: dict[str, float] = {"end_cpu_s": time.process_time() - made, "end_s": time.perf_counter() - wall_made}
    for each in ("words", "clips"):
        wall, cpu, recalls = list[float](), list[float](), list[float]()
        for query, best in zip(vectors[each], vectors[f"{each}_best"], strict=True):
            begun, busy = time.perf_counter(), time.process_time()
            scores, _ = index.search(query[None], 160)
            wall.append(1e3 * (time.perf_counter() - begun))
            cpu.append(1e3 * (time.process_time() - busy))
            recalls.append(np.mean(scores[0, :10] >= best - 1e-6))
        figures |= {f"{each}_recall": float(np.mean(recalls))}
        figures |= {f"{each}_p{q}_ms": float(np.percentile(wall[1:], q)) for q in (50, 95)}
        figures |= {f"{each}_p{q}_cpu_ms": float(np.percentile(cpu[1:], q)) for q in (50, 95)}
    print(json.dumps({**figures, **memory(before)}))


def search(counts: list[int], queries: int, folder: Path, out: str) -> None:
    """Both stores and faiss at each size."""
    world, figures = World(), dict[str, dict[str, float]]()
    columns = ("words_p50_ms", "words_p95_ms", "words_p95_cpu_ms", "words_recall", "clips_p50_ms", "clips_p95_ms")
    columns += ("clips_p95_cpu_ms", "clips_recall", "open_ms", "words_first_ms", "own_mb", "mapped_mb", "disk_mb")
    columns += ("commits_cpu_s", "end_cpu_s", "end_s")
    print(f"{machine()}, {torch.get_num_threads()} threads, load {Path('/proc/loadavg').read_text().split()[0]}\n")
    print(f"| rows | store | {' | '.join(columns)} |\n|---:|---|{'---:|' * len(columns)}")
    for count in counts:
        asked = folder / f"queries{count}.npz"
        paths = {"folder": folder / f"archive{count}", "LanceDB": folder / f"archive{count}.lance"}
        built = {name: build(path, world, count) if not path.exists() else {} for name, path in paths.items()}
        pieces = Archive.open(paths["folder"]).store.rows("model")
        rng = np.random.default_rng(2)
        drawn = np.sort(rng.integers(count, size=queries))
        near = np.concatenate([each.vectors for each in pieces])[drawn]
        made = {kind: world.queries(rng, kind, near) for kind in ("words", "clips")}
        for kind in list(made):
            scores = np.concatenate([each.vectors @ made[kind].T for each in pieces])
            made[f"{kind}_best"] = -np.sort(np.partition(-scores, 10, axis=0)[:10], axis=0).T[:, -1:]
        np.savez(asked, **made)
        ways = {name: ["ask", str(path), str(asked)] for name, path in paths.items()}
        ways |= {f"faiss {kind}": ["faiss", str(paths["folder"]), str(asked), kind] for kind in ("flat", "IVF")}
        for name, words in ways.items():
            done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=True)
            each = {**built.get(name, {}), **json.loads(done.stdout.splitlines()[-1])}
            figures[f"{count} {name}"] = each
            cells = (f"{each[column]:.4g}" if column in each else "" for column in columns)
            print(f"| {count:,} | {name} | {' | '.join(cells)} |", flush=True)
    if out:
        Path(out).write_text(json.dumps(figures, indent=1) + "\n")


def index(minutes: float, files: int, runs: int, size: str, workers: int) -> None:
    """Frames a second of `Archive.add`, of the tower alone, and of the obvious script."""
    import av
    import faiss
    from full_size import SIZES, build_model
    from long_video import write_file
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    from vitaclip.data.reading.decode import open_video
    from vitaclip.predictor import Predictor

    model, (patch, width, depth, _) = build_model(prompts=False, size=size), SIZES[size]
    predictor = Predictor(model, runtime=RuntimeConfig(device="cpu"), data=DataConfig(workers=workers))
    vision = {"patch_size": patch, "hidden_size": width, "num_hidden_layers": depth}
    vision |= {"num_attention_heads": width // 64, "intermediate_size": 4 * width}
    peer, processor = CLIPModel(CLIPConfig(vision_config=vision)).eval(), CLIPImageProcessor()
    frames, batch = files * round(60 * minutes), predictor.data.eval_batch_size
    pixels = torch.randint(0, 256, (batch, 1, 1, 3, 224, 224), dtype=torch.uint8)

    def tower(_: int) -> None:
        for first in range(0, frames, batch):
            predictor.encoder.tower_features(pixels[: min(batch, frames - first)])

    def decode(_: int) -> None:
        for path in paths:
            with open_video(path) as source:
                for _ in source.stream(range(15, source.num_frames, 30), partial(model.frame_fit.resize, size=224)):
                    pass

    def add(_: int) -> None:
        with tempfile.TemporaryDirectory() as place:  # as new in each run
            Archive.open(Path(place) / "archive").add(predictor, paths)

    @torch.no_grad()
    def script(_: int) -> None:
        found = faiss.IndexFlatIP(peer.config.projection_dim)
        for path in paths:
            with av.open(str(path)) as container, predictor.encoder.autocast():
                chosen = (frame for n, frame in enumerate(container.decode(video=0)) if n % 30 == 15)
                while pictures := [frame.to_image() for frame in islice(chosen, 64)]:
                    given = processor(images=pictures, return_tensors="pt")
                    vectors: Any = peer.get_image_features(**given)
                    vectors = getattr(vectors, "pooler_output", vectors).float()
                    found.add(torch.nn.functional.normalize(vectors, dim=-1).numpy())

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"film{n}.mp4" for n in range(files)]
        for number, path in enumerate(paths):
            write_file(path, round(minutes * 1800), 1280, 720, 30, 250 - number)
        ways: dict[str, Callable[[int], object]] = {
            "Archive.add": add,
            "tower alone, on tensors": tower,
            "decoding and resizing alone": decode,
            "PyAV, transformers' CLIP and faiss": script,
        }
        times = measure(ways, range(runs))
    what = f"{size}, {predictor.computed}, {files} files of {minutes:g} minutes of 720p, {frames} frames"
    what += f", {workers} workers"
    load = Path("/proc/loadavg").read_text().split()[0]
    print_table(f"{what}; {machine()}, {torch.get_num_threads()} threads, load {load}", times, "Archive.add")
    ours, alone, _, theirs = times.values()
    print("\n| | wall | CPU |\n|---|---:|---:|")
    for name, one, other in (
        ("frames a second, of those of the tower alone (at least 0.8)", alone, ours),
        ("the obvious script over Archive.add", theirs, ours),
    ):
        print(f"| {name} | {one.over(other, 'wall'):.2f} | {one.over(other, 'cpu'):.2f} |")


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["search", "index", "ask", "faiss"])
    parser.add_argument("words", nargs="*", help="of ask and faiss: archive, file of queries, kind of index")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=50, help="of each kind")
    parser.add_argument("--folder", type=Path, help="keep the archives there, and use those that are there")
    parser.add_argument("--out", default="", help="write the figures of search to this .json file")
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--files", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--size", choices=["b16", "b32"], default="b16")
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    if options.what == "search":
        with tempfile.TemporaryDirectory() as temporary:
            folder = options.folder or Path(temporary)
            folder.mkdir(exist_ok=True)
            search(options.rows, options.queries, folder, options.out)
    elif options.what == "index":
        index(options.minutes, options.files, options.runs, options.size, options.workers)
    elif options.what == "ask":
        ask(*map(Path, options.words))
    else:
        ask_faiss(Path(options.words[0]), Path(options.words[1]), options.words[2])


if __name__ == "__main__":
    main()
