"""The ways of looking at a video, against a loop over videos and views with the model's own forward pass."""

from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from small_world import NAMES, small_model
from tiny import parameter_of
from vitaclip.data.config import DataConfig, ViewsConfig
from vitaclip.data.lists.sources import read_folder
from vitaclip.data.loading.clips import EvalViews
from vitaclip.data.reading.decode import open_video
from vitaclip.data.sampling import FrameSampling, frame_sampling
from vitaclip.data.transforms import FrameFit
from vitaclip.evaluation.evaluation import Evaluator
from vitaclip.model import VideoModel
from vitaclip.predictor import Predictor
from vitaclip.recipes import VIEWS
from vitaclip.runtime import RuntimeConfig
from vitaclip.settings import from_dict
from vitaclip.untrusted import read_yaml


@pytest.fixture(scope="module")
def model(world: Path) -> VideoModel:
    return small_model(world)


@torch.no_grad()
def by_hand(model: VideoModel, clips: Tensor, average: str, pixels: str) -> Tensor:
    """Probabilities (K,) of one video's clips (V, T, 3, H, W), one view at a time."""
    text = model.encode_text(NAMES)
    if pixels == "imagenet":
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        clips = (clips.float() / 255 - mean[:, None, None]) / std[:, None, None]
    logits, features = [], []
    for clip in clips:
        logits.append(model(clip[None], text)[0])
        features.append(model.encode_video(clip[None])[0])
    if average == "softmax":
        return sum(each.softmax(dim=0) for each in logits) / len(logits)
    if average == "logits":
        return (sum(logits) / len(logits)).softmax(dim=0)
    mean_feature = F.normalize(torch.stack(features).mean(dim=0), dim=0)
    return (parameter_of(model, "head.logit_scale").exp() * text @ mean_feature).softmax(dim=0)


@pytest.mark.parametrize(
    ("average", "pixels"), list(product(("softmax", "logits", "features"), ("backbone", "imagenet")))
)
def test_aggregation_and_normalization_equal_a_loop(world: Path, model: VideoModel, average: Any, pixels: Any) -> None:
    rows = read_folder(world / "videos").samples[::3]
    views = ViewsConfig(temporal=2, spatial=2, aggregation=average, normalization=pixels)
    runtime = RuntimeConfig(precision="float32")
    evaluated = Evaluator(model, runtime, DataConfig(workers=0, eval_batch_size=3)).run(rows, NAMES, views)
    predictor = Predictor(model, views=views, runtime=runtime)
    sampling = frame_sampling(model.config.sampling, model.config.num_frames)
    for i, row in enumerate(rows):
        clips = EvalViews(sampling, 2, 2, model.image_size).read(row.path)
        expected = by_hand(model, clips, average, pixels)
        torch.testing.assert_close(evaluated.scores.probabilities[i], expected)
        assert predictor.predict(row.path).probabilities[0] == pytest.approx(float(expected.max()), rel=1e-4)


def test_a_crop_may_leave_a_margin(video_folder: Path) -> None:
    """Crop 0.5 of a 64 x 48 video: frames go to 64 x 48 for crops of 24, whose centre lies 20 and 12 pixels in."""
    path, sampling = video_folder / "clip3.mp4", FrameSampling("segments", 4)
    views = EvalViews(sampling, 1, 1, 24, 0.5).read(path)
    with open_video(path) as video:
        frames = video.frames(sampling.views(video.num_frames, 1)[0])
    assert FrameFit().resize(frames, 48) is frames
    assert torch.equal(views[0], frames[:, :, 12:36, 20:44])


# Written out here from the published code, not read from the package: clips, crops, frames, sampling, stride, the
# side of the frame that a crop of 224 is cut from, what is averaged, whose mean and deviation. 0: as trained.
PUBLISHED = {
    "vitaclip": (3, 1, 0, "dense", 16, 224, "softmax", "backbone"),
    "evl_16f": (1, 3, 16, "dense", 16, 224, "softmax", "backbone"),
    "evl_32f": (1, 3, 32, "dense", 8, 224, "softmax", "backbone"),
    "xclip_1view": (1, 1, 0, "segments", 0, 256, "softmax", "imagenet"),
    "xclip_4x3": (4, 3, 0, "segments", 0, 224, "softmax", "imagenet"),
    "vificlip": (1, 1, 32, "segments", 0, 256, "softmax", "imagenet"),
    "tcclip": (2, 1, 16, "segments", 0, 256, "softmax", "imagenet"),
    "open_vclip": (3, 1, 8, "dense", 16, 224, "logits", "backbone"),
    "actionclip": (1, 1, 8, "segments", 0, 256, "softmax", "backbone"),
}


@pytest.mark.parametrize("name", VIEWS.names())
def test_views_recipe_is_as_published(name: str) -> None:
    found = from_dict(ViewsConfig, read_yaml(VIEWS.find(name)))
    temporal, spatial, frames, sampling, stride, side, average, pixels = PUBLISHED[name]
    expected = {"temporal": temporal, "spatial": spatial, "frames": frames, "sampling": sampling, "stride": stride}
    expected |= {"crop": 224 / side, "aggregation": average, "normalization": pixels, "pixel_aspect": "stored"}
    assert asdict(found) == expected


def test_every_published_views_recipe_is_there() -> None:
    assert set(VIEWS.names()) == set(PUBLISHED)
