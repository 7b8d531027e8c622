"""Run the commands of docs/first_commands.md in a fresh folder and write what they print below them.

    PYTHONPATH=tests python tools/first_commands.py            # write the page
    PYTHONPATH=tests python tools/first_commands.py --check    # compare the words, whatever the figures: status 1

The hub that the commands meet is on this machine, and hands out the tower of the miniature world. Rows of training
bars are left out: their times differ from run to run.
"""

import contextlib
import io
import os
import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from fake_hub import hub

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "first_commands.md"
CLASSES = ("red heart growing", "red heart shrinking")
_LEFT_OUT = re.compile(r"^(step \d+ of|\w+(, loss [\d.]+)? [━╸╺]|$)|it/s")


def write_videos(folder: Path) -> None:
    """Four videos of each class to train on, two to test on, and one by itself."""
    from vitaclip.miniature.videos import encode_video
    from vitaclip.miniature.world import class_id_of, render_video

    for name in CLASSES:
        for number in range(6):
            place = folder / ("my_videos" if number < 4 else "test_videos") / name.replace(" ", "_") / f"{number}.mp4"
            place.parent.mkdir(parents=True, exist_ok=True)
            encode_video(place, render_video(0, class_id_of(name), number, 64, 16))
        (folder / "new_videos").mkdir(exist_ok=True)
        shutil.copy(place, folder / "new_videos" / f"{name.replace(' ', '_')}.mp4")
    shutil.copy(place, folder / "clip.mp4")


def transcript(commands: list[str]) -> str:
    """Each command, and what it prints on both streams."""
    from vitaclip.cli import main

    lines = []
    for command in commands:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            main(shlex.split(command)[1:])
        kept = [line.rstrip() for line in printed.getvalue().splitlines() if not _LEFT_OUT.search(line)]
        lines += [f"$ {command}", *(line.replace(str(Path.cwd()), "~") for line in kept)]
    return "\n".join(lines) + "\n"


def run() -> int:
    """Write the page, or compare."""
    before = PAGE.read_text(encoding="utf-8")
    start, block, end = re.split(r"^```\n", before, flags=re.MULTILINE)
    commands = [line[2:] for line in block.splitlines() if line.startswith("$ ")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_videos(folder)
        with contextlib.chdir(folder):
            after = f"{start}```\n{transcript(commands)}```\n{end}"
    if "--check" in sys.argv:
        # Figures, and so the order of rows and the width of columns, depend a little on the processor.
        differing = set(re.findall(r"\b[a-z_-]+\b", before)) ^ set(re.findall(r"\b[a-z_-]+\b", after))
        print(f"{PAGE.name}: {sorted(differing)}")
        return int(bool(differing))
    PAGE.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place, hub(Path(place)) as server:
        # Before the package is imported: the hub's client and torch read them then.
        os.environ |= {"HF_HOME": f"{place}/cache", "HF_ENDPOINT": server.address, "HF_HUB_DISABLE_XET": "1"}
        os.environ |= {"COLUMNS": "120", "OMP_NUM_THREADS": "1"}
        from vitaclip.backbones.hub import DEFAULT_BACKBONE, SHIPPED

        shutil.copytree(SHIPPED["miniature"] / "backbone", Path(place) / DEFAULT_BACKBONE)
        sys.exit(run())
