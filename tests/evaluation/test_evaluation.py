"""Accuracies against counting by hand, and evaluation of real files against one video at a time."""

from pathlib import Path

import pytest
import torch

from small_world import NAMES, small_model
from vitaclip.data.config import DataConfig, ViewsConfig
from vitaclip.data.lists.sources import read_folder
from vitaclip.data.lists.video_list import VideoSample
from vitaclip.data.loading.clips import EvalViews
from vitaclip.data.sampling import FrameSampling, frame_sampling
from vitaclip.distributed import DistEnv
from vitaclip.evaluation.evaluation import Evaluator
from vitaclip.evaluation.metrics import Scores, summarize, top_k_accuracy
from vitaclip.model import VideoModel
from vitaclip.predictor import Predictor
from vitaclip.runtime import RuntimeConfig

PROBABILITIES = torch.tensor(
    [[0.7, 0.2, 0.1, 0.0], [0.1, 0.6, 0.3, 0.0], [0.4, 0.3, 0.2, 0.1], [0.0, 0.1, 0.2, 0.7], [0.3, 0.1, 0.4, 0.2]]
)
LABELS = torch.tensor([0, 2, 2, 3, 0])


def test_accuracies_equal_counting_by_hand() -> None:
    result = summarize(Scores(PROBABILITIES, LABELS, torch.arange(5)), ["a", "b", "c", "d"])
    assert [result.top1, result.top5] == pytest.approx([2 / 5, 1.0])
    assert result.class_accuracy == {"a": 0.5, "c": 0.0, "d": 1.0}
    assert result.mean_class_accuracy == pytest.approx(0.5)
    assert result.confusion == [[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1]]
    for k in range(1, 6):
        by_hand = [
            sorted(range(4), key=lambda c, row=row: -row[c])[:k].count(label)  # type: ignore[misc]
            for row, label in zip(PROBABILITIES.tolist(), LABELS.tolist(), strict=True)
        ]
        assert top_k_accuracy(PROBABILITIES, LABELS, k) == pytest.approx(sum(by_hand) / 5)


@pytest.mark.parametrize("batch_size", [1, 5, 8, 100])
def test_ranks_share_the_videos(
    world: Path, model: VideoModel, opened: list[Path], monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    monkeypatch.setattr(DistEnv, "gather", lambda self, value: [value])  # what this process has alone
    rows, data = read_folder(world / "videos").samples, DataConfig(workers=0, eval_batch_size=batch_size)
    seen: list[int] = []
    for rank in range(3):
        each = Evaluator(model, RuntimeConfig(), data, dist=DistEnv(rank, 3))
        part = each.encode(rows, ViewsConfig(), [])
        seen += part.indices.tolist()
    assert seen == list(range(12))
    assert len(opened) == 12


def test_nothing_scored_is_an_error_with_the_reasons() -> None:
    empty = Scores(torch.empty(0, 4), torch.empty(0, dtype=torch.int64), torch.empty(0), {0: "x.mp4: broken"})
    with pytest.raises(ValueError, match=r"no video could be scored.*x.mp4: broken"):
        summarize(empty, ["a", "b", "c", "d"])


@pytest.fixture
def model(world: Path) -> VideoModel:
    return small_model(world)


@pytest.mark.parametrize("views", [ViewsConfig(temporal=1), ViewsConfig(temporal=3, spatial=3)])
def test_evaluation_equals_one_view_at_a_time(world: Path, model: VideoModel, views: ViewsConfig) -> None:
    videos = read_folder(world / "videos")
    data = DataConfig(workers=0, eval_batch_size=5)
    runtime = RuntimeConfig(precision="float32")
    evaluated = Evaluator(model, runtime, data).run(videos.samples, NAMES, views)
    sampling = frame_sampling(model.config.sampling, model.config.num_frames)
    text = model.encode_text(NAMES)
    for i, row in enumerate(videos.samples):
        clips = EvalViews(sampling, views.temporal, views.spatial, model.image_size).read(row.path)
        with torch.no_grad():
            each = [model(clip[None], text).softmax(dim=-1)[0] for clip in clips]
        torch.testing.assert_close(evaluated.scores.probabilities[i], torch.stack(each).mean(dim=0))
    assert evaluated.scores.indices.tolist() == list(range(12))
    assert evaluated.result.num_videos == 12


def test_views_may_ask_for_other_frames_than_trained(world: Path, model: VideoModel) -> None:
    """Six evenly spread frames of a model that was trained on another number at a stride, against loading them."""
    rows = read_folder(world / "videos").samples[:3]
    views = ViewsConfig(temporal=2, frames=6, sampling="segments")
    assert model.config.sampling.kind == "dense"
    assert model.config.num_frames != 6
    runtime, data = RuntimeConfig(precision="float32"), DataConfig(workers=0)
    evaluated = Evaluator(model, runtime, data).run(rows, NAMES, views)
    assert (evaluated.result.device, evaluated.result.precision) == (model.device.type, "float32")
    predictor = Predictor(model, views=views, runtime=runtime)
    predictor.set_classes(NAMES)
    for row, probabilities in zip(rows, evaluated.scores.probabilities, strict=True):
        clips = EvalViews(FrameSampling("segments", 6), 2, 1, model.image_size).read(row.path)
        assert clips.shape[:2] == (2, 6)
        with torch.no_grad():
            expected = model(clips, model.encode_text(NAMES)).softmax(dim=-1).mean(dim=0)
        torch.testing.assert_close(probabilities, expected)
        assert predictor.predict(row.path).probabilities[0] == pytest.approx(float(expected.max()), rel=1e-5)


def test_unreadable_videos_are_skipped_and_counted(world: Path, model: VideoModel, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_text("text")
    rows = [VideoSample(bad, (0,), "list.csv:1"), *read_folder(world / "videos").samples]
    views, runtime = ViewsConfig(), RuntimeConfig()
    result = Evaluator(model, runtime, DataConfig(workers=0)).run(rows, NAMES, views).result
    assert result.num_videos == 12
    assert len(result.skipped) == 1
    assert "list.csv:1" in result.skipped[0]
    with pytest.raises(ValueError, match=r"list.csv:1"):
        Evaluator(model, runtime, DataConfig(workers=0, on_error="raise")).run(rows, NAMES, views)
