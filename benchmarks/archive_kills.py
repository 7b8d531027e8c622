"""Kills `Archive.add` again and again, and compares what it has made in the end with what an undisturbed call made.

    python benchmarks/archive_kills.py --files 1000 --kills 100 --out kills.json

The videos are short clips of the miniature world (synthetic), one in twenty of them cut off. A copy of this process
indexes them; after some more files, drawn at random, and up to 50 ms it gets SIGKILL, and the next copy goes on.
Commits are made small (5 files), so that many kills meet one.
"""

import json
import os
import random
import signal
import time
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from vitaclip.data.config import DataConfig
from vitaclip.miniature.videos import encode_video
from vitaclip.miniature.world import render_video
from vitaclip.predictor import Predictor
from vitaclip.search import archive as archive_module
from vitaclip.search.archive import Archive
from vitaclip.search.rows import Rows

FRAMES, SIZE = 8, 64


def write_files(folder: Path, count: int) -> None:
    """Clips, of which every twentieth is damaged."""
    folder.mkdir()
    for number in range(count):
        file = folder / f"{number:04}.mp4"
        encode_video(file, render_video(0, number % 288, number, SIZE, FRAMES))
        if number % 20 == 7:
            os.truncate(file, file.stat().st_size // 3)


def content(path: Path) -> dict[str, tuple[bytes, ...] | str]:
    """The rows of each file to the bit, or why it has none."""
    store = Archive.open(path).store
    (model,) = store.models
    rows = Rows.join(store.rows(model))
    if len(rows) != len({(video, *time) for video, time in zip(rows.videos, rows.times.tolist(), strict=True)}):
        raise SystemExit("rows are there twice")
    found: dict[str, tuple[bytes, ...] | str] = {}
    for file, entry in store.files.items():
        own = rows.take(rows.of({entry.video}).nonzero()[0])
        found[Path(file).name] = (own.times.tobytes(), own.vectors.tobytes()) if len(own) else entry.error
    return found


def index_until_killed(predictor: Predictor, folder: Path, path: Path, wait: float, files: int) -> bool:
    """Index in a copy of this process, and kill it after so many files and seconds; whether it was still at work."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        seen = 0

        def tell(done: int, total: int) -> None:
            nonlocal seen
            seen += 1
            os.write(writer, b".")

        status = 1
        try:
            Archive.open(path).add(predictor, [folder], on_progress=tell)
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    while files > 0 and (told := os.read(reader, files)):
        files -= len(told)
    time.sleep(wait)
    os.kill(child, signal.SIGKILL)
    os.close(reader)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status > 0:
        raise SystemExit("a copy ended with an error")
    return status == -signal.SIGKILL


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--out", default="")
    options = parser.parse_args()
    torch.set_num_threads(1)
    archive_module._COMMIT_FILES = 5
    draw, kills = random.Random(0), 0
    predictor = Predictor("miniature", data=DataConfig(workers=0))
    with TemporaryDirectory() as place:
        folder, path = Path(place) / "films", Path(place) / "archive"
        write_files(folder, options.files)
        whole = Archive.open(Path(place) / "whole").add(predictor, [folder])
        most = max(1, 2 * options.files // options.kills)
        while kills < options.kills:
            if not index_until_killed(predictor, folder, path, draw.uniform(0, 0.05), draw.randint(1, most)):
                break
            kills += 1
        last = Archive.open(path).add(predictor, [folder])
        expected, found = content(Path(place) / "whole"), content(path)
        again = Archive.open(path).add(predictor, [folder])
    figures = {
        "files": options.files,
        "damaged": len(whole.damaged),
        "rows": whole.windows,
        "kills": kills,
        "left_for_the_last_call": last.embedded,
        "embedded_once_more": again.embedded,
        "damaged_told_again": len(again.damaged),
        "the_same": found == expected,
    }
    print(json.dumps(figures, indent=2))
    if options.out:
        Path(options.out).write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
