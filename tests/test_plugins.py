"""What docs/extend/ shows works from outside the package; what is wrong with a plugin is one line."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import save_file

from small_world import NAMES
from vitaclip.backbones.families.openai import TABLE
from vitaclip.backbones.families.table import to_theirs
from vitaclip.backbones.loading import load_backbone
from vitaclip.plugins import take_plugins, use_plugins

PAGES = sorted((Path(__file__).parents[1] / "docs" / "extend").glob("[a-z]*.md"))
RUN = """
import json, os, shlex, sys
from pathlib import Path
from vitaclip.cli.main import main
quick = ["--model.backbone", "clip", "--optim.steps", "2", "--optim.batch_size", "2", "--data.workers", "0"]
for page, (plugin, command) in json.load(open("pages.json")).items():
    Path("plugin.py").write_text(plugin)
    os.environ.pop("VITACLIP_PLUGINS", None)
    os.rename("plugin.py", f"{page}.py")
    arguments = shlex.split(command.replace("plugin.py", f"{page}.py"))[1:]
    if arguments[0] == "train":
        at = arguments.index("own_videos") + 1
        arguments[at:at] = quick
    else:
        arguments += ["--backbone", "clip", "--workers", "0"]
    print(page, main(arguments), file=sys.stderr)
"""


def test_pages_run_and_are_short(world: Path, tmp_path: Path) -> None:
    pages = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        (plugin,), (command,) = (re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL) for kind in ("python", "bash"))
        assert len(plugin.splitlines()) <= 40, page
        pages[page.stem] = plugin, command.replace("\\\n", "")
    assert set(pages) == {"context", "pool", "family", "dataset", "loss"}
    (tmp_path / "pages.json").write_text(json.dumps(pages))
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
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", RUN], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert {page: f"{page} 0" in done.stderr for page in pages} == dict.fromkeys(pages, True), done.stderr
    settings = json.loads((tmp_path / "runs" / "motion" / "model" / "config.json").read_text())["model"]
    assert settings["context"]["motion"] == {"distance": 2}
    assert "moving to the left" in done.stdout


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
