"""Two real processes against one: the same weights, each video validated once, one message for a failure."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import torchrun
from small_world import NAMES, changed, lines_of, train_config, write_list
from vitaclip.cli import main
from vitaclip.settings import to_dict
from vitaclip.training.config import TrainConfig
from vitaclip.training.inputs import neighbours, rank_slice
from vitaclip.training.loggers import MEASURED

pytestmark = pytest.mark.usefixtures("forked_workers")
ROUNDING = 1e-11
"""Ranks' gradients are added in another order than the clips of one process. With centred frame tokens they are
differences of nearly equal numbers: the weights of the first model below then differ by 1e-13, without by 1e-14."""
FIGURES = 5
"""That travel with the gradients: loss, correct clips, clips, bad videos, a wish to stop."""


def two_process_config(world: Path, out: Path) -> TrainConfig:
    """Odd batches of a data set that they do not divide, odd micro-batches, and every setting that mixes clips."""
    config = train_config(world, out, batch_size=5, micro_batch_size=2, label_smoothing=0.1)
    augment = {"mixup": 0.8, "cutmix": 1.0}
    return changed(
        config,
        optim={"max_gradient_norm": 0.5, "ema_decay": 0.9},
        data={"val": str(world / "videos"), "augment": augment, "eval_batch_size": 5, "workers": 1},
        runtime={"device": "cpu", "precision": "float32"},
        validate_every=3,
    )


MODELS: dict[str, dict[str, Any]] = {
    "prompts": {},
    "prompts and towers": {"train": "both"},
    "decoder with dropout": {"context": {}, "pool": {"name": "decode", "blocks": 2}, "head": "classifier"},
    "texts read by the video": {"pool": "integrate", "head": "video_read", "train": "image"},
}


@pytest.mark.parametrize("model", MODELS)
def test_two_ranks_learn_same_weights_as_one(world: Path, tmp_path: Path, model: str) -> None:
    for count in (1, 2):
        config = changed(two_process_config(world, tmp_path / str(count)), model=MODELS[model])
        file = tmp_path / f"{count}.json"
        file.write_text(json.dumps(to_dict(config)))
        train = partial(torchrun.train_in_float64, str(file))
        assert torchrun.run_on_ranks(train, count) == [0] * count
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
    slices = [rank_slice(batch_size, rank, count) for rank in range(count)]
    assert [position for each in slices for position in each] == list(range(batch_size))
    whole = neighbours(batch_size).tolist()
    for each in slices:
        assert [each.start + position for position in neighbours(len(each)).tolist()] == whole[each.start : each.stop]
    assert max(map(len, slices)) - min(map(len, slices)) <= 3


def test_batch_smaller_than_rank_pairs_is_refused() -> None:
    with pytest.raises(ValueError, match=r"optim.batch_size = 5: 3 processes need at least 6"):
        rank_slice(5, 0, 3)


def command(world: Path, out: Path, *arguments: str) -> list[str]:
    return [
        *("train", "--config", "own_videos", "--data.train", str(world / "videos")),
        *("--model.backbone", str(world / "backbone"), "--optim.steps", "4", "--optim.batch_size", "4"),
        *("--data.workers", "0", "--runtime.device", "cpu", "--out", str(out), *arguments),
    ]


def errors_of_two_ranks(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> list[str]:
    statuses = torchrun.run_on_ranks(partial(main, arguments))
    assert all(statuses)
    return [line for line in capfd.readouterr().err.splitlines() if line.startswith("vitaclip: error: ")]


def test_only_rank_0_prints_and_writes(world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert torchrun.run_on_ranks(partial(main, command(world, tmp_path / "run", "--log_every", "1"))) == [0, 0]
    printed = capfd.readouterr().out
    assert printed.count("what trains") == printed.count("take it along") == 1
    assert [line["step"] for line in lines_of(tmp_path / "run")] == [1, 2, 3, 4]
    assert (tmp_path / "run" / "model" / "prompts.safetensors").exists()


def test_error_on_all_ranks_is_printed_once(world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = command(world, tmp_path / "run", "--data.classes", "jump, run")
    (line,) = errors_of_two_ranks(arguments, capfd)
    assert "3 problems found" in line
    assert not (tmp_path / "run").exists()


def test_failure_of_one_rank_ends_all(world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    videos = sorted((world / "videos").rglob("*.mp4"))
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(videos[0].read_bytes()[:200])
    train = write_list(tmp_path / "train.csv", [(path, i % 3) for i, path in enumerate([bad, *videos])])
    data = ["--data.train", train, "--data.classes", ", ".join(NAMES), "--data.on_error", "raise"]
    lines = errors_of_two_ranks(command(world, tmp_path / "run", *data), capfd)
    assert sum("bad.mp4" in line for line in lines) == 1
    assert all("bad.mp4" in line or "another one went away" in line for line in lines)
