"""The feature cache in evaluation: the same scores, and no video opened twice that has not changed."""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from small_world import NAMES, train_config
from tiny import learned_text, tiny_backbone
from vitaclip.backbones.loading import Backbone, fingerprint
from vitaclip.backbones.model import CLIP
from vitaclip.data.config import DataConfig, SamplingConfig, ViewsConfig
from vitaclip.data.lists.sources import read_folder
from vitaclip.data.lists.video_list import VideoSample
from vitaclip.distributed import DistEnv
from vitaclip.evaluation.evaluation import Evaluator
from vitaclip.model import VideoModel
from vitaclip.parts.config import ModelConfig
from vitaclip.runtime import RuntimeConfig

NO_PROMPTS: dict[str, Any] = {"num_frames": 4, "context": {}}
RUNTIME = RuntimeConfig(precision="float32")


@pytest.fixture
def rows(world: Path, tmp_path: Path) -> list[VideoSample]:
    """The small world's videos, to be changed at will, each under a name of its own."""
    folder = tmp_path / "videos"
    folder.mkdir()
    return [
        replace(
            row, path=Path(shutil.copy2(str(row.path), folder / f"{number:02}.mp4")), source=f"list.csv:{number + 1}"
        )
        for number, row in enumerate(read_folder(world / "videos").samples)
    ]


def model_on(backbone: Backbone) -> VideoModel:
    config = ModelConfig(**NO_PROMPTS, head=learned_text(3), sampling=SamplingConfig(stride=2))
    return VideoModel(backbone, config, NAMES).eval()


@pytest.fixture
def model() -> VideoModel:
    return model_on(tiny_backbone())


def probabilities(
    model: VideoModel,
    rows: Sequence[VideoSample],
    cache: Path | None,
    views: ViewsConfig | None = None,
    runtime: RuntimeConfig = RUNTIME,
) -> torch.Tensor:
    data = DataConfig(workers=0, eval_batch_size=5, feature_cache=str(cache or ""))
    return Evaluator(model, runtime, data).run(rows, NAMES, views or ViewsConfig()).scores.probabilities


def test_videos_are_opened_once_and_scored_alike(
    model: VideoModel, rows: list[VideoSample], tmp_path: Path, opened: list[Path]
) -> None:
    expected = probabilities(model, rows, None)
    opened.clear()
    assert torch.equal(probabilities(model, rows, tmp_path / "cache"), expected)
    assert sorted(opened) == [row.path for row in rows]
    opened.clear()
    assert torch.equal(probabilities(model, rows, tmp_path / "cache"), expected)
    # Another list of the same videos, with one twice and other labels.
    other = [replace(rows[number], labels=(2,)) for number in (7, 1, 7)]
    # A batch of another size: on some processors its products are added up in another order.
    torch.testing.assert_close(probabilities(model, other, tmp_path / "cache"), expected[[7, 1, 7]])
    assert opened == []


@pytest.mark.parametrize(
    "changed",
    [
        *({"stride": 1}, {"frames": 3}, {"sampling": "segments"}, {"temporal": 1}, {"spatial": 3}),
        *({"crop": 0.8}, {"normalization": "imagenet"}, {"precision": "bfloat16"}),
    ],
)
def test_other_settings_are_not_served(
    model: VideoModel, rows: list[VideoSample], tmp_path: Path, opened: list[Path], changed: dict[str, Any]
) -> None:
    probabilities(model, rows, tmp_path / "cache")
    opened.clear()
    runtime = RuntimeConfig(precision=changed.pop("precision", "float32"), device="cpu")
    probabilities(model, rows, tmp_path / "cache", ViewsConfig(**changed), runtime)
    assert len(opened) == 12


def other_weights() -> Backbone:
    backbone = tiny_backbone()
    with torch.no_grad():
        for parameter in backbone.clip.vision.parameters():
            parameter.mul_(1.5)
    return replace(backbone, fingerprint=fingerprint(backbone.clip.state_dict()))


