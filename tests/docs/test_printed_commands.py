"""The commands that help, README and docs/ print are typed as they stand, in a folder that holds what they name.

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
from PIL import Image
from safetensors.torch import load_file

from fake_datasets import SEEDS, save_fake_model, write_fake_datasets
from small_world import NAMES
from vitaclip.catalog import load_dataset_classes
from vitaclip.cli import main
from vitaclip.cli.main import COMMANDS, DESCRIPTION, build_parser
from vitaclip.cli.parser import find_command, normalize
from vitaclip.data.reading.decode import open_video
from vitaclip.miniature.videos import write_videos

ROOT = Path(__file__).parents[2]
NAMES_OF_DOORS = ("opening a door", "closing a door", "a door")
NOT_RUN = {
    "vitaclip demo": "takes minutes: tests/miniature/test_demo.py",
    "vitaclip data prepare": "takes annotations: tests/data/prepare/test_prepare.py",
    "vitaclip convert open_clip.pt": "takes weights with the vocabulary of CLIP: tests/backbones/test_formats.py",
    "vitaclip convert vitaclip_k400.pth": "takes 400 learned contexts: tests/backbones/test_published.py",
    "vitaclip convert runs/doors/model doors.pth": "takes heads of 64: tests/backbones/test_model_folder.py",
    "vitaclip export": "takes minutes: tests/export/test_export.py",
    "vitaclip predict demo/": "is checked on all videos of the demo: tests/docs/test_printed_commands.py",
    "vitaclip moments val_videos/": "takes annotations of ActivityNet: tests/cli/test_moments.py",
    "vitaclip moments rtsp://camera.local/1": "follows a camera: tests/moments/test_live.py",
    "vitaclip moments 0 ": "follows a camera: tests/moments/test_live.py",
    "vitaclip moments recording.mkv --live": "follows a file that grows: tests/moments/test_live.py",
    "vitaclip index my_videos/ --model runs/doors --out archive --watch": "does not end: tests/cli/test_watch.py",
    "vitaclip index my_videos/ --model runs/doors --out archive.lance": "takes Ray: tests/search/test_cluster.py",
    "vitaclip index parts/*": "takes the parts of a cluster: tests/search/test_archive.py",
    "vitaclip eval val.csv --model runs/doors --runtime.precision int8": "takes VNNI: tests/backbones/test_int8.py",
    "vitaclip mcp": "serves until its client ends: tests/cli/test_mcp.py",
    "vitaclip list backbones facebook/PE-Core-B16-224": "prints what is listed: tests/cli/test_data_commands.py",
}
"""Starts of commands that take data or weights of their own, with the reason and where they run."""
SHORT = {
    "train": "--optim.epochs 0 --optim.steps 1 --optim.warmup_epochs 0 --optim.batch_size 2 --model.num_frames 2",
    "ablate": "--optim.steps 1 --optim.batch_size 2 --variants full --seeds 0 --data.augment.flip 0",
}
"""What ends a command that would train for hours."""
BEFORE = {
    "--calibration": "eval val/ --model runs/doors --save_calibration doors.json",
    "archive": "index my_videos/ --model runs/doors --out archive",
    "part0": "index my_videos/ --model runs/doors --shard 0/2 --out part0",
    "part1": "index my_videos/ --model runs/doors --shard 1/2 --out part1",
    "runs/coop/model": "train --config miniature --data.train demo/videos/train.csv --model.context {} --out runs/coop",
}
"""What comes before a command that has such a word."""
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
    "moments": "segment",
    "index": " files",
    "search": "1",
}


def printed() -> Iterator[str]:
    """Every example of the help, and every command of the README and of docs/."""
    yield from re.findall(r"^  (vitaclip [a-z].*?)(?:   .*)?$", DESCRIPTION, re.MULTILINE)
    for name, (inside, _) in COMMANDS.items():
        for names in [[name]] if isinstance(inside, str) else [[name, each] for each in inside]:
            text = find_command(COMMANDS, names).__doc__ or ""
            yield from re.findall(r"^ +((?:find .*\| )?vitaclip .*?)(?:   .*)?$", text, re.MULTILINE)
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        blocks = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
        for block in (content for language, content in blocks if language in ("", "bash", "sh")):
            for line in re.sub(r" *\\\n *", " ", block).splitlines():
                command = line.split("  ")[0].strip()  # a comment stands behind two blanks
                if command.startswith("vitaclip ") and "..." not in command:
                    yield command


EVERY = dict.fromkeys(command for command in printed() if "COMMAND" not in command)
RUN = [command for command in EVERY if not command.startswith(tuple(NOT_RUN))]


def test_nothing_is_left_out_in_vain() -> None:
    assert len(RUN) > 60
    assert [start for start in NOT_RUN if not any(each.startswith(start) for each in EVERY)] == []
    assert all((ROOT / reason.rpartition(": ")[2]).is_file() for reason in NOT_RUN.values())


@pytest.mark.parametrize("command", [command for command in EVERY if command not in RUN])
def test_command_that_is_not_run_parses(command: str) -> None:
    arguments = normalize(shlex.split(command)[1:])
    build_parser(arguments[0]).parse_args(arguments)


@pytest.fixture(scope="module")
def place(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the commands name."""
    place = tmp_path_factory.mktemp("place")
    fake = write_fake_datasets(place / "fake")
    backbone = fake / "backbone"
    (place / "hub").symlink_to(backbone)
    for name in ("my_videos", "test_videos", "new_videos", "val", "other", "cameras"):
        for n, label in enumerate(NAMES_OF_DOORS[:2]):
            folder = shutil.copytree(
                world / "videos" / NAMES[n].replace(" ", "_"), place / name / label.replace(" ", "_")
            )
            shutil.copy(folder / "0.mp4", folder / "4.mp4")
    clip = place / "my_videos" / "opening_a_door" / "0.mp4"
    key = "demo/videos/test_novel/white_key_moving_up/00001.mp4"
    with open_video(clip) as video:
        Image.fromarray(video.frames([0])[0].permute(1, 2, 0).numpy()).save(place / "frame.png")
    films = ("clip.mp4", "clips/clip.mp4", "film.mp4", key)
    for name in (*films, "UCF101/ApplyEyeMakeup/0.mp4", "k400/videos/0.mp4", "UCF-101/0.mp4"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, place / name)
    for below, names in (("", NAMES_OF_DOORS[:2]), ("demo/videos/", ("red heart growing", "white key moving up"))):
        videos = [sorted((place / "my_videos" / label.replace(" ", "_")).iterdir()) for label in NAMES_OF_DOORS[:2]]
        rows = [f"{file},{name}\n" for files, name in zip(videos, names, strict=True) for file in files]
        for name in ("train", "val", "test", "new", "test_trained", "test_novel"):
            (place / f"{below}{name}.csv").write_text("".join(rows))
        for name in ("names", "new_names", "classes_trained", "classes_novel"):
            (place / f"{below}{name}.txt").write_text("".join(f"{name}\n" for name in names))
    kinetics = [
        f"{clip.with_name(f'{n}.mp4')},{name}\n" for n, name in enumerate(load_dataset_classes("kinetics400").names[:2])
    ]
    for lists in ("k400", "lists/k400", "lists/ucf101", "lists/hmdb51"):
        if lists.startswith("lists/") and (fake / lists[6:]).exists():
            shutil.copytree(fake / lists[6:], place / lists)
        (place / lists).mkdir(parents=True, exist_ok=True)
        for name in ("train", "val"):
            (place / lists / f"{name}.csv").write_text("".join(kinetics))
    (place / "mine.yaml").write_text(
        f"model: {{backbone: {backbone}}}\ndata: {{train: {place}/my_videos, val: {place}/val}}\n"
    )
    (place / "my_variants.yaml").write_text("variants: {full: {about: all of them}}\n")
    for run in ("doors", "own_videos", "k400"):
        save_fake_model(place / "runs" / run / "model", backbone, 0, NAMES_OF_DOORS[:2], per_class=False)
    for number in SEEDS:
        for run in ("hmdb51_", "ucf101_s", "k400_s"):
            shutil.copytree(fake / "runs" / str(number), place / "runs" / f"{run}{number}")
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
    words = shlex.split(command.split(" | ")[-1].split(" > ")[0].replace("/data/", f"{place}/"))[1:]
    name = " ".join(words[:2]) if words[0] == "data" else words[0]
    if words[0] in SHORT and "runs/doors" in words:
        shutil.rmtree("runs/doors")  # a new user has no such run
    if "k400_vitb16_8f" in words:  # whose lists are those of Kinetics-400
        shutil.copytree("k400", ".", dirs_exist_ok=True)
    for given in [*(shlex.split(BEFORE[word]) for word in words if word in BEFORE), words]:
        assert main([*given, *shlex.split(SHORT.get(given[0], ""))]) == 0
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
