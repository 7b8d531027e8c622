"""What every config shares: fields that are checked by their types, and the way to plain mappings and back.

Nothing here imports torch, so that the command line can print its help at once.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from vitaclip.strings import did_you_mean

ConfigT = TypeVar("ConfigT")
_NAMES_OF_TYPES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    tuple: "a list",
    dict: "a mapping",
    Mapping: "a mapping",
    NoneType: "None",
}
MAX_TOKENS = 10_000
"""Frames of a clip and learned tokens of a kind, at most. A file that says more is damaged or made to fill memory."""
MAX_IMAGE_SIZE = 4096
"""Pixels of a side that a model may be set to, at most."""
MAX_BATCH = 1_000_000
"""Samples of a batch, at most."""
FLAG: Mapping[str, Any] = {"positional": False, "argparse": {"action": "store_true"}}
"""Metadata of a setting that the command line takes without a value."""


@dataclasses.dataclass(frozen=True, repr=False)
class Rule:
    """What the value of a field must fulfil beside its type: `Annotated[str, Rule(bool, "name a folder")]`."""

    holds: Callable[[Any], bool]
    remedy: str

    def __repr__(self) -> str:
        return self.remedy.removeprefix("must be ")


def bounds(
    *, ge: float = -math.inf, gt: float = -math.inf, le: float = math.inf, lt: float = math.inf, remedy: str = ""
) -> Rule:
    """A rule for numbers: at least `ge`, above `gt`, at most `le`, below `lt`.

    Args:
        ge: least value.
        gt: a value below all that are allowed.
        le: greatest value.
        lt: a value above all that are allowed.
        remedy: what else a user could do, if there is more to say.

    >>> bounds(ge=0, lt=1)
    at least 0 and below 1
    """
    limits = {"at least": ge, "above": gt, "at most": le, "below": lt}
    stated = " and ".join(f"{words} {limit:,}" for words, limit in limits.items() if math.isfinite(limit))
    also = f"; {remedy}" if remedy else ""
    return Rule(lambda value: ge <= value <= le and gt < value < lt, f"must be {stated}{also}")


PositiveInt = Annotated[int, bounds(ge=1)]
NonNegativeInt = Annotated[int, bounds(ge=0)]
PositiveFloat = Annotated[float, bounds(gt=0)]
NonNegativeFloat = Annotated[float, bounds(ge=0)]
Probability = Annotated[float, bounds(ge=0, le=1)]
Template = Annotated[str, Rule(lambda text: text.count("{}") == 1, "must hold {} exactly once, as in 'a video of {}.'")]
"""A text around the name of a class."""


@dataclasses.dataclass(frozen=True)
class Config:
    """A dataclass whose fields are checked when it is made: their types, the choices of a `Literal`, and each `Rule`.

    A class with more to check calls `super().__post_init__()` first and may then rely on the types.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Crop(Config):
    ...     side: PositiveInt = 224
    >>> Crop(side=0)
    Traceback (most recent call last):
    ValueError: Crop.side = 0: must be at least 1
    """

    def __new__(cls, *values: Any, **named: Any) -> Self:
        """Refuse a name that is no field, before Python's own error for it, which has no remedy."""
        _check_names(cls, named)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        _check_fields(type(self), vars(self))


def require(condition: bool, owner: object, name: str, remedy: str) -> None:
    """Raise ValueError with field, value and remedy unless `condition` holds: for checks of several fields at once."""
    if not condition:
        raise _refusal(f"{type(owner).__name__}.{name}", getattr(owner, name), remedy)


def to_dict(config: Any) -> dict[str, Any]:
    """A config as plain dicts and lists, ready for JSON or YAML."""
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return values


