"""Checkpoints: one safetensors file a step, with what trains, its EMA and the optimiser's state, but no frozen tower.

Each file holds a checksum of its content, so that damage is found before anything is loaded from it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from torch.optim import AdamW

from vitaclip.files import remove_leftovers, write_safetensors
from vitaclip.model import VideoModel
from vitaclip.saving.model_folder import upgrade_names
from vitaclip.training.optim import EMA
from vitaclip.untrusted import reading


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after `step` steps."""

    step: int
    tensors: Mapping[str, Tensor]
    """What `state_dict` returns."""
    notes: Mapping[str, Any]
    """The run's fingerprint and its list of bad videos, ready for JSON."""


@dataclass(frozen=True)
class CheckpointStore:
    """The checkpoints of one run folder. The newest `keep` stay, and that of the best validation."""

    folder: Path
    keep: int

    def path(self, step: int) -> Path:
        """Path of the checkpoint that is taken after `step` steps."""
        return self.folder / f"step_{step:08d}.safetensors"

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, in ascending order."""
        return sorted(int(file.stem[5:]) for file in self.folder.glob(f"step_{8 * '[0-9]'}.safetensors"))

    def save(self, checkpoint: Checkpoint, best_step: int | None = None) -> Path:
        """Write a checkpoint atomically, then delete the oldest ones, but never that of `best_step`. Where it cannot be
        written, the earlier ones are unchanged."""
        path = self.path(checkpoint.step)
        metadata = {"step": str(checkpoint.step), "notes": json.dumps(checkpoint.notes, allow_nan=False)}
        metadata["checksum"] = checksum(checkpoint.tensors, metadata)
        write_safetensors(path, checkpoint.tensors, metadata)
        for old in self.steps()[: -self.keep]:
            if old != best_step:
                self.path(old).unlink()
        return path

    def load(self, step: int) -> Checkpoint:
        """Read the checkpoint that was taken after `step` steps.

        Raises:
            ValueError: if there is none, or it is damaged. (An OSError says nothing about its content.)
        """
        path = self.path(step)
        if not path.exists():
            raise ValueError(f"{path}: not there any more")
        with reading(path, "delete it"), safe_open(path, framework="pt", backend="pread") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
            if metadata.pop("checksum") != checksum(tensors, metadata):
                raise ValueError("damaged (its checksum is wrong)")
            return Checkpoint(int(metadata["step"]), upgrade_names(tensors), json.loads(metadata["notes"]))

    def newest(self) -> tuple[Checkpoint, list[str]]:
        """Return the newest undamaged checkpoint (an empty one of step 0 in a new folder), and a warning for each
        damaged one.

        Damaged checkpoints are renamed, and files that a killed process left half-written are removed.

        Raises:
            ValueError: if all are damaged. They keep their names, so that the same command cannot start over.
        """
        remove_leftovers(self.folder)
        problems: dict[Path, str] = {}
        for step in self.steps()[::-1]:
            try:
                found = self.load(step)
            except ValueError as error:
                problems[self.path(step)] = str(error)
                continue
            for damaged in problems:
                damaged.replace(damaged.with_name(f"damaged_{damaged.name}"))
            return found, [f"{problem}; took that of step {step}" for problem in problems.values()]
        if problems:
            remedy = f"no whole checkpoint is left: delete {self.folder} to start over"
            raise ValueError("; ".join([*problems.values(), remedy]))
        return Checkpoint(0, {}, {}), []


def state_dict(model: VideoModel, optimizer: AdamW, ema: EMA | None = None) -> dict[str, Tensor]:
    """All that training changes: the parts, the backbone if a tower trains, the optimiser's moments, the EMA."""
    tensors = model.learned_state()
    for name, parameter in model.trainable_parameters().items():
        for moment, value in optimizer.state[parameter].items():
            tensors[f"optimizer.{moment}.{name}"] = value
    if ema is not None:
        tensors |= {f"average.{name}": value for name, value in ema.values.items()}
    return tensors


def load_state(tensors: Mapping[str, Tensor], model: VideoModel, optimizer: AdamW, ema: EMA | None = None) -> None:
    """Load what `state_dict` returned. The optimiser has no moments before the first step."""
    beside = ("optimizer.", "average.")
    model.load_state({name: value for name, value in tensors.items() if not name.startswith(beside)})
    moments = sorted({name.split(".")[1] for name in tensors if name.startswith("optimizer.")})
    for name, parameter in model.trainable_parameters().items():
        saved = {moment: tensors[f"optimizer.{moment}.{name}"] for moment in moments}
        # AdamW counts its steps on the CPU.
        optimizer.state[parameter] = {
            moment: value.to("cpu" if moment == "step" else parameter.device, copy=True)
            for moment, value in saved.items()
        }
        if ema is not None:
            ema.values[name] = tensors[f"average.{name}"].to(parameter.device, copy=True)


def checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256, in hex, of the metadata and of the tensors' names, dtypes, shapes and bytes."""
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}:".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