def other_activation() -> Backbone:
    """The same weights, and so the same fingerprint."""
    backbone = tiny_backbone()
    config = backbone.clip.config
    other = CLIP(replace(config, vision=replace(config.vision, activation="gelu")))
    other.load_state_dict(backbone.clip.state_dict())
    return replace(backbone, clip=other)


@pytest.mark.parametrize("backbone", [other_weights, other_activation, lambda: tiny_backbone(patch_size=4)])
def test_other_backbone_is_not_served(
    model: VideoModel, rows: list[VideoSample], tmp_path: Path, opened: list[Path], backbone: Callable[[], Backbone]
) -> None:
    probabilities(model, rows, tmp_path / "cache")
    opened.clear()
    other = model_on(backbone())
    assert torch.equal(probabilities(other, rows, tmp_path / "cache"), probabilities(other, rows, None))
    assert len(opened) == 24


def test_only_changed_video_is_opened_again(
    model: VideoModel, rows: list[VideoSample], tmp_path: Path, opened: list[Path]
) -> None:
    before = probabilities(model, rows, tmp_path / "cache")
    changed, other = Path(str(rows[3].path)), Path(str(rows[11].path))
    time = changed.stat().st_mtime_ns
    shutil.copy(other, changed)
    os.utime(changed, ns=(time + 10**9, time + 10**9))
    opened.clear()
    after = probabilities(model, rows, tmp_path / "cache")
    assert opened == [rows[3].path]
    assert torch.equal(after[3], before[11])
    assert not torch.equal(after[3], before[3])


def test_broken_videos_are_named_by_their_list(model: VideoModel, rows: list[VideoSample], tmp_path: Path) -> None:
    Path(str(rows[4].path)).write_text("text")
    Path(str(rows[6].path)).unlink()
    data = DataConfig(workers=0, feature_cache=str(tmp_path / "cache"))

    def skipped(data: DataConfig) -> tuple[str, ...]:
        return Evaluator(model, RUNTIME, data).run(rows, NAMES, ViewsConfig()).result.skipped

    expected = skipped(replace(data, feature_cache=""))
    assert [line.split()[0] for line in expected] == ["list.csv:5:", "list.csv:7:"]
    for _ in range(2):  # made, then found
        assert skipped(data) == expected
    with pytest.raises(ValueError, match=r"^list.csv:5: .*04.mp4"):
        skipped(replace(data, on_error="raise"))


def test_cache_file_holds_limited_number_of_videos(
    model: VideoModel, rows: list[VideoSample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitaclip.evaluation.feature_cache._VIDEOS_PER_FILE", 5)
    expected = probabilities(model, rows, tmp_path / "cache")
    assert len(list(tmp_path.glob("cache/*/*.safetensors"))) == 3
    assert torch.equal(probabilities(model, rows, tmp_path / "cache"), expected)


def test_ranks_share_the_videos(
    model: VideoModel, rows: list[VideoSample], tmp_path: Path, opened: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DistEnv, "gather", lambda self, value: [value])  # what this process has alone
    whole = Evaluator(model, RUNTIME, DataConfig(workers=0)).encode(rows, ViewsConfig(), [])
    opened.clear()
    data = DataConfig(workers=0, feature_cache=str(tmp_path / "cache"))
    parts = [
        Evaluator(model, RUNTIME, data, dist=DistEnv(rank, 3)).encode(rows, ViewsConfig(), []) for rank in range(3)
    ]
    assert len(opened) == 12
    assert [len(part.indices) for part in parts] == [4, 4, 4]
    assert torch.equal(torch.cat([part.indices for part in parts]), whole.indices)
    assert torch.equal(torch.cat([part.features for part in parts]), whole.features)


def test_context_in_image_tower_is_refused(world: Path, rows: list[VideoSample], tmp_path: Path) -> None:
    model = VideoModel(tiny_backbone(), train_config(world, tmp_path).model, NAMES).eval()
    with pytest.raises(ValueError, match=r"feature_cache = 'cache': .*model.context = \{\}.* or leave it empty"):
        Evaluator(model, RUNTIME, DataConfig(feature_cache="cache"))