def from_dict(cls: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
    """Rebuild a config, with the configs inside it, from a mapping; a wrong or missing field is an error that names it.

    Raises:
        ValueError: for an unknown field, a missing one, a value of another type, or one that the config refuses.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{cls.__name__}: {str(values)[:60]!r} is no mapping of settings")
    _check_names(cls, values)
    hints = _hints(cls)
    built = {name: _build(hints[name], value) for name, value in values.items()}
    if not issubclass(cls, Config):  # a plain dataclass, such as that of a plugin, does not check its types
        _check_fields(cls, built)
    try:
        return cls(**built)
    except TypeError as error:
        raise ValueError(f"{cls.__name__}: {error}") from error


def _check_names(cls: type[Any], values: Mapping[str, Any]) -> None:
    names = [field.name for field in dataclasses.fields(cls)]
    for unknown in sorted(map(str, set(values) - set(names))):
        hint = did_you_mean(unknown, names)
        raise ValueError(f"{cls.__name__} has no field {unknown!r}{hint}; its fields are {', '.join(names)}")


def _hints(cls: type[Any]) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)


class _Type(NamedTuple):
    """One type of a field: `int | None` has two."""

    kind: Any
    """The class that values have: `tuple` of `tuple[int, ...]`."""
    parts: tuple[Any, ...]
    """What stands in its brackets."""
    rules: tuple[Rule, ...]

    def has(self, value: Any) -> bool:
        """Whether a value is of this type, whatever it holds; a whole number is a number, and True is none."""
        if self.kind in (Literal, Any):
            return True
        if self.kind in (int, float, bool):
            is_number = isinstance(value, (int, self.kind) if self.kind is float else self.kind)
            return is_number and isinstance(value, bool) == (self.kind is bool)
        return isinstance(value, (tuple, list) if self.kind is tuple else self.kind)

    def __str__(self) -> str:
        named = "a mapping of its settings" if dataclasses.is_dataclass(self.kind) else self.kind.__name__
        return _NAMES_OF_TYPES.get(self.kind, named)


def _types(hint: Any) -> list[_Type]:
    types = []
    for each in get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,):
        rules = getattr(each, "__metadata__", ())
        plain = get_args(each)[0] if rules else each
        types.append(_Type(get_origin(plain) or plain, get_args(plain), rules))
    return types


def _build(hint: Any, value: Any) -> Any:
    """A value of a file as a field takes it: mappings as configs, also those in mappings, and lists as tuples."""
    if isinstance(value, Mapping):
        for kind, parts, _ in _types(hint):
            if dataclasses.is_dataclass(kind):
                return from_dict(kind, value)  # type: ignore[arg-type]
            if kind is Mapping:
                return {name: _build(parts[1], inner) for name, inner in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _check_fields(cls: type[Any], values: Mapping[str, Any]) -> None:
    for name, hint in _hints(cls).items():
        if name in values:
            _check(hint, values[name], f"{cls.__name__}.{name}")


def _check(hint: Any, value: Any, name: str) -> None:
    """Refuse a value of another type than its field, no choice of it, against its rule, or a number not finite."""
    types = _types(hint)
    fitting = next((each for each in types if each.has(value)), None)
    if fitting is None:
        raise _refusal(name, value, f"must be {' or '.join(map(str, types))}")
    kind, parts, rules = fitting
    if kind is Literal and value not in parts:
        choices = ", ".join(str(choice) for choice in parts if choice != "")
        raise _refusal(name, value, f"choose one of {choices}{', or leave it empty' if '' in parts else ''}")
    if kind is tuple:
        if parts[-1] is not ... and len(value) != len(parts):
            raise _refusal(name, value, f"give {len(parts)} values")
        for each, part in zip(value, parts if parts[-1] is not ... else parts[:1] * len(value), strict=True):
            _check(part, each, name)
    if kind is Mapping:
        for key, each in value.items():
            _check(parts[0], key, name)
            _check(parts[1], each, f"{name}.{key}")
    if isinstance(value, float) and not math.isfinite(value):
        raise _refusal(name, value, "must be a finite number")
    for rule in rules:
        if not rule.holds(value):
            raise _refusal(name, value, rule.remedy)


def _refusal(name: str, value: Any, remedy: str) -> ValueError:
    shown = repr(value)
    return ValueError(f"{name} = {shown if len(shown) <= 80 else shown[:80] + '...'}: {remedy}")


def setting_texts(cls: type[Any]) -> list[tuple[str, Any, str]]:
    """(name, default, text below it on one line) of every field of a config."""
    import docstring_parser

    bases = (base for base in reversed(cls.__mro__) if dataclasses.is_dataclass(base))
    told = [each for base in bases for each in docstring_parser.parse_from_object(base).params]
    texts = {each.arg_name: " ".join((each.description or "").split()) for each in told}
    return [(field.name, field.default, texts.get(field.name, "")) for field in dataclasses.fields(cls)]
