"""Checkpoints: whole or not used, the previous one always there, and what is not finite never saved."""

import re
import resource
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from small_world import changed, lines_of, prompts_of, same, train_config
from tiny import parameter_of
from torchrun import fork, status_of
from vitaclip.files import write_safetensors
from vitaclip.model import VideoModel
from vitaclip.training.checkpoint import Checkpoint, CheckpointStore, checksum
from vitaclip.training.config import TrainConfig
from vitaclip.training.trainer import Trainer


def names_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def store_with(folder: Path, *steps: int) -> CheckpointStore:
    store = CheckpointStore(folder, keep=2)
    for step in steps:
        store.save(Checkpoint(step, {"x": torch.full((3,), float(step))}, {"step": step}))
    return store


def test_saved_checkpoint_is_loaded_unchanged(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(2, 3), "b": torch.tensor(7.0), "c": torch.ones(2, dtype=torch.bfloat16)}
    store = CheckpointStore(tmp_path, keep=1)
    store.save(Checkpoint(5, tensors, {"words": ["a", "ü"]}))
    loaded, problems = store.newest()
    assert loaded is not None
    assert (loaded.step, loaded.notes, problems) == (5, {"words": ["a", "ü"]}, [])
    assert same(loaded.tensors, tensors)


def test_newest_and_best_checkpoints_stay(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    for step in range(1, 7):
        store.save(Checkpoint(step, {"x": torch.zeros(1)}, {}), best_step=2 if step >= 2 else None)
    assert store.steps() == [2, 5, 6]


def flip(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[:-5],
    "a byte of a tensor": lambda content: flip(content, len(content) - 2),
    "a byte of the notes": lambda content: flip(content, content.index(b'\\"step\\": 4') + 10),
    "emptied": lambda content: b"",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoint_is_passed_over(tmp_path: Path, damage: str) -> None:
    store = store_with(tmp_path, 3, 4)
    store.path(4).write_bytes(DAMAGES[damage](store.path(4).read_bytes()))
    checkpoint, (line,) = store.newest()
    assert checkpoint is not None
    assert checkpoint.step == 3
    assert "step_00000004.safetensors: damaged (" in line
    assert line.endswith("took that of step 3")
    assert names_in(tmp_path) == ["damaged_step_00000004.safetensors", "step_00000003.safetensors"]


@pytest.mark.parametrize("wrong", ["NaN", "a list of notes", "deep notes", "another step"])
def test_crafted_checkpoint_counts_as_damaged(tmp_path: Path, wrong: str) -> None:
    store = store_with(tmp_path, 3, 4)
    notes = {"a list of notes": "[1]", "deep notes": "[" * 100_000}.get(wrong, "{}")
    metadata = {"step": "7" if wrong == "another step" else "4", "notes": notes}
    tensors = {"x": torch.full((3,), float("nan") if wrong == "NaN" else 4.0)}
    write_safetensors(store.path(4), tensors, {**metadata, "checksum": checksum(tensors, metadata)})
    checkpoint, (line,) = store.newest()
    assert checkpoint is not None
    assert checkpoint.step == 3
    assert "step_00000004.safetensors: " in line


def test_a_file_without_checksum_is_damaged(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(3)}, tmp_path / "step_00000001.safetensors", {"step": "1", "notes": "{}"})
    for _ in range(2):  # the same command again must not start the run over
        with pytest.raises(ValueError, match=r"no whole checkpoint is left: delete"):
            CheckpointStore(tmp_path, keep=1).newest()


def test_os_error_is_not_taken_for_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_with(tmp_path, 3, 4)

    def stale(*_: object, **__: object) -> None:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr("vitaclip.training.checkpoint.safe_open", stale)
    with pytest.raises(OSError, match="Stale file handle"):
        store.newest()
    assert store.steps() == [3, 4]


def test_checksum_sees_names_shapes_and_kinds() -> None:
    x = torch.arange(4, dtype=torch.int32)
    others = [{"y": x}, {"x": x.view(2, 2)}, {"x": x.view(torch.float32)}, {"x": x.flip(0)}]
    assert len({checksum(tensors, {}) for tensors in [{"x": x}, *others]} | {checksum({"x": x}, {"a": "b"})}) == 6


def test_write_error_names_file(tmp_path: Path) -> None:
    """A real refusal, by a limit on the size of files."""
    store = store_with(tmp_path, 1)

    def write_too_much() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        with pytest.raises(OSError, match=r"step_00000002\.safetensors"):
            store.save(Checkpoint(2, {"x": torch.zeros(100_000)}, {}))

    assert status_of(fork(write_too_much)) == 0
    assert names_in(tmp_path) == ["step_00000001.safetensors"]


# ------------------------------------------------------------------------------------------------- checkpoints of runs


def test_run_resumes_before_damaged_checkpoint_and_warns(world: Path, tmp_path: Path) -> None:
    config = train_config(world, tmp_path)
    Trainer(config).fit()
    expected = prompts_of(tmp_path)
    newest = tmp_path / "checkpoints" / "step_00000006.safetensors"
    newest.write_bytes(newest.read_bytes()[:1000])
    trainer = Trainer(config)
    assert trainer.step == 4
    (warning,) = trainer.warnings
    assert "step_00000006.safetensors: damaged" in warning
    assert (tmp_path / "warnings.txt").read_text() == f"{warning}\n"
    Trainer(config).fit()
    assert newest.exists()
    assert same(prompts_of(tmp_path), expected)
    assert [line["step"] for line in lines_of(tmp_path)] == [1, 2, 3, 4, 5, 6]


def all_are_finite(checkpoint: Checkpoint) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in checkpoint.tensors.values())


