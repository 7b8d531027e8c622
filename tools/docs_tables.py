"""Write the tables of the README and docs/ that the code knows better: settings, variants, towers, kinds of files.

    PYTHONPATH=tests python tools/docs_tables.py            # write them
    PYTHONPATH=tests python tools/docs_tables.py --check    # only say which pages are out of date

A page holds `<!-- table: NAME -->` and `<!-- end -->`; what stands between them is replaced.
"""

import argparse
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from video_kinds import KINDS
from vitaclip.ablate.variants import load_comparison
from vitaclip.backbones.known import known_backbones
from vitaclip.moments.config import MomentsConfig
from vitaclip.parts.config import ModelConfig
from vitaclip.parts.registry import parts
from vitaclip.settings import setting_texts
from vitaclip.training.config import TrainConfig
from vitaclip.training.run_dir import MAY_CHANGE_ON_RESUME

TAKE = {
    "facebook/PE-Core-B16-224": "a laptop",
    "openai/clip-vit-base-patch16": "a laptop; what every published method started from",
    "facebook/PE-Core-L14-336": "one GPU (many: PE-Core-G14-448)",
    "google/siglip2-base-patch16-224": "names in other languages",
}
"""Towers of the README, and what each is taken for."""
PARTS = {slot: parts(slot) for slot in ("context", "pool", "head")}
ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
_SPEED = re.compile(r"^\| `(.+?)` \| bfloat16 \| [^|]+ \| (\S+) ", re.MULTILINE)
_TABLE = re.compile(r"(<!-- table: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def render_page(text: str) -> str:
    """The page with every table as the code has it."""
    return _TABLE.sub(lambda match: f"{match[1]}{_render(match[2])}{match[3]}", text)


def settings(config: Any, path: str = "") -> Iterator[tuple[str, Any, str]]:
    """(dotted path, default, text below it) of every setting of a config and of the configs inside it."""
    for name, _, text in setting_texts(type(config)):
        value = getattr(config, name)
        if is_dataclass(value):
            yield from settings(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value, text
        if isinstance(config, ModelConfig):
            yield from _part_settings(name)


def _part_settings(slot: str) -> Iterator[tuple[str, Any, str]]:
    """The parts of a slot of the model and their settings; a kind of context is a setting itself."""
    for name, part in sorted(PARTS.get(slot, {}).items()):
        inside = f"model.{slot}.{name}." if slot == "context" else f"model.{slot}."
        if slot == "context":
            yield inside[:-1], {}, " ".join((part.__doc__ or "").split())
        for setting, default, text in setting_texts(part.config_class):
            yield inside + setting, default, text if slot == "context" else f"Of `{name}`. {text}"


def _settings_table(prefix: str = "", config: Any = None) -> str:
    every = settings(config or TrainConfig())
    rows = [(f"`{path}`", f"`{value!r}`", text) for path, value, text in every if path.startswith(prefix)]
    return _table(("setting", "default", "what it is"), rows)


def _variants_table() -> str:
    variants, _ = load_comparison()
    return _table(("variant", "what it is"), [(f"`{each.name}`", each.about) for each in variants])


def _kinds_table() -> str:
    rows = [(name, kind.what, kind.decoded_from) for name, kind in KINDS.items()]
    return _table(("file", "what", "a single frame is decoded from"), rows)


def _backbones_table() -> str:
    sizes = (
        "name (and what is read as well)",
        "family",
        "parameters, image + text",
        "GFLOP, frame / name",
        "frames/s here",
    )
    facts = ("ImageNet, published", "video, published", "licence", "languages")
    rows, speeds = [], _speeds()
    for each in known_backbones():
        name = f"`{each.name}`" + (f" ({each.also})" if each.also else "")
        figures = (
            f"{each.parameters} M",
            f"{each.frame_gflop:g} / {each.text_gflop:g}",
            speeds.get(repr(each.config.vision), ""),
        )
        published = (f"{figure:g}" if figure else "" for figure in (each.imagenet, each.video))
        rows.append((name, each.family, *figures, *published, each.licence, each.languages))
    return _table((*sizes, *facts), rows)


def _towers_table() -> str:
    heading = ("take it for", "tower", "parameters", "GFLOP a frame", "frames/s here", "video, published")
    known, speeds, rows = {each.name: each for each in known_backbones()}, _speeds(), []
    for name, purpose in TAKE.items():
        own = known[name]
        figures = (f"{own.parameters} M", f"{own.frame_gflop:g}", speeds[repr(own.config.vision)], f"{own.video:g}")
        rows.append((purpose, f"`{name}`", *figures, own.licence, own.languages))
    return _table((*heading, "licence", "languages"), rows)


def _speeds() -> dict[str, str]:
    """What docs/speed.md measured of frozen towers in bfloat16, by the tower; those of one shape are measured once."""
    measured = dict(_SPEED.findall((DOCS / "speed.md").read_text("utf-8")))
    return {repr(each.config.vision): measured[each.name] for each in known_backbones() if each.name in measured}


def _resume_list() -> str:
    return textwrap.fill(", ".join(f"`{path}`" for path in sorted(MAY_CHANGE_ON_RESUME)) + ".", 120) + "\n"


TABLES: dict[str, Callable[[], str]] = {
    "settings": _settings_table,
    "limits": lambda: _settings_table("data.limits."),
    "moments": lambda: _settings_table("", MomentsConfig()),
    "variants": _variants_table,
    "video kinds": _kinds_table,
    "backbones": _backbones_table,
    "towers": _towers_table,
    "may change on resume": _resume_list,
}


def _render(name: str) -> str:
    if name not in TABLES:
        raise ValueError(f"there is no table {name!r}; there is {', '.join(TABLES)}")
    return TABLES[name]()


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages, or with --check only compare; the status is 1 if one is out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args(arguments).check
    pages = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
    stale = [page for page in pages if (text := page.read_text("utf-8")) != render_page(text)]
    for page in stale:
        print(f"{page.relative_to(ROOT)}: {'out of date, run `make docs`' if check else 'written'}")
        if not check:
            page.write_text(render_page(page.read_text("utf-8")), "utf-8")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
