"""A film, and models that search it."""

from pathlib import Path

import pytest

from small_world import NAMES, small_model
from video_files import write_video
from vitaclip.data.config import DataConfig, ViewsConfig
from vitaclip.model import VideoModel
from vitaclip.predictor import Predictor
from vitaclip.runtime import RuntimeConfig


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("film") / "film.mp4", frames=300, gop=30)


@pytest.fixture(params=["frames alone", "context"])
def predictor(request: pytest.FixtureRequest, world: Path) -> Predictor:
    alone = request.param == "frames alone"
    model = VideoModel.from_backbone(world / "backbone", num_frames=4) if alone else small_model(world)
    assert model.sees_frames_alone == alone
    views = ViewsConfig(temporal=1, sampling="dense", stride=1)
    runtime, data = RuntimeConfig(precision="float32"), DataConfig(workers=0, eval_batch_size=5)
    predictor = Predictor(model, views=views, runtime=runtime, data=data)
    predictor.set_classes(NAMES)
    return predictor
