"""The pages of docs/ and the README: tables are those of the code, settings and commands exist, examples run."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import docs_tables
from small_world import train_config
from video_files import write_video
from vitaclip.ablate.variants import load_comparison
from vitaclip.training.config import TrainConfig
from vitaclip.training.trainer import Trainer

ROOT = Path(__file__).parents[2]
PAGES = {path.name: path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]}


def test_tables_are_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert docs_tables.main(["--check"]) == 0, capsys.readouterr().out


@pytest.mark.slow
def test_first_commands_print_what_the_page_shows() -> None:
    """In a process of its own, since the hub's client reads its settings when it is imported."""
    command = [sys.executable, str(ROOT / "tools" / "first_commands.py"), "--check"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_stale_table_is_noticed() -> None:
    page = "<!-- table: limits -->\nold\n<!-- end -->\n"
    assert docs_tables.render_page(page) != page
    with pytest.raises(ValueError, match="no table 'x'; there is settings"):
        docs_tables.render_page("<!-- table: x -->\n<!-- end -->\n")


def test_readme_has_a_line_for_every_folder() -> None:
    tree = PAGES["README.md"].split("```\nsrc/vitaclip/\n")[1].split("```")[0]
    listed = re.findall(r"^  (\w+)/ ", tree, re.MULTILINE)
    assert sorted(listed) == sorted(folder.parent.name for folder in ROOT.glob("src/vitaclip/*/__init__.py"))


def test_every_setting_named_exists() -> None:
    known = {path for path, _, _ in docs_tables.settings(TrainConfig())}
    known |= {path.rpartition(".")[0] for path in known} | {path.split(".")[0] for path in known}
    named = {
        (page, name)
        for page, text in PAGES.items()
        for name in re.findall(r"[`-]((?:data|optim|model|runtime)\.(?!py|safetensors)[a-z_.]*[a-z_])[` ]", text)
    }
    assert len(named) > 100
    assert sorted((page, name) for page, name in named if name not in known) == []


def test_settings_beside_published_flags_exist() -> None:
    rows = re.findall(r"^\| `--(\w+)` \|.*?\|(.*?)\|.*\|$", PAGES["published_flags.md"], re.MULTILINE)
    assert len(dict(rows)) == len(rows) > 50
    known = {path for path, _, _ in docs_tables.settings(TrainConfig())} | {"none"}
    assert [row for row in rows if row[1].strip(" `") not in known] == []


def test_example_of_reading_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGES["reading_video.md"], re.DOTALL)
    write_video(tmp_path / "clip.mp4")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example, names)
    assert capsys.readouterr().out == "40 25.0 torch.Size([1, 3, 48, 64])\n"
    assert names["frames"].shape == (8, 3, 48, 64)


def test_example_of_variants_loads(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(PAGES["ablation.md"].split("```yaml\n")[1].split("```")[0])
    variants, _ = load_comparison(str(file))
    assert all(variant.config(TrainConfig()) for variant in variants)
    assert len(variants) == 5


def test_metrics_are_those_of_a_run(world: Path, tmp_path: Path) -> None:
    config = train_config(world, tmp_path, max_gradient_norm=1.0)
    Trainer(replace(config, data=replace(config.data, val=str(world / "videos")))).fit()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    table = PAGES["runs.md"].split("| metric | |")[1].split("\n\n")[0]
    named = {name for row in table.splitlines()[2:] for name in re.findall(r"`([a-z_/0-9]+)`", row.split("|")[1])}
    assert named == {name for line in lines for name in line} - {"step"}
    for name in ("SIGINT", "SIGTERM"):
        assert f"| {128 + getattr(signal, name)} | " in PAGES["runs.md"]
