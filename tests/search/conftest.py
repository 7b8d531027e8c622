"""A folder of small films, and a model that indexes them."""

import shutil
from pathlib import Path

import pytest

from small_world import small_model
from vitaclip.data.config import DataConfig
from vitaclip.predictor import Predictor
from vitaclip.runtime import RuntimeConfig


@pytest.fixture(scope="module")
def predictor(world: Path) -> Predictor:
    runtime, data = RuntimeConfig(precision="float32"), DataConfig(workers=0)
    return Predictor(small_model(world), runtime=runtime, data=data)


@pytest.fixture
def films(video_folder: Path, tmp_path: Path) -> Path:
    """Four clips and a damaged file, to change."""
    folder = tmp_path / "films"
    folder.mkdir()
    for number in range(4):
        shutil.copy(video_folder / f"clip{number}.mp4", folder)
    (folder / "damaged.mp4").write_bytes((video_folder / "clip4.mp4").read_bytes()[:500])
    return folder
