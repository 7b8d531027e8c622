"""Videos of the miniature world as H.264 files, with list files and class lists.

What a file shows depends on the seed, the class and the clip's number alone, not on the number of processes.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Literal, get_args

import av

from vitaclip.files import write_text
from vitaclip.miniature import world

Split = Literal["train", "test_trained", "test_novel"]
SPLITS: tuple[Split, ...] = get_args(Split)
# Clips of different splits never share their numbers, hence never their random draws.
_FIRST_CLIP = {"train": 0, "test_trained": 1_000_000, "test_novel": 2_000_000}

TRAINED_FILE, NOVEL_FILE = "classes_trained.txt", "classes_novel.txt"
MANIFEST_FILE = "manifest.json"
FORMAT_VERSION = 2


@dataclass(frozen=True)
class Manifest:
    """What a split's folder was made from; the same manifest means the same files."""

    split: str
    clips_per_class: int
    seed: int
    image_size: int
    frame_count: int
    format_version: int = FORMAT_VERSION


def write_videos(
    folder: str | Path,
    split: Split,
    clips_per_class: int,
    seed: int,
    *,
    image_size: int = world.IMAGE_SIZE,
    frame_count: int = world.FRAME_COUNT,
    processes: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write one split of the world: videos, a list file and the lists of class names.

    In `folder` it leaves ``<split>/<class name>/<number>.mp4``, ``<split>.csv`` with a ``path,class name`` a row (paths
    relative to `folder`), ``classes_trained.txt`` and ``classes_novel.txt``. A split that lies there complete, made
    from the same arguments, is kept as it is. The folder of videos appears only once it is whole.

    Args:
        folder: made if missing.
        split: "train" and "test_trained" hold the 216 trained classes, "test_novel" the 72 never trained ones.
        clips_per_class: videos of each class.
        seed: 0 or more; another one gives another world of the same kind.
        image_size: pixels a side, an even number.
        frame_count: frames a video, at 12 a second.
        processes: how many render at once; 1 stays in this process.
        progress: called with (videos written, videos in all), in this process.

    Returns:
        The path of the list file.

    Raises:
        ValueError: an argument is out of range, or the folder holds other videos of that split.
    """
    _check(split, clips_per_class, seed, image_size, frame_count, processes)
    folder = Path(folder)
    manifest = Manifest(split, clips_per_class, seed, image_size, frame_count)
    target = folder / split
    if target.exists():
        _check_same(target, manifest)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{split}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        _write_clips(partial, manifest, processes, progress)
        write_text(partial / MANIFEST_FILE, json.dumps(asdict(manifest), indent=2) + "\n")
        partial.rename(target)
    _write_lists(folder, manifest)
    return folder / f"{split}.csv"


def split_classes(split: Split) -> tuple[str, ...]:
    """The class names that a split shows."""
    return world.novel_classes() if split == "test_novel" else world.trained_classes()


def write_clip(path: Path, seed: int, class_id: int, index: int, image_size: int, frame_count: int) -> None:
    """Render one video and encode it as H.264 in an mp4 file."""
    frames = world.render_video(seed, class_id, index, image_size, frame_count)
    # Macroblock trees make x264 give other bytes from one process to the next, on a CPU with AVX-512.
    options = {"preset": "veryfast", "crf": "18", "x264-params": "mbtree=0"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=world.FRAMES_PER_SECOND, options=options)
        stream.width, stream.height, stream.pix_fmt = image_size, image_size, "yuv420p"
        stream.thread_count = 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def clip_path(name: str, number: int) -> Path:
    """Where a clip lies inside its split's folder."""
    return Path(name.replace(" ", "_")) / f"{number:05d}.mp4"


def _check(split: str, clips_per_class: int, seed: int, image_size: int, frame_count: int, processes: int) -> None:
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is unknown: choose one of {', '.join(SPLITS)}")
    if not 1 <= clips_per_class <= 1_000_000:
        raise ValueError(f"clips_per_class is {clips_per_class}: give a number from 1 to 1000000")
    if seed < 0:
        raise ValueError(f"seed is {seed}: give a number of 0 or more")
    if image_size < 32 or image_size % 2:
        raise ValueError(f"image_size is {image_size}: give an even number of at least 32 pixels")
    if frame_count < 2:
        raise ValueError(f"frame_count is {frame_count}: a motion takes at least 2 frames")
    if processes < 1:
        raise ValueError(f"processes is {processes}: give at least 1")


def _check_same(target: Path, manifest: Manifest) -> None:
    path = target / MANIFEST_FILE
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    if found != asdict(manifest):
        raise ValueError(f"{target} holds other videos than those asked for: delete it or choose another folder")


def _write_clips(folder: Path, manifest: Manifest, processes: int, progress: Callable[[int, int], None] | None) -> None:
    names = split_classes(manifest.split)  # type: ignore[arg-type]
    total, done = len(names) * manifest.clips_per_class, 0
    tasks = [(folder, manifest, name) for name in names]
    for count in _run(tasks, processes):
        done += count
        if progress is not None:
            progress(done, total)


def _run(tasks: list[tuple[Path, Manifest, str]], processes: int) -> Iterator[int]:
    if processes == 1:
        yield from map(_write_class, tasks)
        return
    # Fresh interpreters: forking one that runs torch's threads can hang.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_write_class, tasks)


def _write_class(task: tuple[Path, Manifest, str]) -> int:
    folder, manifest, name = task
    class_id = world.class_id_of(name)
    (folder / clip_path(name, 1)).parent.mkdir(parents=True)
    for number in range(1, manifest.clips_per_class + 1):
        index = _FIRST_CLIP[manifest.split] + number
        path = folder / clip_path(name, number)
        write_clip(path, manifest.seed, class_id, index, manifest.image_size, manifest.frame_count)
    return manifest.clips_per_class


def _write_lists(folder: Path, manifest: Manifest) -> None:
    split = manifest.split
    rows = [
        f"{(Path(split) / clip_path(name, number)).as_posix()},{name}\n"
        for name in split_classes(split)  # type: ignore[arg-type]
        for number in range(1, manifest.clips_per_class + 1)
    ]
    write_text(folder / f"{split}.csv", "".join(rows))
    write_text(folder / TRAINED_FILE, "".join(f"{name}\n" for name in world.trained_classes()))
    write_text(folder / NOVEL_FILE, "".join(f"{name}\n" for name in world.novel_classes()))
