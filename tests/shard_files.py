"""Tar files of videos, written by webdataset."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import webdataset


def write_shard(path: Path, samples: Iterable[dict[str, Any]]) -> Path:
    """Writes samples: `__key__`, and contents by ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with webdataset.TarWriter(str(path)) as writer:
        for sample in samples:
            writer.write(sample)
    return path


def write_shards(folder: Path, videos: Iterable[Path], per_shard: int = 4, label: str = "cls") -> list[Path]:
    """Videos in the order given, the n-th with the label n modulo 3: train-000.tar, train-001.tar, ..."""
    samples = [
        {"__key__": f"{number:04d}_{video.stem}", "mp4": video.read_bytes(), label: number % 3}
        for number, video in enumerate(videos)
    ]
    return [
        write_shard(folder / f"train-{start // per_shard:03d}.tar", samples[start : start + per_shard])
        for start in range(0, len(samples), per_shard)
    ]


def tar_of(path: Path, members: dict[str, bytes]) -> Path:
    """A tar file with these members, written by the standard library."""
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            add(tar, name, content)
    return path


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """A member."""
    header = tarfile.TarInfo(name)
    header.size = len(content)
    tar.addfile(header, io.BytesIO(content))
