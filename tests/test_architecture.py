"""The rooms of the house: who may import whom, that help is quick, and that every setting is read somewhere."""

import ast
import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import vitaclip
from vitaclip import interpolation, runtime
from vitaclip.backbones import config as clip_config
from vitaclip.data import config as data_config
from vitaclip.data.tools import packing, resize, scan
from vitaclip.miniature import demo
from vitaclip.parts import config as parts_config
from vitaclip.parts.registry import parts
from vitaclip.train import config as train_config

SOURCE = Path(vitaclip.__file__).parent
# A room may import the rooms that stand before it in its own row, besides them `names` and `strings`, and nothing else.
ALLOWED: dict[str, set[str]] = {
    "version": set(),
    "names": set(),
    "strings": set(),
    "plugins": set(),
    "settings": set(),
    "untrusted": set(),
    "files": set(),
    "figures": set(),
    "distributed": set(),
    "catalog": {"plugins"},
    "backbones": {"plugins", "settings", "untrusted", "files"},
    "parts": {"plugins", "settings", "backbones", "data"},
    "runtime": {"settings"},
    "recipes": {"train", "settings", "untrusted"},
    "data": {"settings", "untrusted", "files", "runtime", "catalog"},
    "saving": {"data", "settings", "untrusted", "files", "backbones", "parts"},
    "model": {"runtime", "settings", "files", "backbones", "parts", "saving"},
    "interpolation": {"settings", "backbones", "model"},
    "evaluate": {
        "parts",
        *(
            "version",
            "settings",
            "untrusted",
            "files",
            "figures",
            "runtime",
            "distributed",
            "catalog",
            "backbones",
            "data",
        ),
        *("model", "interpolation"),
    },
    "predictor": {"settings", "runtime", "data", "model", "evaluate"},
    "explain": {"figures", "backbones", "data", "parts", "model", "evaluate", "predictor"},
    "report": {"version", "files", "figures", "data", "evaluate", "predictor", "explain"},
    "train": {
        "parts",
        *(
            "settings",
            "plugins",
            "untrusted",
            "files",
            "runtime",
            "distributed",
            "backbones",
            "saving",
            "data",
            "model",
        ),
        "evaluate",
    },
    "ablate": {
        "saving",
        "interpolation",
        *("version", "settings", "untrusted", "files", "distributed", "data", "model", "evaluate", "train"),
    },
    "miniature": {
        "settings",
        "files",
        "figures",
        "recipes",
        "data",
        "model",
        "evaluate",
        "predictor",
        "report",
        "train",
    },
    "cli": {
        "interpolation",
        *(
            "version",
            "plugins",
            "settings",
            "settings",
            "untrusted",
            "files",
            "runtime",
            "distributed",
            "recipes",
            "catalog",
            "data",
        ),
        *(
            "backbones",
            "parts",
            "saving",
            "model",
            "evaluate",
            "predictor",
            "explain",
            "report",
            "train",
            "ablate",
            "miniature",
        ),
    },
}


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


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_imports_run_one_way(room: str) -> None:
    files = [SOURCE / f"{room}.py"] if (SOURCE / f"{room}.py").exists() else sorted((SOURCE / room).rglob("*.py"))
    assert files
    for file in files:
        assert imported_rooms(file) - {room, "names", "strings"} <= ALLOWED[room], file.relative_to(SOURCE)


# The same of what is in `data`, after the single files, which need nothing of it.
ALLOWED_IN_DATA: dict[str, set[str]] = {
    "transforms": set(),
    "reading": {"transforms"},
    "lists": {"reading"},
    "workers": {"reading"},
    "loading": {"reading", "transforms", "lists", "workers"},
    "prepare": {"reading"},
    "tools": {"reading", "transforms", "lists", "workers"},
}


@pytest.mark.parametrize("room", sorted(ALLOWED_IN_DATA))
def test_imports_within_data_run_one_way(room: str) -> None:
    place = SOURCE / "data" / room
    for file in sorted(place.rglob("*.py")) or [place.with_suffix(".py")]:
        assert imported_rooms(file, "vitaclip.data.") & set(ALLOWED_IN_DATA) - {room} <= ALLOWED_IN_DATA[room], file


def test_every_room_is_known() -> None:
    rooms = {path.stem for path in SOURCE.iterdir() if not path.name.startswith("_")}
    assert rooms == set(ALLOWED)
    in_data = {path.name for path in (SOURCE / "data").iterdir() if path.is_dir() and not path.name.startswith("_")}
    assert in_data | {"workers"} == set(ALLOWED_IN_DATA)


CONFIG_MODULES = (
    *(data_config, parts_config, clip_config, train_config, interpolation, runtime, demo),
    *(packing, resize, scan),
)
SETTINGS = [
    *(cls for module in CONFIG_MODULES for name, cls in vars(module).items() if name.endswith(("Config", "Limits"))),
    *(part.config_class for slot in ("context", "pool", "head") for part in parts(slot).values()),
]


def test_every_setting_is_documented_and_read_somewhere() -> None:
    code = "\n".join(file.read_text() for file in SOURCE.rglob("*.py"))
    for cls in {each for each in SETTINGS if isinstance(each, type) and dataclasses.is_dataclass(each)}:
        (body,) = ast.parse(inspect.getsource(cls)).body
        assert isinstance(body, ast.ClassDef)
        for field, following in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign):
                assert isinstance(field.target, ast.Name)
                name = f"{cls.__name__}.{field.target.id}"
                assert isinstance(following, ast.Expr), f"{name} has no text below it"
                assert f".{field.target.id}" in code or f'"{field.target.id}"' in code, f"nothing reads {name}"


def test_help_does_not_import_torch() -> None:
    code = (
        'import sys; from vitaclip.cli.main import build_parser; build_parser("").format_help();'
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
