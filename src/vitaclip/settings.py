"""What every config shares: checks that name the field, and the way to plain mappings and back.

Nothing here imports torch, so that the command line can print its help at once.
"""

import ast
import dataclasses
import inspect
import math
import textwrap
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

ConfigT = TypeVar("ConfigT")
_NAMES_OF_TYPES = {"int": "whole number", "float": "number", "str": "text", "tuple": "list", "Mapping": "mapping"}
MAX_TOKENS = 10_000
"""Frames of a clip and learned tokens of a kind, at most. A file that says more is damaged or made to fill memory."""
MAX_IMAGE_SIZE = 4096
"""Pixels of a side that a model may be set to, at most."""
MAX_BATCH = 1_000_000
"""Samples of a batch, at most."""


def require(condition: bool, owner: object, name: str, remedy: str) -> None:
    """Raise ValueError with field, value and remedy unless `condition` holds."""
    if not condition:
        value = getattr(owner, name)
        raise ValueError(f"{type(owner).__name__}.{name} = {value!r}: {remedy}")


def to_dict(config: Any) -> dict[str, Any]:
    """A config as plain dicts and lists, ready for JSON or YAML."""
    values: dict[str, Any] = _plain(dataclasses.asdict(config))
    return values


def _plain(value: Any) -> Any:
    """Tuples as lists, all the way down: what JSON and YAML give back."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple | list) else value


def from_dict(cls: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
    """Rebuild a config, with the configs inside it, from a mapping; a wrong or missing field is an error that names it.

    Raises:
        ValueError: for an unknown field, a missing one, a value of another type, or one that the config refuses.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{cls.__name__}: {str(values)[:60]!r} is no mapping of settings")
    hints = get_type_hints(cls)
    unknown = sorted(str(name) for name in set(values) - set(hints))
    if unknown:
        raise ValueError(f"{cls.__name__} has no field {unknown[0]!r}; its fields are {', '.join(hints)}")
    built = {name: _build(hints[name], value) for name, value in values.items()}
    try:
        config = cls(**built)  # its own checks go first, because they know a remedy
    except (TypeError, AttributeError) as error:
        _check_types(cls, hints, built)
        raise ValueError(f"{cls.__name__}: {error}") from error
    _check_types(cls, hints, built)
    return config


def _check_types(cls: type[Any], hints: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if value is not None or _required(hints[name]) is hints[name]:
            _check_type(_required(hints[name]), value, f"{cls.__name__}.{name}")


def _build(hint: Any, value: Any) -> Any:
    """A value of a file as a field takes it: mappings as configs, also those in mappings, and lists as tuples."""
    hint = _required(hint)
    if isinstance(value, Mapping) and dataclasses.is_dataclass(hint):
        return from_dict(hint, value)  # type: ignore[arg-type]
    if isinstance(value, Mapping) and get_origin(hint) is Mapping:
        return {name: _build(get_args(hint)[1], inner) for name, inner in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _required(hint: Any) -> Any:
    """The type beside None of an optional one; other types as they are."""
    parts = [part for part in get_args(hint) if part is not NoneType]
    return parts[0] if get_origin(hint) in (Union, UnionType) and len(parts) == 1 else hint


def _check_type(hint: Any, value: Any, name: str) -> None:
    """Refuse a value of another type than its field, and numbers that are not finite."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is tuple and isinstance(value, tuple):
        for each in value:
            _check_type(parts[0], each, name)
        return
    if origin is Mapping and isinstance(value, Mapping):
        for key, each in value.items():
            _check_type(parts[1], each, f"{name}.{key}")
        return
    known: Any = {int: int, float: int | float, bool: bool, str: str, tuple: tuple, Mapping: Mapping}.get(
        origin or hint
    )
    if dataclasses.is_dataclass(hint):
        known = hint
    fits = known is None or (isinstance(value, known) and isinstance(value, bool) == (known is bool))
    if not fits or (isinstance(value, float) and not math.isfinite(value)):
        kind = getattr(origin or hint, "__name__", str(hint))
        said = "mapping of its settings" if dataclasses.is_dataclass(hint) else _NAMES_OF_TYPES.get(kind, kind)
        raise ValueError(f"{name} = {str(value)[:60]!r}: must be a {said}")


def setting_texts(cls: type[Any]) -> list[tuple[str, Any, str]]:
    """(name, default, text below it) of every field of a config."""
    texts = attribute_texts(cls)
    return [(field.name, field.default, texts.get(field.name, "")) for field in dataclasses.fields(cls)]


def attribute_texts(cls: type[Any]) -> dict[str, str]:
    """The string that stands below each field of a dataclass, on one line."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(body, ast.ClassDef)
    texts = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        text = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else ""
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, str):
            texts[field.target.id] = " ".join(text.split())
    return texts
