"""The parts by slot and name, and the settings of each."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from vitaclip.plugins import import_registered
from vitaclip.settings import from_dict, to_dict
from vitaclip.strings import did_you_mean

if TYPE_CHECKING:
    from vitaclip.parts.contract import Part

PartT = TypeVar("PartT", bound="type[Part]")
_PARTS: dict[str, dict[str, "type[Part]"]] = {"context": {}, "pool": {}, "head": {}}


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoSettings:
    """The config of a part that has no setting."""


def register(slot: str, name: str, config: type[Any] = NoSettings, **attributes: object) -> Callable[[PartT], PartT]:
    """A decorator that makes a class known as the part `name` of a slot.

    Args:
        slot: `context`, `pool` or `head`.
        name: what configs call the part.
        config: the frozen dataclass of its settings, if it has any.
        attributes: further class attributes, such as the `label` and the `colour` that a kind of context has in
            pictures.

    Raises:
        ValueError: if another class has that name already.

    >>> from vitaclip.parts.contract import Pool
    >>> @register("pool", "last_frame")
    ... class LastFrame(Pool):
    ...     def forward(self, read, tower, masks):
    ...         return read[:, -1]
    """

    def add(cls: PartT) -> PartT:
        known = _PARTS[slot].setdefault(name, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"there is a part {slot} {name!r} already, in {known.__module__}; choose another name")
        _PARTS[slot][name] = cls
        for attribute, value in {"slot": slot, "name": name, "config_class": config, **attributes}.items():
            setattr(cls, attribute, value)
        return cls

    return add


def parts(slot: str) -> dict[str, "type[Part]"]:
    """The parts of a slot by name, in alphabetical order."""
    import_registered("vitaclip.parts")
    return dict(sorted(_PARTS[slot].items()))


def find_part(slot: str, name: str) -> "type[Part]":
    """The part of that name."""
    known = parts(slot)
    if name not in known:
        hint = did_you_mean(name, known)
        raise ValueError(
            f"model.{slot}: there is no part {name!r}{hint}; there are {', '.join(known)}, and those of --plugins"
        )
    return known[name]


def read_settings(slot: str, name: str, settings: Mapping[str, Any] | None) -> Any:
    """The config of a part from its settings, defaults filled in. Texts, as a command line gives them, become what
    the field is.
    """
    config = find_part(slot, name).config_class
    if not isinstance(settings, Mapping | None):
        raise ValueError(f"model.{slot}.{name} = {settings!r}: give settings, such as {{}} for the defaults")
    fields, values = get_type_hints(config), {}
    for key, value in (settings or {}).items():
        if key not in fields:
            own = ", ".join(field.name for field in dataclasses.fields(config)) or "none"
            raise ValueError(f"model.{slot}: part {name!r} has no setting {key!r}; its settings: {own}")
        values[key] = _read_number(value, fields[key]) if isinstance(value, str) else value
    return from_dict(config, values)


def resolve_one(slot: str, chosen: str | Mapping[str, Any]) -> dict[str, Any]:
    """A choice, a name alone or `{name: ..., setting: ...}`, with every setting of that part filled in."""
    settings = {"name": chosen} if isinstance(chosen, str) else dict(chosen)
    if "name" not in settings:
        raise ValueError(f"model.{slot} = {chosen!r}: name the part, such as {{name: {next(iter(parts(slot)))}}}")
    name = settings.pop("name")
    return {"name": name, **to_dict(read_settings(slot, name, settings))}


def resolve_many(slot: str, chosen: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Chosen parts by name, each with every setting filled in, in alphabetical order; one that is None is left out.

    A key may be a path, `global.count`, as a command line gives it.
    """
    if not isinstance(chosen, Mapping):
        raise ValueError(f"model.{slot} = {chosen!r}: give parts by name, such as {{{next(iter(parts(slot)))}: {{}}}}")
    nested: dict[str, dict[str, Any] | None] = {}
    for path, value in chosen.items():
        name, _, setting = path.partition(".")
        nested[name] = {**(nested.get(name) or {}), setting: value} if setting else value
    return {
        name: to_dict(read_settings(slot, name, settings))
        for name, settings in sorted(nested.items())
        if settings is not None
    }


def context_look(kind: str) -> tuple[str, str] | None:
    """The label and the colour that a kind of context has in pictures; None if there is no such kind."""
    part: Any = parts("context").get(kind)
    return None if part is None else (part.label, part.colour)


def _read_number(text: str, kind: Any) -> Any:
    """A text as the bool or the number that a field holds; if it is none, the text, which the config then refuses."""
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        return kind(text) if kind in (int, float) else text
    except ValueError:
        return text