@pytest.mark.parametrize("step", [0, 3])
def test_non_finite_loss_saves_state_and_names_files(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    config = train_config(world, tmp_path, micro_batch_size=2)
    trainer = Trainer(config)
    logits = VideoModel.logits
    calls = iter(range(100))

    def infinite_once(self: VideoModel, *features: torch.Tensor) -> torch.Tensor:
        second_of_step = next(calls) == 2 * step + 1
        return logits(self, *features) * (float("inf") if second_of_step else 1.0)

    monkeypatch.setattr(VideoModel, "logits", infinite_once)
    with pytest.raises(ValueError, match=rf"loss is (nan|inf) at step {step}; .* saved as they were") as caught:
        trainer.train()
    (batch,) = trainer.batches(step, step + 1)
    paths = [str(trainer.videos.samples[index].path) for index in batch.indices]
    assert [path in str(caught.value) for path in paths] == [False, False, True, True]
    assert all_are_finite(trainer.run_dir.checkpoints.load(step))
    assert Trainer(config).step == step


def test_non_finite_gradient_is_never_applied(world: Path, tmp_path: Path) -> None:
    trainer = Trainer(train_config(world, tmp_path))
    assert not trainer.config.optim.max_gradient_norm
    calls = iter(range(100))
    prompts = parameter_of(trainer.model, "context.blocks.0.global.prompts")
    prompts.register_hook(lambda gradient: gradient * float("inf") if next(calls) == 3 else gradient)
    message = r"gradient's length is (nan|inf) at step 3; .* saved as they were.*start in another folder"
    with pytest.raises(ValueError, match=message):
        trainer.train()
    assert all_are_finite(trainer.run_dir.checkpoints.load(3))


def test_non_finite_parameters_are_not_saved(world: Path, tmp_path: Path) -> None:
    trainer = Trainer(train_config(world, tmp_path))
    parameter_of(trainer.model, "head.logit_scale").data.fill_(float("inf"))
    with pytest.raises(ValueError, match=r"loss is nan at step 0; .* were not finite before and are not saved"):
        trainer.train()
    assert not trainer.run_dir.checkpoints.steps()


@pytest.fixture(scope="module")
def trained(world: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A run of two steps, for copies that are tampered with."""
    config = train_config(world, tmp_path_factory.mktemp("trained") / "run", steps=2)
    Trainer(config).fit()
    return config


def with_moment(checkpoint: Checkpoint, value: torch.Tensor) -> Checkpoint:
    name = next(name for name, value in checkpoint.tensors.items() if ".exp_avg." in name and value.dim())
    return replace(checkpoint, tensors={**checkpoint.tensors, name: value})


def with_notes(checkpoint: Checkpoint, **notes: Any) -> Checkpoint:
    return replace(checkpoint, notes={**checkpoint.notes, **notes})


CRAFTED: dict[str, tuple[Callable[[Checkpoint], Checkpoint], str]] = {
    "notes without config": (partial(with_notes, config=None), "."),
    "config that is a list": (partial(with_notes, config=[1, 2]), "."),
    "no bad videos": (partial(with_notes, bad_videos=None), "bad_videos are no list of texts"),
    "bad videos that are numbers": (partial(with_notes, bad_videos=[1]), "bad_videos are no list of texts"),
    "class names that are a number": (partial(with_notes, class_names=5), "class_names are no list of texts"),
    "a step beyond the last": (partial(replace, step=99), "checkpoint of step 99 of 2"),
    "moments of another shape": (partial(with_moment, value=torch.ones(3, 7)), "optimizer.exp_avg of .* another shape"),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_checkpoint_is_one_line(name: str, trained: TrainConfig, tmp_path: Path) -> None:
    """With a right checksum, as somebody may write it on purpose."""
    tamper, message = CRAFTED[name]
    config = changed(trained, out=str(tmp_path / "run"))
    shutil.copytree(trained.out, config.out)
    store = CheckpointStore(Path(config.out) / "checkpoints", keep=9)
    store.save(tamper(store.load(2)))
    with pytest.raises(ValueError, match=message) as error:
        Trainer(config)
    assert "\n" not in str(error.value)
    assert re.search(f"{config.out}|another model", str(error.value))
