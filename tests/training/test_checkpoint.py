"""Checkpoints: whole or not used, the previous one always there, and what is not finite never saved."""

import resource
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from small_world import lines_of, prompts_of, same, train_config
from tiny import parameter_of
from torchrun import fork, status_of
from vitaclip.model import VideoModel
from vitaclip.training.checkpoint import Checkpoint, CheckpointStore, checksum
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
    assert checkpoint.step == 3
    assert "step_00000004.safetensors: damaged (" in line
    assert line.endswith("took that of step 3")
    assert names_in(tmp_path) == ["damaged_step_00000004.safetensors", "step_00000003.safetensors"]


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
    Trainer(config).fit()
    assert newest.exists()
    assert same(prompts_of(tmp_path), expected)
    assert [line["step"] for line in lines_of(tmp_path)] == [1, 2, 3, 4, 5, 6]


def all_are_finite(checkpoint: Checkpoint) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in checkpoint.tensors.values())


@pytest.mark.parametrize("step", [0, 3])
def test_non_finite_loss_saves_state(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    config = train_config(world, tmp_path, micro_batch_size=2)
    trainer = Trainer(config)
    logits = VideoModel.logits
    calls = iter(range(100))

    def infinite_once(self: VideoModel, *features: torch.Tensor) -> torch.Tensor:
        second_of_step = next(calls) == 2 * step + 1
        return logits(self, *features) * (float("inf") if second_of_step else 1.0)

    monkeypatch.setattr(VideoModel, "logits", infinite_once)
    with pytest.raises(ValueError, match=rf"loss is (nan|inf) at step {step}; .* saved as they were"):
        trainer.train()
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
