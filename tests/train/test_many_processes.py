"""Two real processes against one: the same weights, each video validated once, one message for a failure."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors.torch import load_file

import torchrun
from small_world import NAMES, train_config
from vitaclip.data.config import AugmentConfig
from vitaclip.runtime import RuntimeConfig
from vitaclip.settings import to_dict
from vitaclip.train.config import TrainConfig
from vitaclip.train.micro_batches import neighbours, rank_slice
from vitaclip.train.throughput import MEASURED

ROUNDING = 1e-12


def two_process_config(world: Path, out: Path) -> TrainConfig:
    """Odd batches of a data set that they do not divide, odd micro-batches, and every setting that mixes clips."""
    config = train_config(world, out, batch_size=5, micro_batch_size=2, label_smoothing=0.1)
    optim = replace(config.optim, max_gradient_norm=0.5, ema_decay=0.9)
    augment = AugmentConfig(crop_scale=(0.5, 1.0), flip=0.5, mixup=0.8, cutmix=1.0)
    videos = str(world / "videos")
    data = replace(config.data, val=videos, augment=augment, eval_batch_size=5, workers=1)
    runtime = RuntimeConfig(device="cpu", precision="float32")
    return replace(config, optim=optim, data=data, runtime=runtime, validate_every=3)


def lines_of(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


FIGURES = 5
"""That travel with the gradients: loss, right clips, clips, bad videos, a wish to stop."""


@pytest.mark.parametrize("towers", ["none", "both"])
def test_two_ranks_learn_same_weights_as_one(world: Path, tmp_path: Path, towers: Literal["none", "both"]) -> None:
    for count in (1, 2):
        config = two_process_config(world, tmp_path / str(count))
        config = replace(config, model=replace(config.model, train=towers))
        file = tmp_path / f"{count}.json"
        file.write_text(json.dumps(to_dict(config)))
        if count == 1:
            torchrun.train_in_float64(str(file))
        else:
            ended = torchrun.launch(count, torchrun.__file__, str(file))
            assert ended.returncode == 0, ended.stderr
    for part in ("model/prompts.safetensors", "checkpoints/step_00000006.safetensors"):
        one, two = (load_file(tmp_path / str(count) / part) for count in (1, 2))
        assert one.keys() == two.keys()
        for name, value in one.items():
            assert value.dtype == torch.float64 or name.startswith("optimizer.step.")
            # The keys' biases in the towers have no gradient but rounding, which AdamW divides by its 1e-8.
            atol = 1e-9 if name.endswith("qkv.bias") else ROUNDING
            torch.testing.assert_close(two[name], value, rtol=ROUNDING, atol=atol, msg=partial("{}: {}".format, name))
    for rank in (0, 1):
        travelled = json.loads((tmp_path / "2" / f"sums_{rank}.json").read_text())
        assert travelled["sums"] == [travelled["trained"] + FIGURES] * config.optim.steps
    lines = [lines_of(tmp_path / str(count)) for count in (1, 2)]
    assert [line["step"] for line in lines[1]] == [1, 2, 3, 3, 4, 5, 6, 6]
    for first, second in zip(*lines, strict=True):
        assert first.keys() == second.keys()
        for name in first.keys() - set(MEASURED):
            assert second[name] == pytest.approx(first[name], rel=1e-9), name


@pytest.mark.parametrize(("batch_size", "count"), [(4, 2), (5, 2), (7, 3), (256, 7), (9, 1), (1, 1)])
def test_rank_slices_cover_step_and_keep_pairs(batch_size: int, count: int) -> None:
    shares = [rank_slice(batch_size, rank, count) for rank in range(count)]
    assert [place for share in shares for place in share] == list(range(batch_size))
    whole = neighbours(batch_size).tolist()
    for share in shares:
        assert [share.start + place for place in neighbours(len(share)).tolist()] == whole[share.start : share.stop]
    assert max(map(len, shares)) - min(map(len, shares)) <= 3


def test_batch_smaller_than_rank_pairs_is_refused() -> None:
    with pytest.raises(ValueError, match=r"optim.batch_size = 5: 3 processes need at least 6"):
        rank_slice(5, 0, 3)


def command(world: Path, out: Path, *arguments: str) -> list[str]:
    return [
        *("-m", "vitaclip", "train", "--config", "own_videos", "--data.train", str(world / "videos")),
        *("--model.backbone", str(world / "backbone"), "--optim.steps", "4", "--optim.batch_size", "4"),
        *("--data.workers", "0", "--runtime.device", "cpu", "--out", str(out), *arguments),
    ]


def errors_of(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if line.startswith("vitaclip: error: ")]


def test_only_rank_0_prints_and_writes(world: Path, tmp_path: Path) -> None:
    ended = torchrun.launch(2, *command(world, tmp_path / "run", "--log_every", "1"))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("what trains") == 1
    assert ended.stdout.count("the model is in") == 1
    assert [line["step"] for line in lines_of(tmp_path / "run")] == [1, 2, 3, 4]
    assert (tmp_path / "run" / "model" / "prompts.safetensors").exists()


def test_error_on_all_ranks_is_printed_once(world: Path, tmp_path: Path) -> None:
    ended = torchrun.launch(2, *command(world, tmp_path / "run", "--data.classes", "jump, run"))
    assert ended.returncode != 0
    (line,) = errors_of(ended.stderr)
    assert "3 problems found" in line
    assert not (tmp_path / "run").exists()


def test_failure_of_one_rank_ends_all(world: Path, tmp_path: Path) -> None:
    videos = sorted((world / "videos").rglob("*.mp4"))
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(videos[0].read_bytes()[:200])
    rows = [f"{path},{i % 3}" for i, path in enumerate([bad, *videos])]
    (tmp_path / "train.csv").write_text("\n".join(rows))
    classes = ["--data.train", str(tmp_path / "train.csv"), "--data.classes", ", ".join(NAMES)]
    ended = torchrun.launch(2, *command(world, tmp_path / "run", *classes, "--data.on_error", "raise"))
    assert ended.returncode != 0
    lines = errors_of(ended.stderr)
    assert sum("bad.mp4" in line for line in lines) == 1, ended.stderr
    assert all("bad.mp4" in line or "another one went away" in line for line in lines)
