"""A cluster of two actors on this machine makes the archive that one process makes, although one is killed midway."""

import shutil
from pathlib import Path

import pytest

from search_case import WINDOWS, Mortal, content
from vitaclip.predictor import Predictor
from vitaclip.runtime import RuntimeConfig
from vitaclip.search.archive import Archive
from vitaclip.search.cluster import embed_on_ray

ray = pytest.importorskip("ray", reason="500 MB; pip install 'vitaclip[cluster]'")


def test_an_actor_killed_midway_loses_and_doubles_nothing(
    predictor: Predictor, films: Path, video_folder: Path, tmp_path: Path
) -> None:
    for number in range(4, 10):
        shutil.copy(video_folder / f"clip{number}.mp4", films)
    shutil.copy(films / "clip1.mp4", films / "copy.mp4")
    mortal = Mortal(predictor.model, runtime=RuntimeConfig(precision="float32"), data=predictor.data)
    mortal.marks = tmp_path / "marks"
    mortal.marks.mkdir()
    here, there = (Archive.open(tmp_path / name) for name in ("here", "there"))
    for archive in (here, there):
        archive.add(predictor, [video_folder / "clip0.mp4"], WINDOWS)
    expected = here.add(predictor, [films], WINDOWS)
    with ray.init(num_cpus=2, object_store_memory=200 * 2**20, include_dashboard=False, log_to_driver=False):
        changes = there.add(mortal, [films], WINDOWS, engine=embed_on_ray)
    assert len([*mortal.marks.iterdir()]) == 3
    assert changes == expected
    assert (changes.embedded, changes.known, len(changes.damaged)) == (9, 2, 1)
    assert content(there) == content(here)
