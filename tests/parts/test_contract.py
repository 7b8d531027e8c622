"""What a part may ask for and be: blocks' traces, dropout, computed buffers, heads that read texts by the video."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from small_world import NAMES, train_config
from tiny import tiny_model
from vitaclip.backbones.loading import load_backbone
from vitaclip.data.config import DataConfig, ViewsConfig
from vitaclip.data.lists.sources import read_folder
from vitaclip.data.loading.loader import TrainBatch
from vitaclip.evaluation.evaluation import Evaluator
from vitaclip.model import VideoModel
from vitaclip.parts import registry
from vitaclip.parts.contract import CosineHead, Pool, Reads, l2_normalize
from vitaclip.parts.registry import parts, register
from vitaclip.predictor import Predictor
from vitaclip.runtime import RuntimeConfig
from vitaclip.training.trainer import Trainer


@dataclass(frozen=True, kw_only=True)
class NoConfig:
    """No setting."""


class TracePool(Pool):
    """The mean of all tokens of the last two blocks, times a buffer that is computed, with dropout."""

    reads = Reads(blocks=2, all_tokens=True)

    def __init__(self, config: Any, tower: Any, num_frames: int, embed_dim: int) -> None:
        super().__init__(config, tower, num_frames, embed_dim)
        self.proj = nn.Linear(tower.width, embed_dim)
        self.register_buffer("ramp", torch.arange(1.0, 1.0 + embed_dim), persistent=False)
        self.seen: list[Any] = []

    def read(self, traces: Any, tower: Any) -> Tensor:
        self.seen = list(traces)
        return torch.stack([trace.output.mean(dim=2) for trace in traces], dim=2)

    def forward(self, read: Any, tower: Any, masks: Any) -> Tensor:
        features = self.proj(read).mean(dim=1).sum(dim=1) * self.ramp
        return features * masks(features.shape[1], 0.5).to(features) if masks else features


class LightHead(CosineHead):
    """Names are read in the light of the video."""

    learns_texts, comparable = False, False

    def __init__(self, config: Any, inputs: Any) -> None:
        super().__init__(config, inputs)
        self.gate = nn.Linear(inputs.backbone.config.embed_dim, inputs.backbone.config.embed_dim)
        self.add_temperature(inputs.backbone)

    def class_features(self, encoded: Tensor) -> Tensor:
        return encoded

    def logits(self, video_features: Tensor, class_features: Tensor) -> Tensor:
        texts = l2_normalize(class_features * self.gate(video_features)[:, None])
        return self.logit_scale.exp() * (texts @ video_features[..., None])[..., 0]


@pytest.fixture(autouse=True)
def own_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    parts("pool")
    for slot in ("pool", "head"):
        monkeypatch.setitem(registry._PARTS, slot, dict(registry._PARTS[slot]))
    register("pool", "traces", NoConfig)(TracePool)
    register("head", "light", NoConfig)(LightHead)


def pixels(clips: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (clips, 4, 3, 16, 16), generator=generator, dtype=torch.uint8)


def test_traces_are_those_of_the_last_blocks() -> None:
    model = tiny_model(NAMES, pool="traces")
    model.encode_video(pixels())
    first, last = model.pool.seen  # type: ignore[misc]
    assert torch.equal(first.output, last.input)
    assert last.output.shape == (4, 4, 5, 16)
    groups = model.context[1].groups(last.input[:, :, 0])
    assert groups.keys() == last.context.keys()
    torch.testing.assert_close(last.output, last.block(last.input, context=list(groups.values())))


def test_what_a_backbone_lacks_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TracePool, "requires", frozenset({"square patches", "depth maps"}))
    with pytest.raises(ValueError, match=r"'traces' needs a backbone with depth maps, which 'tiny' does not have"):
        tiny_model(NAMES, pool="traces")


def test_dropout_depends_on_seed_step_and_place_alone(world: Path, tmp_path: Path) -> None:
    config = train_config(world, tmp_path)
    config = replace(config, model=replace(config.model, pool="traces"))
    gradients = []
    for number, size in enumerate((0, 1, 3)):
        optim = replace(config.optim, micro_batch_size=size)
        trainer = Trainer(replace(config, out=str(tmp_path / str(number)), optim=optim))
        trainer.model.double()
        trainer.train_step(TrainBatch(0, pixels(), torch.tensor([0, 1, 2, 0]), tuple(range(4)), ()))
        gradients.append([p.grad for p in trainer.model.adapter_params().values() if p.grad is not None])
        with torch.no_grad():
            assert torch.equal(*(trainer.model.encode_video(pixels()) for _ in range(2)))  # none in evaluation
    for each in gradients[1:]:
        torch.testing.assert_close(each, gradients[0], rtol=1e-6, atol=1e-10)


def test_computed_buffers_survive_loading(world: Path, tmp_path: Path) -> None:
    model = build(world, tmp_path, pool="traces")
    loaded = VideoModel.from_pretrained(model.save_pretrained(tmp_path / "model"))
    assert torch.equal(loaded.encode_video(pixels()), model.encode_video(pixels()))


def build(world: Path, tmp_path: Path, **parts: str) -> VideoModel:
    config = replace(train_config(world, tmp_path).model, **parts)  # type: ignore[arg-type]
    return VideoModel(load_backbone(config.backbone), config, NAMES).eval()


def test_video_read_texts_keep_logits(world: Path, tmp_path: Path) -> None:
    model, rows = build(world, tmp_path, head="light"), read_folder(world / "videos").samples
    views, runtime, data = ViewsConfig(temporal=1), RuntimeConfig(precision="float32"), DataConfig(workers=0)
    evaluator, predictor = Evaluator(model, runtime, data), Predictor(model, views=views)
    lists = [evaluator.encode_texts(names) for names in (NAMES, ["stand", "run", "sit"])]
    seen, videos = evaluator.encode(rows, views, lists), [predictor.load(rows[index].path) for index in (0, 5)]
    for texts in lists:
        with torch.no_grad():
            expected = [model(video[:1], texts.features).softmax(dim=-1)[0] for video in videos]
        found = evaluator.score(seen, texts).scores.probabilities[[0, 5]]
        torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="give all names beforehand"):
        evaluator.score(seen, evaluator.encode_texts(NAMES))
    with pytest.raises(ValueError, match=r"views\.aggregation = features: this model reads each name in the light"):
        evaluator.run(rows, NAMES, replace(views, aggregation="features"))
