"""What is compared: variants of a config, and claims about them, as a YAML file."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from vitaclip.settings import Config, Rule, from_dict, to_dict
from vitaclip.strings import did_you_mean
from vitaclip.training.config import TrainConfig
from vitaclip.untrusted import read_yaml, reading

SHIPPED = Path(str(files("vitaclip.ablate"))) / "variants.yaml"
_REMEDY = "docs/ablation.md shows how it is written"


@dataclass(frozen=True, kw_only=True)
class Variant(Config):
    """A config with some fields changed."""

    name: Annotated[
        str, Rule(re.compile(r"[A-Za-z0-9_-]+").fullmatch, "names a folder; write letters, digits, _ and - only")
    ]
    """Of its folder, and of its row."""
    about: str = ""
    """What it is, in a line."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Values of config fields, such as `model.context.summary`."""
    trains: bool = True
    """False: it is tested as it starts."""

    def config(self, base: TrainConfig) -> TrainConfig:
        """The base with the overrides.

        Raises:
            ValueError: for a field that does not exist, or a value it refuses.
        """
        values = to_dict(base)
        for path, value in self.overrides.items():
            *parents, last = path.split(".")
            place: Any = values
            try:
                for key in parents:
                    place = place[key]
                place[last] = value
            except (KeyError, TypeError):
                raise ValueError(
                    f"variant {self.name}: the config has no field {path!r}; see `vitaclip train --help`"
                ) from None
        with _naming(self.name):
            return from_dict(TrainConfig, values)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """That one row of the table is better than another."""

    says: str
    better: str
    than: str
    test: str = ""
    """Name of a test list. Empty: every list, each for itself."""
    figure: str = "top1"


def load_comparison(file: str = "", names: Sequence[str] = ()) -> tuple[tuple[Variant, ...], tuple[Claim, ...]]:
    """The variants and claims that come with the package, or those of one's own file.

    An entry of one's own file with the name of a variant of the package, or `like` another one, adds its overrides to
    that variant; claims of the file, if it has any, replace the package's. `names` choose some of the variants; without
    them it is all of the file, or of the package.

    >>> variants, claims = load_comparison(names=["full", "no_summary"])
    >>> variants[1].overrides
    {'model.context.summary': None}
    """
    shipped = _read(SHIPPED)
    own = _read(Path(file)) if file else shipped
    known = {**shipped["variants"]}
    for name, entry in own["variants"].items():
        like = entry.pop("like", "")
        base = _find(like, known) if like else known.get(name, {})
        known[name] = {**base, **entry, "overrides": {**base.get("overrides", {}), **entry.get("overrides", {})}}
    with reading(file or SHIPPED, _REMEDY):
        variants = []
        for name in dict.fromkeys(names or own["variants"]):
            entry = _find(name, known)
            with _naming(name):
                variants.append(from_dict(Variant, {**entry, "name": name}))
        claims = [from_dict(Claim, claim) for claim in own.get("claims", shipped["claims"])]
    return tuple(variants), tuple(claims)


def _find(name: str, known: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    if name not in known:
        raise ValueError(f"there is no variant {name!r}{did_you_mean(name, known)}; there is {', '.join(known)}")
    return known[name]


@contextmanager
def _naming(variant: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError) as error:
        raise ValueError(f"variant {variant}: {error}") from error


def _read(file: Path) -> dict[str, Any]:
    """The file's content, as mappings where mappings belong."""
    content = read_yaml(file, _REMEDY)
    variants, claims = content.get("variants"), content.get("claims", [])
    if not isinstance(variants, dict) or not variants:
        raise ValueError(f"{file}: write `variants:` and below it a name and its overrides; {_REMEDY}")
    entries = {name: entry or {} for name, entry in variants.items()}
    for name, entry in entries.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("overrides", {}), dict):
            example = "{overrides: {model.context.local: null}}"
            raise ValueError(f"{file}: variant {name}: write a mapping, such as {example}")
    if not isinstance(claims, list):
        raise ValueError(f"{file}: claims: write a list of mappings {{says: ..., better: a, than: b}}")
    return {**content, "variants": entries}
