"""The rooms of the house: who may import whom, that help is quick, and that every setting is read somewhere."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import vitaclip
from vitaclip import runtime
from vitaclip.backbones import config as clip_config
from vitaclip.data import config as data_config
from vitaclip.data import tools
from vitaclip.miniature import demo
from vitaclip.moments import config as moments_config
from vitaclip.parts import config as parts_config
from vitaclip.parts.registry import parts
from vitaclip.settings import setting_texts
from vitaclip.training import config as train_config

SOURCE = Path(vitaclip.__file__).parent
# A room may import those that stand before it.
ROOMS = (
    *("version", "strings", "names", "plugins", "settings", "untrusted", "files", "figures", "distributed", "runtime"),
    *("catalog", "data", "backbones", "parts", "saving", "model", "evaluation", "training", "recipes"),
    *("moments", "predictor", "search", "mteb", "export", "explain", "report", "ablate", "miniature", "cli"),
)
# But for these, which have nothing to do with each other.
APART = {
    "catalog": {"runtime", "distributed"},
    "data": {"distributed", "figures"},
    "backbones": {"data", "catalog", "runtime"},
    "parts": {"catalog"},
    "predictor": {"training", "recipes"},
    "export": {"training", "recipes", "predictor", "moments"},
    "explain": {"training", "recipes"},
    "ablate": {"explain", "report", "recipes"},
}
# The same of what is in `data`, after the single files, which need nothing of it.
ROOMS_IN_DATA = ("reading", "lists", "prepare", "workers", "loading", "tools")


def imported_rooms(file: Path, house: str = "vitaclip.") -> set[str]:
    """Rooms of the package that a file imports, at its top or inside its functions."""
    rooms = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: write imports in full"
            names = [node.module or ""]
        rooms |= {name.removeprefix(house).split(".")[0] for name in names if name.startswith(house)}
    return rooms


def files_of(place: Path) -> list[Path]:
    files = sorted(place.rglob("*.py")) or [place.with_suffix(".py")]
    assert files[0].exists()
    return files


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_one_way(room: str) -> None:
    allowed = {*ROOMS[: ROOMS.index(room) + 1]} - APART.get(room, set())
    for file in files_of(SOURCE / room):
        assert imported_rooms(file) <= allowed, file.relative_to(SOURCE)


@pytest.mark.parametrize("room", ROOMS_IN_DATA)
def test_imports_within_data_run_one_way(room: str) -> None:
    above = {*ROOMS_IN_DATA[ROOMS_IN_DATA.index(room) + 1 :]}
    for file in files_of(SOURCE / "data" / room):
        assert not imported_rooms(file, "vitaclip.data.") & above, file


def test_every_room_is_known() -> None:
    rooms = {path.stem for path in SOURCE.iterdir() if not path.name.startswith("_")}
    assert rooms == set(ROOMS)
    in_data = {path.name for path in (SOURCE / "data").iterdir() if path.is_dir() and not path.name.startswith("_")}
    assert in_data | {"prepare", "tools", "workers"} == set(ROOMS_IN_DATA)


def test_every_setting_is_documented_and_read_somewhere() -> None:
    modules = (
        data_config,
        parts_config,
        clip_config,
        train_config,
        moments_config,
        runtime,
        demo,
        tools,
    )
    named: set[type[Any]] = {
        cls for module in modules for name, cls in vars(module).items() if name.endswith(("Config", "Limits"))
    }
    named |= {part.config_class for slot in ("context", "pool", "head") for part in parts(slot).values()}
    code = "\n".join(file.read_text() for file in SOURCE.rglob("*.py"))
    for cls in named:
        for name, _, text in setting_texts(cls):
            assert text, f"{cls.__name__}.{name} has no text below it"
            assert f".{name}" in code or f'"{name}"' in code, f"nothing reads {cls.__name__}.{name}"


def test_help_and_lists_do_not_import_torch() -> None:
    code = (
        'import sys; from vitaclip.cli.main import build_parser, main; build_parser("").format_help();'
        'main(["list", "classes"]); main(["list", "templates"]);'
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
