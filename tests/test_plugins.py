"""What docs/extend/ shows works from outside the package; what is wrong with a plugin is one line."""

import json
import os
import re
import shlex
import sys
from functools import partial
from pathlib import Path

import pytest
from safetensors.torch import save_file

from small_world import NAMES
from torchrun import fork, status_of
from vitaclip.backbones.families.openai import TABLE
from vitaclip.backbones.families.table import to_theirs
from vitaclip.backbones.loading import load_backbone
from vitaclip.cli import main
from vitaclip.plugins import take_plugins, use_plugins

PAGES = sorted((Path(__file__).parents[1] / "docs" / "extend").glob("[a-z]*.md"))
QUICK = ("--model.backbone", "clip", "--optim.steps", "2", "--optim.batch_size", "2", "--data.workers", "0")


def run_pages(folder: Path, pages: dict[str, tuple[str, str]]) -> None:
    """Type the command of each page beside its plugin, and print the status."""
    os.chdir(folder)
    for page, (plugin, command) in pages.items():
        Path(f"{page}.py").write_text(plugin)
        os.environ.pop("VITACLIP_PLUGINS", None)
        arguments = shlex.split(command.replace("plugin.py", f"{page}.py"))[1:]
        at = arguments.index("own_videos") + 1 if arguments[0] == "train" else len(arguments)
        arguments[at:at] = QUICK if arguments[0] == "train" else ("--backbone", "clip", "--workers", "0")
        print(page, main(arguments), file=sys.stderr)


def test_pages_run_and_are_short(world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pages = dict[str, tuple[str, str]]()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        (plugin,), (command,) = (re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL) for kind in ("python", "bash"))
        assert len(plugin.splitlines()) <= 40, page
        pages[page.stem] = plugin, command.replace("\\\n", "")
    assert set(pages) == {"context", "pool", "family", "dataset", "loss"}
    (tmp_path / "my_videos").symlink_to(world / "videos")
    (tmp_path / "clip").symlink_to(world / "backbone")
    videos = sorted((world / "videos").rglob("*.mp4"))
    listed = [f"{file},{NAMES.index(file.parent.name.replace('_', ' '))}" for file in videos]
    (tmp_path / "my_videos.csv").write_text("\n".join(listed))
    (tmp_path / "towers_apart").mkdir()
    clip = load_backbone(world / "backbone").clip
    theirs = to_theirs(clip.state_dict(), TABLE)
    apart = {f"{'image' if name.startswith('visual') else 'words'}.{name}": t for name, t in theirs.items()}
    apart = {name: tensor.contiguous() for name, tensor in apart.items()}
    save_file(apart, tmp_path / "towers_apart" / "towers.safetensors")
    (tmp_path / "towers_apart" / "heads.json").write_text('{"image": 2, "words": 2}')
    (tmp_path / "towers_apart" / "tokenizer.json").symlink_to(world / "backbone" / "tokenizer.json")
    capfd.readouterr()
    # In a copy of this process: what plugins register must not reach other tests.
    status = status_of(fork(partial(run_pages, tmp_path, pages)))
    printed = capfd.readouterr()
    assert status == 0, printed.err
    assert {page: f"{page} 0" in printed.err for page in pages} == dict.fromkeys(pages, True), printed.err
    settings = json.loads((tmp_path / "runs" / "motion" / "model" / "config.json").read_text())["model"]
    assert settings["context"]["motion"] == {"distance": 2}
    assert "moving to the left" in printed.out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("import nothing_like_it", "ModuleNotFoundError: No module named"),
        ("def :", "SyntaxError"),
        ("1 / 0", "ZeroDiv"),
    ],
)
def test_broken_plugins_are_one_line(
    content: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VITACLIP_PLUGINS", "")
    (tmp_path / "mine.py").write_text(content)
    with pytest.raises(ValueError, match=rf"mine.py: does not import \({message}.*mend it or leave it out") as caught:
        use_plugins([tmp_path / "mine.py"])
    assert "\n" not in str(caught.value)


def test_missing_plugins_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITACLIP_PLUGINS", "")
    with pytest.raises(ValueError, match=r"gone.py: does not import \(FileNotFoundError"):
        use_plugins([tmp_path / "gone.py"])


def test_plugins_stand_anywhere_on_the_command_line() -> None:
    assert take_plugins(["train", "--plugins", "a.py", "--seed", "1", "--plugins=b.py"]) == (
        ["train", "--seed", "1"],
        ["a.py", "b.py"],
    )
    with pytest.raises(ValueError, match="--plugins: name a Python file"):
        take_plugins(["train", "--plugins"])
