"""Weight conversion as a table: which tensors of a foreign format hold the numbers of which tensors of ours, and how.

A format is a list of rows and nothing else; two functions turn a whole state dict either way and account for each key.
In a row's names `#` stands for the number of a block, and `*` for `weight` and `bias`. A foreign name that ends in `?`
may be missing; a row's conversion then gets None in its place.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

Convert = Callable[[list[Any]], list[Any]]
"""Between the tensors of both sides, in the order of a row's names."""
MAX_DEPTH = 1000
"""Blocks of a tower, at most."""


@dataclass(frozen=True)
class Row:
    """Tensors of ours, the foreign tensors that hold the same numbers, and how to get from one to the other."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    to_ours: Convert = list
    to_theirs: Convert = list
    kind: str = ""
    """Rows of one kind are there in whole or not at all. Empty: the row must be there."""

    def at(self, block: int, part: str) -> "Row":
        """The row with a block's number and `weight` or `bias` in its names."""
        ours, theirs = (
            tuple(name.replace("#", str(block)).replace("*", part) for name in names)
            for names in (self.ours, self.theirs)
        )
        return replace(self, ours=ours, theirs=theirs)


def same(names: Mapping[str, str], kind: str = "") -> list[Row]:
    """The same tensors under other names, theirs by ours."""
    return [Row((ours,), (theirs,), kind=kind) for ours, theirs in names.items()]


def transposed(ours: str, theirs: str, kind: str = "") -> Row:
    """A matrix that is multiplied from the right here and from the left there."""
    return Row((ours,), (theirs,), lambda there: [there[0].T], lambda here: [here[0].T], kind)


def fused(ours: str, theirs: str, kind: str = "", *, optional: str = "") -> Row:
    """q, k and v one under the other here, apart there; `theirs` holds `{}` in their place. The `optional` one of them
    is zero if it is missing, as the bias of EVA's keys."""

    def join(parts: list[Any]) -> list[Tensor]:
        there = next(part for part in parts if part is not None)
        return [torch.cat([torch.zeros_like(there) if part is None else part for part in parts])]

    names = tuple(theirs.format(part) + "?" * (part == optional) for part in "qkv")
    return Row((ours,), names, join, lambda whole: list(whole[0].chunk(3)), kind)


def leading_axis(ours: str, theirs: str, kind: str = "") -> Row:
    """The same tensor with an axis of size 1 in front there."""
    return Row((ours,), (theirs,), lambda there: [there[0][0]], lambda here: [here[0][None]], kind)


def reshaped(ours: str, theirs: str, shape: tuple[int, ...], kind: str = "") -> Row:
    """The same numbers in another shape there; `shape` is ours."""
    return Row((ours,), (theirs,), lambda there: [there[0].reshape(shape)], kind=kind)


def single_query(ours: str, theirs: str, stacked: str = "query key value", kind: str = "") -> Row:
    """An attention of one query, whose projections, or those named as `stacked`, lie one under the other there, weights
    and biases (`theirs` ends before these words). The bias of the keys drops out of the softmax."""
    layers = stacked.split()

    def apart(there: list[Tensor]) -> list[Tensor]:
        weights, biases = (tensor.chunk(len(layers)) for tensor in there)
        return [*weights, *(bias for layer, bias in zip(layers, biases, strict=True) if layer != "key")]

    names = [f"{layer}.weight" for layer in layers] + [f"{layer}.bias" for layer in layers if layer != "key"]
    return Row(tuple(f"{ours}.{name}" for name in names), (f"{theirs}weight", f"{theirs}bias"), apart, kind=kind)


def shared(ours: tuple[str, ...], theirs: str) -> Row:
    """One tensor there that stands in several places here; the last of these is what is written."""
    return Row(ours, (theirs,), lambda there: there * len(ours), lambda here: here[-1:])


def drops_bias(ours: str, theirs: str) -> Row:
    """A layer whose bias there changes no result, so that there is none here."""

    def with_zeros(here: list[Tensor]) -> list[Tensor]:
        return [here[0], here[0].new_zeros(len(here[0]))]

    return Row((f"{ours}.weight",), (f"{theirs}.weight", f"{theirs}.bias"), lambda there: there[:1], with_zeros)


def renamed(rows: Iterable[Row], old: str, new: str) -> list[Row]:
    """Rows in whose foreign names `new` stands in place of what they start with, `old`."""

    def rename(name: str) -> str:
        return new + name.removeprefix(old) if name.startswith(old) else name

    return [replace(row, theirs=tuple(map(rename, row.theirs))) for row in rows]


