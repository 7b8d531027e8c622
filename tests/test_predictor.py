"""Set the classes once, predict many."""

from pathlib import Path

import pytest

from small_world import NAMES, small_model
from vitaclip.data.config import DataConfig, ViewsConfig
from vitaclip.model import VideoModel
from vitaclip.predictor import Predictor


@pytest.fixture
def predictor(world: Path) -> Predictor:
    return Predictor(small_model(world), data=DataConfig(workers=0))


def test_predictions_are_ranked_probabilities(predictor: Predictor, world: Path) -> None:
    paths = sorted((world / "videos").rglob("*.mp4"))
    for path, prediction in zip(paths, predictor.predict_many(paths), strict=True):
        assert prediction == predictor.predict(path)
        assert prediction.path == path
        assert set(prediction.names) == set(NAMES)
        assert list(prediction.probabilities) == sorted(prediction.probabilities, reverse=True)
        assert sum(prediction.probabilities) == pytest.approx(1.0, abs=1e-5)
    assert prediction.names[0] in str(prediction)


def test_classes_are_encoded_once(predictor: Predictor, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor.set_classes(["stand", "run"])

    def fail(*_: object) -> None:
        raise AssertionError("text was encoded again")

    monkeypatch.setattr(VideoModel, "encode_text", fail)
    paths = sorted((world / "videos").rglob("*.mp4"))[:2]
    assert all(set(p.names) == {"stand", "run"} for p in map(predictor.predict, paths))


def test_set_classes_refuses_repeated_and_missing_names(predictor: Predictor) -> None:
    with pytest.raises(ValueError, match="'run'"):
        predictor.set_classes(["run", "stand", "run"])
    with pytest.raises(ValueError, match="no class names"):
        predictor.set_classes([])


def test_a_plain_backbone_needs_classes_first(world: Path) -> None:
    plain = Predictor(VideoModel.from_backbone(world / "backbone", num_frames=4))
    path = world / "videos" / "jump_up" / "0.mp4"
    with pytest.raises(ValueError, match=r"call set_classes"):
        plain.predict(path)
    plain.set_classes(["jump", "run"])
    assert len(plain.predict(path).names) == 2


def test_pixels_are_read_as_the_settings_say(world: Path) -> None:
    model = VideoModel.from_backbone(world / "backbone", num_frames=4)
    stored = Predictor(model, data=DataConfig(pixel_aspect="stored"))
    assert stored.reader.view_config["pixel_aspect"] == "stored"
    other = Predictor(model, data=stored.data, views=ViewsConfig(pixel_aspect="display"))
    assert other.reader.view_config["pixel_aspect"] == "display"
