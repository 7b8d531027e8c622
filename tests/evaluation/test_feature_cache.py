"""Kept features: they come back as they were, and none is believed wrongly."""

import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vitaclip.data.reading.path import ShardMember
from vitaclip.evaluation.feature_cache import FeatureCache, FileState, file_state
from vitaclip.files import write_safetensors

ABOUT = {"backbone": "tiny", "views": {"crop": 1.0}}


def some_entries() -> dict[FileState, Tensor]:
    features = torch.randn(3, 2, 4, 8, generator=torch.Generator().manual_seed(0))
    names = ["/a, b.mp4", os.fsdecode(b"/\xff.mp4"), "/日本.mp4"]
    return {(name, 7, 9): each for name, each in zip(names, features, strict=True)}


SHAPE = (2, 4, 8)


def found(cache: FeatureCache, wanted: Iterable[FileState]) -> dict[FileState, Tensor]:
    return {state: kept.read() for state, kept in cache.find(set(wanted), SHAPE).items()}


def same(first: dict[FileState, Tensor], second: dict[FileState, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[state], second[state]) for state in first)


def test_entries_come_back_as_they_were(tmp_path: Path) -> None:
    entries = some_entries()
    states = list(entries)
    FeatureCache(tmp_path, ABOUT).write({state: entries[state] for state in states[:2]})
    FeatureCache(tmp_path, ABOUT).write({state: entries[state] for state in states[2:]})
    cache = FeatureCache(tmp_path, ABOUT)
    assert same(found(cache, states), entries)
    assert same(found(cache, states[1:]), {state: entries[state] for state in states[1:]})


def test_features_made_otherwise_are_not_found(tmp_path: Path) -> None:
    entries = some_entries()
    FeatureCache(tmp_path, ABOUT).write(entries)
    other = FeatureCache(tmp_path, {**ABOUT, "views": {"crop": 0.9}})
    assert other.find(set(entries), SHAPE) == {}
    told = [json.loads(file.read_text()) for file in sorted(tmp_path.glob("*/about.json"))]
    assert len(told) == 2
    assert ABOUT in told


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_damaged_file_is_written_anew(tmp_path: Path, content: bytes | None) -> None:
    entries = some_entries()
    cache = FeatureCache(tmp_path, ABOUT)
    cache.write(entries)
    (file,) = cache.folder.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-8] if content is None else content)
    assert cache.find(set(entries), SHAPE) == {}
    cache.write(entries)
    assert same(found(cache, entries), entries)


POISONED: dict[str, tuple[Tensor, str]] = {
    "deep": (torch.ones(1, *SHAPE), "[" * 100_000),
    "no list": (torch.ones(1, *SHAPE), "5"),
    "more videos than features": (torch.ones(1, *SHAPE), '[["/z", 1, 2], ["/a", 1, 2]]'),
    "other views": (torch.ones(1, 3, 4, 8), '[["/a", 1, 2]]'),
    "other width": (torch.ones(1, 2, 4, 9), '[["/a", 1, 2]]'),
    "one axis": (torch.ones(8), '[["/a", 1, 2]]'),
    "whole numbers": (torch.ones(1, *SHAPE, dtype=torch.int64), '[["/a", 1, 2]]'),
}


@pytest.mark.parametrize("name", POISONED)
def test_poisoned_file_counts_as_missing(tmp_path: Path, name: str) -> None:
    features, videos = POISONED[name]
    cache = FeatureCache(tmp_path, ABOUT)
    write_safetensors(cache.folder / "x.safetensors", {"features": features}, {"videos": videos})
    assert cache.find({("/a", 1, 2)}, SHAPE) == {}


@pytest.mark.parametrize("damage", ["NaN", "cut"])
def test_damage_inside_a_file_is_one_line(tmp_path: Path, damage: str) -> None:
    cache, features = FeatureCache(tmp_path, ABOUT), torch.ones(SHAPE)
    if damage == "NaN":
        features[0, 1, 2] = float("nan")
    (kept,) = cache.write({("/a", 1, 2): features}).values()
    if damage == "cut":
        kept.file.write_bytes(kept.file.read_bytes()[:-4])
    with pytest.raises(ValueError, match=r"safetensors: damaged; delete it, and its videos are embedded again"):
        kept.read()


def test_state_of_file_or_folder_changes_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(b"12")
    file, picture = tmp_path / "a.mp4", folder / "1.jpg"
    file.write_bytes(b"1234")
    assert file_state(tmp_path / "none.mp4") == (str(tmp_path / "none.mp4"),)
    for path, part in ((file, file), (folder, picture)):
        states = [file_state(path)]
        os.utime(part, ns=(0, part.stat().st_mtime_ns + 10**10))
        states.append(file_state(path))
        inside = part.stat()
        part.write_bytes(b"123456")
        os.utime(part, ns=(0, inside.st_mtime_ns))
        states.append(file_state(path))
        assert len(set(states)) == 3
        assert file_state(path) == states[-1]


def test_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"feature_cache = .*file: Not a directory; name a folder"):
        FeatureCache(tmp_path / "file", ABOUT)


def test_state_of_tar_member_changes_with_tar_file(tmp_path: Path) -> None:
    tar = tmp_path / "train-000.tar"
    tar.write_bytes(b"1")
    member = ShardMember(shard=str(tar), name="a.mp4", offset=512, size=99)
    before = file_state(member)
    assert before == file_state(replace(member))
    assert before != file_state(replace(member, name="b.mp4"))
    tar.write_bytes(b"12")
    assert before != file_state(member)