def layer(ours: str, theirs: str) -> Row:
    """A layer that may lack its bias there; ours is then zero."""

    def with_bias(there: list[Any]) -> list[Tensor]:
        weight, bias = there
        return [weight, weight.new_zeros(len(weight)) if bias is None else bias]

    def without_zeros(here: list[Any]) -> list[Any]:
        weight, bias = here
        return [weight, bias if bias.any() else None]

    return Row((f"{ours}.weight", f"{ours}.bias"), (f"{theirs}.weight", f"{theirs}.bias?"), with_bias, without_zeros)


def optional(rows: Iterable[Row], *ours: str) -> list[Row]:
    """Rows of which those for these names of ours may be missing."""
    return [replace(row, kind=row.ours[0]) if row.ours[0] in ours else row for row in rows]


def without(rows: Iterable[Row], *ours: str) -> list[Row]:
    """Rows but those for these names of ours."""
    return [row for row in rows if row.ours[0] not in ours]


def to_ours(state: Mapping[str, Tensor], table: Sequence[Row], ignorable: Sequence[str] = ()) -> dict[str, Tensor]:
    """Convert a foreign state dict; each of its keys is used, ignorable, or an error, and none is missing. `ignorable`
    are patterns of whole names that carry nothing we need."""
    rows = [row for pattern in table for row in _expand(pattern, pattern.theirs[0], state)]
    kinds = {row.kind for row in rows if any(name.removesuffix("?") in state for name in row.theirs)} | {""}
    expected = [row for row in rows if row.kind in kinds]
    names = {name for row in expected for name in row.theirs}
    missing = sorted(name for name in names - set(state) if not name.endswith("?"))
    known = {name.removesuffix("?") for name in names}
    unknown = sorted(name for name in set(state) - known if not any(re.fullmatch(p, name) for p in ignorable))
    if missing or unknown:
        raise ValueError(
            f"{len(missing)} keys missing {missing[:3]}, {len(unknown)} unknown {unknown[:3]}; nothing was loaded"
        )
    ours: dict[str, Tensor] = {}
    for row in expected:
        there = [state.get(name.removesuffix("?")) for name in row.theirs]
        ours.update(zip(row.ours, row.to_ours(there), strict=True))
    return ours


def to_theirs(ours: Mapping[str, Tensor], table: Sequence[Row]) -> dict[str, Tensor]:
    """Convert a state dict of ours, each of whose tensors has a row; rows whose tensors we do not hold are left out."""
    rows = [row for pattern in table for row in _expand(pattern, pattern.ours[0], ours)]
    rows = [row for row in rows if all(name in ours for name in row.ours)]
    unknown = sorted(set(ours) - {name for row in rows for name in row.ours})
    if unknown:
        raise ValueError(f"no name in that format for {len(unknown)} tensors: {unknown[:3]}")
    theirs: dict[str, Tensor] = {}
    for row in rows:
        there = row.to_theirs([ours[name] for name in row.ours])
        named = zip(row.theirs, there, strict=True)
        theirs |= {name.removesuffix("?"): tensor for name, tensor in named if tensor is not None}
    return theirs


def split_parts(ours: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The backbone of a whole model, and its parts."""
    parts = {name: tensor for name, tensor in ours.items() if name.startswith(("context.", "pool.", "head."))}
    return {name: tensor for name, tensor in ours.items() if name not in parts}, parts


def depth(names: Iterable[str], prefix: str) -> int:
    """Number of blocks whose names start with `prefix` and a number, from 0 on."""
    blocks = {name.removeprefix(prefix).partition(".")[0] for name in names if name.startswith(prefix)}
    if len(blocks) > MAX_DEPTH or blocks != {str(number) for number in range(len(blocks))}:
        raise ValueError(f"its {len(blocks)} blocks {sorted(blocks)[:3]} are not numbered from 0 on, or too many")
    return len(blocks)


def _expand(row: Row, name: str, names: Iterable[str]) -> Iterator[Row]:
    """The rows that a row stands for where the blocks are those of `names`; `name` is the row's own on that side."""
    prefix, blocks, _ = name.partition("#")
    for block in range(depth(names, prefix) if blocks else 1):
        for part in ("weight", "bias") if "*" in name else ("",):
            yield row.at(block, part)
