"""Weight conversion as a table: which tensors of a foreign format hold the numbers of which tensors of ours, and how.

A format is a list of rows and nothing else; two functions turn a whole state dict either way and account for each key.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Convert = Callable[[list[Tensor]], list[Tensor]]


@dataclass(frozen=True)
class Row:
    """Tensors of ours, the foreign tensors that hold the same numbers, and how to get from one to the other."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    to_ours: Convert
    to_theirs: Convert
    kind: str = ""
    """Rows of one kind are there in whole or not at all. Empty: the row must be there."""


def same(ours: str, theirs: str, kind: str = "") -> Row:
    """The same tensor under another name."""
    return Row((ours,), (theirs,), lambda tensors: tensors, lambda tensors: tensors, kind)


def layer(ours: str, theirs: str, kind: str = "") -> Iterator[Row]:
    """Weight and bias of a layer."""
    for part in ("weight", "bias"):
        yield same(f"{ours}.{part}", f"{theirs}.{part}", kind)


def transposed(ours: str, theirs: str) -> Row:
    """A matrix that is multiplied from the right here and from the left there."""
    return Row((ours,), (theirs,), lambda there: [there[0].T], lambda here: [here[0].T])


def fused(ours: str, theirs: str, kind: str = "") -> Row:
    """q, k and v one under the other here, apart there; `theirs` holds `{}` in their place."""
    names = tuple(theirs.format(part) for part in "qkv")
    return Row((ours,), names, lambda parts: [torch.cat(parts)], lambda whole: list(whole[0].chunk(3)), kind)


def fused_attention(ours: str, theirs: str, kind: str = "") -> Iterator[Row]:
    """An attention whose q, k and v are three layers there, `q_proj` and so on."""
    for part in ("weight", "bias"):
        yield fused(f"{ours}.qkv.{part}", f"{theirs}.{{}}_proj.{part}", kind)
    yield from layer(f"{ours}.out", f"{theirs}.out_proj", kind)


def without_bias(ours: str, theirs: str) -> Row:
    """A layer that has no bias there; ours is zero."""

    def to_theirs(here: list[Tensor]) -> list[Tensor]:
        weight, bias = here
        if bias.any():
            raise ValueError(f"{ours}.bias is not zero, and that format has no place for it")
        return [weight]

    names = (f"{ours}.weight", f"{ours}.bias")
    return Row(names, (f"{theirs}.weight",), lambda there: [there[0], there[0].new_zeros(len(there[0]))], to_theirs)


def to_ours(
    state: Mapping[str, Tensor], table: Sequence[Row], what: str, ignorable: Sequence[str] = ()
) -> dict[str, Tensor]:
    """Convert a foreign state dict; each of its keys is used, ignorable, or an error.

    Args:
        state: name -> tensor.
        table: the format.
        what: the format's name, for the message.
        ignorable: patterns of whole names that carry nothing we need.

    Raises:
        ValueError: if a key is missing or unknown; the message counts them and names the first few.
    """
    kinds = {row.kind for row in table if any(name in state for name in row.theirs)} | {""}
    expected = [row for row in table if row.kind in kinds]
    names = {name for row in expected for name in row.theirs}
    missing = sorted(names - set(state))
    unknown = sorted(name for name in set(state) - names if not any(re.fullmatch(p, name) for p in ignorable))
    if missing or unknown:
        raise ValueError(
            f"not {what}: {len(missing)} keys missing {missing[:3]}, {len(unknown)} unknown {unknown[:3]};"
            " nothing was loaded"
        )
    ours: dict[str, Tensor] = {}
    for row in expected:
        ours.update(zip(row.ours, row.to_ours([state[name] for name in row.theirs]), strict=True))
    return ours


def to_theirs(ours: Mapping[str, Tensor], table: Sequence[Row]) -> dict[str, Tensor]:
    """Convert a state dict of ours; rows whose tensors we do not hold are left out.

    Raises:
        ValueError: if a tensor of ours has no row.
    """
    rows = [row for row in table if row.ours and all(name in ours for name in row.ours)]
    unknown = sorted(set(ours) - {name for row in rows for name in row.ours})
    if unknown:
        raise ValueError(f"no name in that format for {len(unknown)} tensors: {unknown[:3]}")
    theirs: dict[str, Tensor] = {}
    for row in rows:
        theirs.update(zip(row.theirs, row.to_theirs([ours[name] for name in row.ours]), strict=True))
    return theirs


MAX_DEPTH = 1000
"""Blocks of a tower, at most."""


def depth(state: Mapping[str, Tensor], prefix: str) -> int:
    """Number of blocks whose keys start with the pattern `prefix` and a number.

    Raises:
        ValueError: if the blocks are not numbered from 0 on, or are too many to be a CLIP's.
    """
    found = [re.match(rf"(?:{prefix})\.(?P<block>[0-9]+)\.", name) for name in state]
    blocks = {match["block"] for match in found if match}
    if len(blocks) > MAX_DEPTH or blocks != {str(number) for number in range(len(blocks))}:
        raise ValueError(f"its {len(blocks)} blocks {sorted(blocks)[:3]} are not numbered from 0 on, or too many")
    return len(blocks)
