"""What is compared: variants of a config, and claims about them, as a YAML file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from vitaclip.settings import from_dict, require, to_dict
from vitaclip.strings import did_you_mean
from vitaclip.train.config import TrainConfig
from vitaclip.untrusted import read_yaml, reading

SHIPPED = Path(str(files("vitaclip.ablate"))) / "variants.yaml"
_SLUG = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A config with some fields changed."""

    name: str
    """Of its folder, and of its row."""
    about: str = ""
    """What it is, in a line."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Values of config fields, such as `model.context.summary`."""
    trains: bool = True
    """False: it is tested as it starts."""
    weights: tuple[float, ...] = ()
    """Ratios between frozen CLIP's weights (0) and its own (1) that get a row each; for towers that train."""
    scores: tuple[float, ...] = ()
    """Likewise of the scores, for any variant."""

    def __post_init__(self) -> None:
        require(bool(_SLUG.fullmatch(self.name)), self, "name", "names a folder; write letters, digits, _ and - only")
        for name in ("weights", "scores"):
            ratios = getattr(self, name)
            fit = isinstance(ratios, tuple) and all(isinstance(r, int | float) and 0 <= r <= 1 for r in ratios)
            require(fit, self, name, "give a list of ratios from 0 (frozen CLIP) to 1 (the variant)")

    def config(self, base: TrainConfig) -> TrainConfig:
        """The base with the overrides.

        Raises:
            ValueError: for a field that does not exist, or a value it refuses.
        """
        values = to_dict(base)
        for path, value in self.overrides.items():
            *parents, last = path.split(".")
            place: Any = values
            for key in parents:
                place = place.get(key) if isinstance(place, dict) else None
            known = isinstance(place, dict) and (last in place or parents == ["model", "context"])
            if not known:
                raise ValueError(f"variant {self.name}: the config has no field {path!r}; see `vitaclip train --help`")
            place[last] = value
        try:
            return from_dict(TrainConfig, values)
        except ValueError as error:
            raise ValueError(f"variant {self.name}: {error}") from error

    @property
    def rows(self) -> tuple[str, ...]:
        """Its rows in the table: itself, then what lies between it and frozen CLIP."""
        between = [row_name(self.name, space, r) for space in ("weights", "scores") for r in getattr(self, space)]
        return (self.name, *between)


def row_name(variant: str, space: str, ratio: float) -> str:
    """The row of an interpolation, such as `full scores 0.5`."""
    return f"{variant} {space} {ratio:g}"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """That one row is better than another."""

    says: str
    better: str
    than: str
    test: str = ""
    """Name of a test list. Empty: every list, each for itself."""
    figure: str = "top1"


@dataclass(frozen=True)
class Comparison:
    """The variants of a table, in order, and what they are to decide."""

    variants: tuple[Variant, ...]
    claims: tuple[Claim, ...]


def load_comparison(file: str = "", names: Sequence[str] = ()) -> Comparison:
    """The variants that come with the package, or those of one's own file.

    An entry of one's own file with the name of a variant of the package, or `like` another one, adds its overrides to
    that variant; claims of the file, if it has any, replace the package's.

    Args:
        file: YAML of the same form. Empty: the package's alone.
        names: choose some of the variants. Empty: all of the file, or of the package.

    Raises:
        ValueError: if the file is wrong, or there is no variant of a name.
    """
    shipped = _read(SHIPPED)
    own = _read(Path(file)) if file else shipped
    known = {**shipped["variants"]}
    for name, entry in own["variants"].items():
        like = entry.pop("like", "")
        base = _find(like, known) if like else known.get(name, {})
        known[name] = {**base, **entry, "overrides": {**base.get("overrides", {}), **entry.get("overrides", {})}}
    chosen = dict.fromkeys(names or own["variants"])
    with reading(file or SHIPPED, "docs/ablation.md shows one"):
        variants = tuple(_build_variant(name, _find(name, known)) for name in chosen)
        claims = tuple(from_dict(Claim, claim) for claim in own.get("claims", shipped["claims"]))
    return Comparison(variants, claims)


def _find(name: str, known: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    if name not in known:
        raise ValueError(f"there is no variant {name!r}{did_you_mean(name, known)}; there is {', '.join(known)}")
    return known[name]


def _build_variant(name: str, entry: Mapping[str, Any]) -> Variant:
    ratios = entry.get("interpolate", {})
    values = {key: value for key, value in entry.items() if key != "interpolate"}
    try:
        return from_dict(Variant, {**values, **ratios, "name": name})
    except (ValueError, TypeError) as error:
        raise ValueError(f"variant {name}: {error}") from error


def _read(file: Path) -> dict[str, Any]:
    """The file's content, as mappings where mappings belong."""
    content = read_yaml(file)
    variants = content.get("variants") if isinstance(content, dict) else None
    if not isinstance(variants, dict) or not variants:
        raise ValueError(f"{file}: write `variants:` and below it a name and its overrides; docs/ablation.md shows it")
    entries = {name: entry or {} for name, entry in variants.items()}
    for name, entry in entries.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("overrides", {}), dict):
            example = "{overrides: {model.context.local: null}}"
            raise ValueError(f"{file}: variant {name}: write a mapping, such as {example}")
    claims = content.get("claims", [])
    if not isinstance(claims, list) or not all(isinstance(claim, dict) for claim in claims):
        raise ValueError(f"{file}: claims: write a list of mappings {{says: ..., better: a, than: b}}")
    return {**content, "variants": entries}
