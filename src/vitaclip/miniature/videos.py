"""Videos of the miniature world as H.264 files, with list files and class lists.

What a file shows depends on the seed, the class and the clip's number alone, not on the number of processes.
"""

import json
import math
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import av

from vitaclip.data.workers import run_in_processes
from vitaclip.files import write_text
from vitaclip.miniature import world

Split = Literal["train", "test_trained", "test_novel"]
# Clips of different splits never share their numbers, hence never their random draws.
_FIRST_CLIP: dict[Split, int] = {"train": 0, "test_trained": 1_000_000, "test_novel": 2_000_000}
TRAINED_FILE, NOVEL_FILE = "classes_trained.txt", "classes_novel.txt"
MANIFEST_FILE = "manifest.json"
FORMAT_VERSION = 2


def write_videos(
    folder: str | Path,
    split: Split,
    clips_per_class: int,
    seed: int,
    *,
    processes: int = 2,
    on_done: Callable[[int], None] = lambda _: None,
) -> Path:
    """Write one split of the world: videos, a list file and the lists of class names.

    In `folder` it leaves ``<split>/<class name>/<number>.mp4``, ``<split>.csv`` with a ``path,class name`` a row (paths
    relative to `folder`), ``classes_trained.txt`` and ``classes_novel.txt``. A split that lies there complete, made
    from the same arguments, is kept as it is. The folder of videos appears only once it is whole.

    Args:
        folder: made if missing.
        split: "train" and "test_trained" hold the 216 trained classes, "test_novel" the 72 never trained ones.
        clips_per_class: videos of each class, at least 1.
        seed: 0 or more; another one gives another world of the same kind.
        processes: how many render at once; 0 stays in this process.
        on_done: called with the number of videos just written, in this process.

    Returns:
        The path of the list file.

    Raises:
        ValueError: the folder holds other videos of that split.
    """
    manifest = {"split": split, "clips_per_class": clips_per_class, "seed": seed}
    manifest |= {"image_size": world.IMAGE_SIZE, "frame_count": world.FRAME_COUNT, "format_version": FORMAT_VERSION}
    target = (folder := Path(folder)) / split
    if target.exists():
        file = target / MANIFEST_FILE
        if not file.is_file() or json.loads(file.read_text(encoding="utf-8")) != manifest:
            raise ValueError(f"{target} holds other videos than those asked for: delete it or choose another folder")
    else:
        partly = folder / f".{split}.partial"
        shutil.rmtree(partly, ignore_errors=True)
        task = partial(_write_class, partly, _FIRST_CLIP[split], clips_per_class, seed)
        for outcome in run_in_processes(task, split_classes(split), processes, math.inf):
            if outcome.error:
                raise outcome.error
            on_done(clips_per_class)
        write_text(partly / MANIFEST_FILE, json.dumps(manifest, indent=2) + "\n")
        partly.rename(target)
    rows = [
        f"{(Path(split) / clip_path(name, number)).as_posix()},{name}"
        for name in split_classes(split)
        for number in range(1, clips_per_class + 1)
    ]
    lines = {f"{split}.csv": rows, TRAINED_FILE: world.trained_classes(), NOVEL_FILE: world.novel_classes()}
    for name, texts in lines.items():
        write_text(folder / name, "".join(f"{text}\n" for text in texts))
    return folder / f"{split}.csv"


def split_classes(split: Split) -> tuple[str, ...]:
    """The class names that a split shows."""
    return world.novel_classes() if split == "test_novel" else world.trained_classes()


def clip_path(name: str, number: int) -> Path:
    """Where a clip lies inside its split's folder."""
    return Path(name.replace(" ", "_")) / f"{number:05d}.mp4"


def encode_video(path: Path, frames: world.ByteArray, fps: int = world.FRAMES_PER_SECOND) -> None:
    """Write frames (F, H, W, 3) as H.264 in an mp4 file, the same bytes in every process."""
    # Macroblock trees make x264 give other bytes from one process to the next, on a CPU with AVX-512.
    options = {"preset": "veryfast", "crf": "18", "x264-params": "mbtree=0"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        stream.thread_count = 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _write_class(folder: Path, first_clip: int, count: int, seed: int, name: str) -> None:
    (folder / clip_path(name, 1)).parent.mkdir(parents=True)
    for number in range(1, count + 1):
        frames = world.render_video(seed, world.class_id_of(name), first_clip + number)
        encode_video(folder / clip_path(name, number), frames)
