"""Training on kept features: against training on the same clips as pixels, and against embedding clips by hand."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import torchrun
from small_world import changed, lines_of, prompts_of, same, train_config, train_until
from vitaclip.settings import to_dict
from vitaclip.training.config import TrainConfig
from vitaclip.training.trainer import Terminated, Trainer

WHOLE_FRAMES = {"crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0), "flip": 0.0}


EVL: dict[str, Any] = {"pool": {"name": "decode", "blocks": 2}, "head": "classifier"}
"""Its tokens are kept; the decoder and its dropout go on learning."""


def text_alone(
    world: Path, out: Path, cache: Path | None, model: dict[str, Any] | None = None, **data: Any
) -> TrainConfig:
    """Text context alone, or another model without context in the image tower. A clip spans 13 frames of videos that
    have 12: it is the same at training as at test."""
    return changed(
        train_config(world, out, micro_batch_size=3),
        model={"num_frames": 4, "context": {}, "sampling": {"stride": 4}, **(model or {})},
        runtime={"device": "cpu", "precision": "float32"},
        data={"augment": WHOLE_FRAMES, "feature_cache": str(cache or ""), **data},
    )


def metrics_of(out: str | Path) -> list[dict[str, float]]:
    kept = ("step", "train/loss", "train/top1", "train/bad_videos", "val/top1", "val/skipped")
    return [{name: line[name] for name in kept if name in line} for line in lines_of(out)]


@pytest.fixture
def videos(world: Path, tmp_path: Path) -> Path:
    """The small world's videos, one of them broken."""
    folder = tmp_path / "videos"
    shutil.copytree(world / "videos", folder)
    (folder / "moving_left" / "2.mp4").write_text("text")
    return folder


@pytest.mark.parametrize("model", [{}, EVL, {"pool": "integrate", "head": "video_read"}])
def test_cached_features_train_same_weights_as_pixels(
    world: Path, videos: Path, tmp_path: Path, opened: list[Path], model: dict[str, Any]
) -> None:
    """A broken video in the list, for which others stand in, and validation."""
    values: dict[str, Any] = {"train": str(videos), "val": str(videos), "balance_classes": not model, "model": model}
    Trainer(text_alone(world, tmp_path / "pixels", None, **values)).fit()
    opened.clear()
    Trainer(text_alone(world, tmp_path / "first", tmp_path / "cache", **values)).fit()
    assert len(opened) == 24  # a test of three views is another way to look at them
    opened.clear()
    Trainer(text_alone(world, tmp_path / "second", tmp_path / "cache", **values)).fit()
    assert {path.name for path in opened} == {"2.mp4"}  # the broken one, in training and in validation
    for name in ("first", "second"):
        assert same(prompts_of(tmp_path / name), prompts_of(tmp_path / "pixels"))
        assert metrics_of(tmp_path / name) == metrics_of(tmp_path / "pixels")
    assert metrics_of(tmp_path / "first")[-1]["val/skipped"] == 1
    bad = [(tmp_path / name / "bad_videos.txt").read_text() for name in ("pixels", "first", "second")]
    assert bad[0] == bad[1] == bad[2]
    assert bad[0].count("2.mp4") == 1


def test_validation_reuses_cached_training_view(world: Path, tmp_path: Path, opened: list[Path]) -> None:
    config = text_alone(world, tmp_path / "run", tmp_path / "cache", val=str(world / "videos"))
    Trainer(changed(config, views={"temporal": 1}, validate_every=2)).fit()
    assert len(opened) == 12


def test_resume_is_exact_with_moved_feature_cache(world: Path, tmp_path: Path) -> None:
    whole = text_alone(world, tmp_path / "whole", tmp_path / "cache")
    Trainer(whole).fit()
    stopped = changed(whole, out=str(tmp_path / "stopped"))
    train_until(stopped, step=3)
    Trainer(changed(stopped, data={"feature_cache": str(tmp_path / "moved")})).fit()
    assert same(prompts_of(stopped.out), prompts_of(whole.out))
    assert metrics_of(stopped.out) == metrics_of(whole.out)
    with pytest.raises(ValueError, match=r"data.feature_cache was '.*moved', now ''"):
        Trainer(changed(stopped, data={"feature_cache": ""}))


def test_stopping_keeps_features_made_so_far(world: Path, tmp_path: Path, opened: list[Path]) -> None:
    config = text_alone(world, tmp_path / "run", tmp_path / "cache", eval_batch_size=2)
    shown: list[int] = []

    def on_features(total: int) -> Callable[[int], None]:
        assert total == 12
        return shown.append

    trainer = Trainer(config)
    trainer.should_stop = lambda: sum(shown) >= 6
    trainer.on_features = on_features
    with pytest.raises(Terminated):
        trainer.train()
    assert shown == [0, 2, 2, 2]
    opened.clear()
    Trainer(config).fit()
    assert len(opened) == 6


@pytest.mark.usefixtures("forked_workers")
@pytest.mark.parametrize("model", [{}, EVL])
def test_two_ranks_learn_same_weights_as_one(world: Path, videos: Path, tmp_path: Path, model: dict[str, Any]) -> None:
    for count in (1, 2):
        values: dict[str, Any] = {"train": str(videos), "val": str(videos), "model": model}
        config = text_alone(world, tmp_path / str(count), tmp_path / f"cache{count}", **values)
        file = tmp_path / f"{count}.json"
        file.write_text(json.dumps(to_dict(config)))
        assert torchrun.run_on_ranks(partial(torchrun.train_in_float64, str(file)), count) == [0] * count
    one, two = prompts_of(tmp_path / "1"), prompts_of(tmp_path / "2")
    for name, value in one.items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(two[name], value, rtol=1e-12, atol=1e-12, msg=name)
    assert [line["step"] for line in metrics_of(tmp_path / "2")] == [*range(1, 7), 6]


@pytest.mark.parametrize(
    "values",
    [
        *({"context": {kind: {}}} for kind in ("global", "local", "summary", "time")),
        {"train": "both"},
        {"train": "image"},
    ],
)
def test_feature_cache_refuses_models_that_change_features(world: Path, tmp_path: Path, values: dict[str, Any]) -> None:
    config = text_alone(world, tmp_path, tmp_path / "cache")
    with pytest.raises(ValueError, match=r"DataConfig.feature_cache = .*model.context = \{\}.* leave it empty"):
        changed(config, model=values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"augment": {"mixup": 0.5}}, r"feature_cache = .*mix pixels, which features no longer have; set both"),
        ({"augment": {"cutmix": 0.5}}, r"feature_cache = .*mix pixels, which features no longer have; set both"),
    ],
)
def test_settings_impossible_with_features_are_refused(
    world: Path, tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        changed(text_alone(world, tmp_path, tmp_path / "cache"), data=values)
