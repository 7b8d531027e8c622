"""Checkpoints: whole or not used, the previous one always there, and of the same run or refused."""

import json
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from small_world import NAMES, train_config
from tiny import parameter_of
from vitaclip.backbones.loading import load_backbone, save_backbone
from vitaclip.data.config import DataConfig
from vitaclip.files import write_safetensors
from vitaclip.model import VideoModel
from vitaclip.parts.assembly import PlaceContext
from vitaclip.train.checkpoint import Checkpoint, CheckpointStore, checksum
from vitaclip.train.config import TrainConfig
from vitaclip.train.trainer import Trainer


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
    assert all(torch.equal(loaded.tensors[name], value) for name, value in tensors.items())


def test_newest_and_best_checkpoints_stay(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    for step in range(1, 7):
        store.save(Checkpoint(step, {"x": torch.zeros(1)}, {}), best_step=2 if step >= 2 else None)
    assert store.steps() == [2, 5, 6]


@pytest.mark.parametrize("damage", ["cut", "a byte of a tensor", "a byte of the notes", "emptied"])
def test_damaged_checkpoint_is_passed_over(tmp_path: Path, damage: str) -> None:
    store = store_with(tmp_path, 3, 4)
    path = store.path(4)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[:-5]
    elif damage == "emptied":
        content.clear()
    else:
        place = len(content) - 2 if damage == "a byte of a tensor" else content.index(b'\\"step\\": 4') + 10
        content[place] ^= 1
    path.write_bytes(content)
    checkpoint, (line,) = store.newest()
    assert checkpoint is not None
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

    monkeypatch.setattr("vitaclip.train.checkpoint.safe_open", stale)
    with pytest.raises(OSError, match="Stale file handle"):
        store.newest()
    assert store.steps() == [3, 4]


def test_checksum_sees_names_shapes_and_kinds() -> None:
    x = torch.arange(4, dtype=torch.int32)
    others = [{"y": x}, {"x": x.view(2, 2)}, {"x": x.view(torch.float32)}, {"x": x.flip(0)}]
    assert len({checksum(tensors, {}) for tensors in [{"x": x}, *others]} | {checksum({"x": x}, {"a": "b"})}) == 6


def test_run_resumes_before_damaged_checkpoint_and_warns(world: Path, tmp_path: Path) -> None:
    config = train_config(world, tmp_path / "run")
    Trainer(config).fit()
    expected = load_file(tmp_path / "run" / "model" / "prompts.safetensors")
    newest = tmp_path / "run" / "checkpoints" / "step_00000006.safetensors"
    newest.write_bytes(newest.read_bytes()[:1000])
    trainer = Trainer(config)
    assert trainer.step == 4
    (warning,) = trainer.warnings
    assert "step_00000006.safetensors: damaged" in warning
    assert (tmp_path / "run" / "warnings.txt").read_text() == f"{warning}\n"
    Trainer(config).fit()
    assert newest.exists()
    again = load_file(tmp_path / "run" / "model" / "prompts.safetensors")
    assert all(torch.equal(again[name], value) for name, value in expected.items())
    assert [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").open()] == [1, 2, 3, 4, 5, 6]


def test_a_full_disk_leaves_the_previous_checkpoint(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(tensors: object, filename: Path, metadata: object = None) -> None:
        Path(filename).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    config = replace(train_config(world, tmp_path / "run"), keep_checkpoints=1)
    trainer = Trainer(config)
    save = trainer.run_dir.checkpoints.save
    before: dict[str, bytes] = {}

    def save_on_a_full_disk(checkpoint: Checkpoint, best_step: int | None = None) -> Path:
        if checkpoint.step == 4:
            before.update({file.name: file.read_bytes() for file in trainer.run_dir.checkpoints.folder.iterdir()})
            monkeypatch.setattr("vitaclip.files.save_file", full_disk)
        return save(checkpoint, best_step)

    object.__setattr__(trainer.run_dir.checkpoints, "save", save_on_a_full_disk)
    with pytest.raises(OSError, match="No space left"):
        trainer.train()
    assert list(before) == ["step_00000002.safetensors"]
    assert {file.name: file.read_bytes() for file in trainer.run_dir.checkpoints.folder.iterdir()} == before
    monkeypatch.undo()
    Trainer(config).fit()
    whole = replace(config, out=str(tmp_path / "whole"))
    Trainer(whole).fit()
    first, second = (load_file(tmp_path / name / "model" / "prompts.safetensors") for name in ("run", "whole"))
    assert all(torch.equal(first[name], value) for name, value in second.items())


WRITES_TOO_MUCH = """
import resource, sys, torch
from pathlib import Path
from vitaclip.train.checkpoint import Checkpoint, CheckpointStore
store = CheckpointStore(Path(sys.argv[1]), keep=1)
store.save(Checkpoint(1, {"x": torch.zeros(10)}, {}))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    store.save(Checkpoint(2, {"x": torch.zeros(100_000)}, {}))
except OSError as error:
    print(error)
"""


def test_write_error_names_file(tmp_path: Path) -> None:
    """A real refusal, by a limit on the size of files."""
    assert hasattr(resource, "RLIMIT_FSIZE")
    assert hasattr(signal, "SIGXFSZ")
    code = [sys.executable, "-c", WRITES_TOO_MUCH, str(tmp_path)]
    ended = subprocess.run(code, capture_output=True, text=True, check=True)
    assert "step_00000002.safetensors" in ended.stdout
    assert names_in(tmp_path) == ["step_00000001.safetensors"]


def test_half_written_files_of_kill_are_removed(world: Path, tmp_path: Path) -> None:
    config = train_config(world, tmp_path)
    (tmp_path / "checkpoints").mkdir()
    for name in (".metrics.jsonl.1.tmp", "checkpoints/.step_00000002.safetensors.1.tmp"):
        (tmp_path / name).write_bytes(b"half")
    Trainer(config)
    assert not list(tmp_path.rglob("*.tmp"))


def test_run_resumes_from_checkpoint_of_step_0(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = train_config(world, tmp_path)
    monkeypatch.setattr(VideoModel, "logits", lambda self, x, y: x @ y.T * float("inf"))
    with pytest.raises(ValueError, match="loss is nan at step 0"):
        Trainer(config).train()
    monkeypatch.undo()
    assert names_in(tmp_path / "checkpoints") == ["step_00000000.safetensors"]
    assert Trainer(config).step == 0


def test_non_finite_loss_saves_state_and_names_files(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = train_config(world, tmp_path, micro_batch_size=2)
    trainer = Trainer(config)
    compare = VideoModel.logits
    calls = iter(range(100))

    def infinite_once(self: VideoModel, features: torch.Tensor, text_features: torch.Tensor) -> torch.Tensor:
        second_of_step_3 = next(calls) == 2 * 3 + 1
        return compare(self, features, text_features) * (float("inf") if second_of_step_3 else 1.0)

    monkeypatch.setattr(VideoModel, "logits", infinite_once)
    with pytest.raises(ValueError, match=r"loss is (nan|inf) at step 3; ") as caught:
        trainer.train()
    (batch,) = trainer.batches(3, 4)
    paths = [str(trainer.videos.samples[row].path) for row in batch.indices]
    assert [path in str(caught.value) for path in paths] == [False, False, True, True]
    with safe_open(tmp_path / "checkpoints" / "step_00000003.safetensors", framework="pt") as file:
        assert all(torch.isfinite(file.get_tensor(name)).all() for name in file.keys())  # noqa: SIM118
    assert Trainer(config).step == 3


def test_non_finite_gradient_is_never_applied(world: Path, tmp_path: Path) -> None:
    trainer = Trainer(train_config(world, tmp_path))
    assert not trainer.config.optim.max_gradient_norm
    calls = iter(range(100))
    block = trainer.model.context.blocks[0]
    assert isinstance(block, PlaceContext)
    prompts = block["global"].prompts
    assert isinstance(prompts, torch.Tensor)
    prompts.register_hook(lambda gradient: gradient * float("inf") if next(calls) == 3 else gradient)
    with pytest.raises(ValueError, match=r"gradient's length is (nan|inf) at step 3; .* saved as they were") as caught:
        trainer.train()
    assert "start in another folder" in str(caught.value)
    with safe_open(tmp_path / "checkpoints" / "step_00000003.safetensors", framework="pt") as file:
        assert all(torch.isfinite(file.get_tensor(name)).all() for name in file.keys())  # noqa: SIM118


def test_non_finite_parameters_are_not_saved(world: Path, tmp_path: Path) -> None:
    trainer = Trainer(train_config(world, tmp_path))
    with torch.no_grad():
        parameter_of(trainer.model, "head.logit_scale").fill_(float("inf"))
    with pytest.raises(ValueError, match=r"loss is nan at step 0; .* were not finite before and are not saved"):
        trainer.train()
    assert not trainer.run_dir.checkpoints.steps()


def test_changed_backbone_is_refused_on_resume(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "backbone", tmp_path / "backbone")
    config = train_config(world, tmp_path / "run", steps=2)
    config = replace(config, model=replace(config.model, backbone=str(tmp_path / "backbone")))
    Trainer(config).fit()
    other = load_backbone(str(world / "backbone"))
    with torch.no_grad():
        next(other.clip.vision.parameters()).add_(0.02)
    save_backbone(other.clip, other.tokenizer, tmp_path / "backbone")
    with pytest.raises(ValueError, match=r"the backbone's fingerprint was '\w+', now '\w+'\. Resume it with its own"):
        Trainer(config)


@pytest.fixture(scope="module")
def trained(world: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A run of two steps, for copies that are tampered with."""
    config = train_config(world, tmp_path_factory.mktemp("trained") / "run", steps=2)
    Trainer(config).fit()
    return config


CRAFTED: dict[str, tuple[int, dict[str, Any], str]] = {
    "notes without config": (2, {"config": None}, "."),
    "config that is a list": (2, {"config": [1, 2]}, "."),
    "no bad videos": (2, {"bad_videos": None}, "bad_videos are no list of texts"),
    "bad videos that are numbers": (2, {"bad_videos": [1]}, "bad_videos are no list of texts"),
    "class names that are a number": (2, {"class_names": 5}, "class_names are no list of texts"),
    "a step beyond the last": (99, {}, "checkpoint of step 99 of 2"),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_checkpoint_is_one_line(name: str, trained: TrainConfig, tmp_path: Path) -> None:
    """With a right checksum, as somebody may write it on purpose."""
    step, notes, message = CRAFTED[name]
    config = replace(trained, out=str(tmp_path / "run"))
    shutil.copytree(trained.out, config.out)
    store = CheckpointStore(Path(config.out) / "checkpoints", keep=9)
    whole = store.load(2)
    store.save(Checkpoint(step, whole.tensors, {**whole.notes, **notes}))
    with pytest.raises(ValueError, match=message) as error:
        Trainer(config)
    assert "\n" not in str(error.value)
    assert config.out in str(error.value)


def test_moments_of_another_shape_are_refused(trained: TrainConfig, tmp_path: Path) -> None:
    config = replace(trained, out=str(tmp_path / "run"))
    shutil.copytree(trained.out, config.out)
    store = CheckpointStore(Path(config.out) / "checkpoints", keep=9)
    whole = store.load(2)
    name = next(name for name, value in whole.tensors.items() if ".exp_avg." in name and value.dim())
    store.save(replace(whole, tensors={**whole.tensors, name: torch.ones(3, 7)}))
    with pytest.raises(ValueError, match=r"optimizer.exp_avg of .* has another shape"):
        Trainer(config)


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


# -------------------------------------------------------------------------------------------- the same run, or refused


def listed(world: Path, tmp_path: Path, names: tuple[str, ...] = NAMES) -> TrainConfig:
    """A run on a list of eight videos and a file of class names."""
    videos = sorted((world / "videos").rglob("*.mp4"))[:8]
    write_list(tmp_path, [f"{path},{i % 3}" for i, path in enumerate(videos)])
    (tmp_path / "names.txt").write_text("\n".join(names))
    data = DataConfig(train=str(tmp_path / "train.csv"), classes=str(tmp_path / "names.txt"), workers=0)
    return replace(train_config(world, tmp_path / "run", steps=2), data=data)


def write_list(tmp_path: Path, rows: list[str]) -> None:
    (tmp_path / "train.csv").write_text("\n".join(rows))


@pytest.mark.parametrize("change", ["a row less", "another label", "another order"])
def test_edited_list_is_refused_on_resume(world: Path, tmp_path: Path, change: str) -> None:
    config = listed(world, tmp_path)
    Trainer(config).fit()
    rows = (tmp_path / "train.csv").read_text().splitlines()
    edited = {
        "a row less": rows[:-1],
        "another label": [*rows[:-1], rows[-1][:-1] + "0"],
        "another order": rows[::-1],
    }
    write_list(tmp_path, edited[change])
    count = 7 if change == "a row less" else 8
    with pytest.raises(
        ValueError, match=rf"the list of training videos was '8 \(list \w+\)', now '{count} \(list \w+\)"
    ):
        Trainer(config)


def test_changed_class_names_are_refused_on_resume(world: Path, tmp_path: Path) -> None:
    config = listed(world, tmp_path)
    Trainer(config).fit()
    (tmp_path / "names.txt").write_text("\n".join((*NAMES[:2], "sit")))
    with pytest.raises(ValueError, match=r"class.2 was 'moving right', now 'sit'"):
        Trainer(config)
    (tmp_path / "names.txt").write_text("\n".join((*NAMES, "sit")))
    with pytest.raises(ValueError, match=r"class.3 was None, now 'sit'"):
        Trainer(config)


def test_the_videos_may_move(world: Path, tmp_path: Path) -> None:
    config = listed(world, tmp_path)
    rows = [f"{path.relative_to(world)},0" for path in sorted((world / "videos").rglob("*.mp4"))]
    write_list(tmp_path, rows)
    config = replace(config, data=replace(config.data, root=str(world)))
    Trainer(config).fit()
    (tmp_path / "moved").symlink_to(world)
    assert Trainer(replace(config, data=replace(config.data, root=str(tmp_path / "moved")))).step == 2


def test_bad_videos_after_checkpoint_are_counted_again(world: Path, tmp_path: Path) -> None:
    """Else a run that was killed would count them earlier than one that was not."""
    config = listed(world, tmp_path)
    Trainer(config).fit()
    (tmp_path / "run" / "bad_videos.txt").write_text("met after the checkpoint\n")
    assert Trainer(config).bad_videos == {}
    assert not (tmp_path / "run" / "bad_videos.txt").exists()
