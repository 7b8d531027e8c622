"""The commands that the help and the README print are typed as they stand, in a folder that holds what they name.

Weights that they fetch or read are a tiny CLIP with random ones, so what is checked is that each does what it says.
"""

import csv
import io
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file

from fake_datasets import save_fake_model, write_words_backbone
from small_world import NAMES
from vitaclip.cli import main
from vitaclip.cli.main import COMMANDS, DESCRIPTION
from vitaclip.cli.parser import find_command
from vitaclip.miniature.videos import write_videos

ROOT = Path(__file__).parents[2]
NAMES_OF_DOORS = ("opening a door", "closing a door", "a door")
TESTED_ELSEWHERE = {
    "vitaclip demo": "tests/miniature/test_demo.py",
    "vitaclip data prepare": "tests/data/prepare",
    "vitaclip eval runs/k400 --protocol": "tests/evaluation/test_protocols.py",
    "vitaclip eval --protocol": "tests/evaluation/test_protocols.py",
    "vitaclip eval test_videos/ --model runs/doors --calibration": "tests/evaluation/test_decision.py",
    "vitaclip train --config k400": "tests/test_recipes.py",
    "vitaclip ablate mine.yaml": "tests/cli/test_ablate.py",
    "vitaclip convert vitaclip_k400.pth": "tests/backbones/test_published.py",
    "vitaclip convert runs/doors/model doors.pth": "tests/backbones/test_model_folder.py",
    "vitaclip convert open_clip.pt": "tests/backbones/test_formats.py",
    "vitaclip data scan lists/k400": "tests/data/tools/test_scan.py",
    "vitaclip data resize k400/videos k400/videos_320": "tests/data/tools/test_resize.py",
    "vitaclip predict demo/": "test_line_of_the_demo_names_most_videos_right",
}
"""What takes data or weights of its own: the start of a command, and where it runs."""
SHORT = {
    "train": "--optim.epochs 0 --optim.steps 1 --optim.warmup_epochs 0 --optim.batch_size 2 --model.num_frames 2",
    "ablate": "--optim.steps 1 --optim.batch_size 2 --variants full --seeds 0 --data.augment.flip 0",
}
"""What ends a command that would train for hours."""
SAYS = {
    "train": "use it: vitaclip predict VIDEO --model",
    "predict": " video",
    "embed": "vectors are in",
    "explain": "nearest texts: ",
    "eval": "top-1",
    "ablate": "the table: ",
    "convert": "fingerprint",
    "data scan": "good",
    "data resize": "shrunk",
    "list": "",
}


def printed() -> Iterator[str]:
    """Every example of the help, and every command of the README."""
    yield from re.findall(r"^  (vitaclip [a-z].*?)(?:   .*)?$", DESCRIPTION, re.MULTILINE)
    for name, (inside, _) in COMMANDS.items():
        for names in [[name]] if isinstance(inside, str) else [[name, each] for each in inside]:
            text = find_command(COMMANDS, names).__doc__ or ""
            yield from re.findall(r"^ +((?:find .*\| )?vitaclip .*?)(?:   .*)?$", text, re.MULTILINE)
    blocks = re.findall(r"^```\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    yield from (line for block in blocks for line in block.splitlines() if line.startswith("vitaclip "))


EVERY = dict.fromkeys(command for command in printed() if "COMMAND" not in command)
RUN = [command for command in EVERY if not command.startswith(tuple(TESTED_ELSEWHERE))]


def test_nothing_is_left_out_in_vain() -> None:
    assert len(RUN) > 25
    assert [start for start in TESTED_ELSEWHERE if not any(each.startswith(start) for each in EVERY)] == []


@pytest.fixture(scope="module")
def place(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the commands name."""
    place = tmp_path_factory.mktemp("place")
    backbone = write_words_backbone(place / "hub")
    for name in ("my_videos", "test_videos", "new_videos", "val"):
        for n, label in enumerate(NAMES_OF_DOORS[:2]):
            shutil.copytree(world / "videos" / NAMES[n].replace(" ", "_"), place / name / label.replace(" ", "_"))
    clip = place / "my_videos" / "opening_a_door" / "0.mp4"
    for name in ("clip.mp4", "clips/clip.mp4", "UCF101/ApplyEyeMakeup/0.mp4", "k400/videos/0.mp4"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, place / name)
    for name in ("train", "val", "test"):
        rows = [f"my_videos/{label.replace(' ', '_')}/0.mp4,{n}\n" for n, label in enumerate(NAMES_OF_DOORS[:2])]
        (place / f"{name}.csv").write_text("".join(rows))
    for name in ("names.txt", "new_names.txt"):
        (place / name).write_text("opening a door\nclosing a door\n")
    (place / "mine.yaml").write_text(f"model: {{backbone: {backbone}}}\n")
    for run in ("doors", "own_videos"):
        save_fake_model(place / "runs" / run / "model", backbone, 0, NAMES_OF_DOORS[:2])
    shutil.copytree(backbone, place / "ViT-B-16.pt")
    return place


@pytest.mark.slow
@pytest.mark.parametrize("command", RUN)
def test_printed_command_does_what_it_says(
    command: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("vitaclip.backbones.hub.fetch_repository", lambda _: place / "hub")
    monkeypatch.chdir(shutil.copytree(place, tmp_path / "here"))
    if command.startswith("find "):
        monkeypatch.setattr("sys.stdin", io.StringIO("./clip.mp4\n./clips/clip.mp4\n"))
    words = shlex.split(command.split(" | ")[-1].split(" > ")[0])[1:]
    name = " ".join(words[:2]) if words[0] == "data" else words[0]
    if words[0] in SHORT and "runs/doors" in words:
        shutil.rmtree("runs/doors")  # a new user has no such run
    assert main([*words, *shlex.split(SHORT.get(words[0], ""))]) == 0
    said = capsys.readouterr().out
    assert SAYS[name] in said
    for option in ("--out", "--report"):
        if option in words:
            assert Path(words[words.index(option) + 1]).exists()
    if words[0] == "convert" and "--to" not in words:
        assert load_file(Path(words[2]) / ("backbone" if "runs" in words[1] else "") / "model.safetensors")


@pytest.mark.slow
def test_line_of_the_demo_names_most_videos_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the videos that `vitaclip demo` writes."""
    (line,) = {command for command in EVERY if command.startswith("vitaclip predict demo/")}
    monkeypatch.chdir(tmp_path)
    write_videos(Path("demo/videos"), "test_trained", clips_per_class=1, seed=0)
    assert main([*shlex.split(line)[1:], "--out", "found.csv"]) == 0
    assert "216 videos" in capsys.readouterr().out
    rows = list(csv.DictReader(io.StringIO(Path("found.csv").read_text())))
    right = sum(Path(row["path"]).parent.name.replace("_", " ") == row["name1"] for row in rows)
    assert right >= 0.9 * len(rows) == 0.9 * 216
