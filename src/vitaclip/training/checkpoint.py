"""Checkpoints: one safetensors file a step, with what trains, its EMA and the optimiser's state, but no frozen tower.

Each file holds a checksum of its content, so that damage is found before anything is loaded from it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from torch.optim import AdamW

from vitaclip.files import remove_leftovers, write_safetensors
from vitaclip.model import VideoModel
from vitaclip.saving.upgrade import upgrade_names
from vitaclip.strings import one_line
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
            if int(metadata["step"]) != step:
                raise ValueError(f"damaged (it says step {metadata['step'][:20]!r}, its name {step})")
            for name, tensor in tensors.items():
                if tensor.is_floating_point() and not tensor.isfinite().all():
                    raise ValueError(f"damaged ({name} holds NaN or infinite numbers)")
            notes = json.loads(metadata["notes"])
            if not isinstance(notes, dict):
                raise ValueError("damaged (its notes are no JSON object)")
            return Checkpoint(step, upgrade_names(tensors), notes)

    def newest(self) -> tuple[Checkpoint | None, list[str]]:
        """Return the newest undamaged checkpoint (None in a new folder), and a warning for each damaged one.

        Damaged checkpoints are renamed, and files that a killed process left half-written are removed.

        Raises:
            ValueError: if all are damaged. They keep their names, so that the same command cannot start over.
        """
        remove_leftovers(self.folder)
        steps = self.steps()[::-1]
        if not steps:
            return None, []
        found, warnings = self._first_whole(steps, f"no whole checkpoint is left: delete {self.folder} to start over")
        for damaged in map(self.path, steps[: steps.index(found.step)]):
            damaged.replace(damaged.with_name(f"damaged_{damaged.name}"))
        return found, warnings

    def best(self, ranking: Sequence[int]) -> tuple[Checkpoint, list[str]]:
        """Return the first undamaged checkpoint of the validated steps, which are given best first, and a warning for
        each damaged one before it."""
        kept = {*self.steps(), ranking[0]}
        steps = [step for step in ranking if step in kept]
        return self._first_whole(steps, "no validated checkpoint is whole, so there is nothing to take")

    def _first_whole(self, steps: Sequence[int], otherwise: str) -> tuple[Checkpoint, list[str]]:
        problems: list[str] = []
        for step in steps:
            try:
                return self.load(step), [f"{problem}; took that of step {step}" for problem in problems]
            except ValueError as error:
                problems.append(str(error))
        raise ValueError("; ".join([*problems, otherwise]))


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
    moments = {name.split(".")[1] for name in tensors if name.startswith("optimizer.")}

    def saved(kind: str, name: str, parameter: Tensor) -> Tensor:
        value = tensors[f"{kind}.{name}"]
        counts = kind == "optimizer.step"
        if value.shape != (() if counts else parameter.shape):
            raise KeyError(f"{kind} of {name} has another shape")
        return value.to("cpu" if counts else parameter.device, copy=True)  # AdamW counts its steps on the CPU

    try:
        beside = ("optimizer.", "average.")
        model.load_state({name: value for name, value in tensors.items() if not name.startswith(beside)})
        for name, parameter in model.trainable_parameters().items():
            optimizer.state[parameter] = {
                moment: saved(f"optimizer.{moment}", name, parameter) for moment in sorted(moments)
            }
            if ema is not None:
                ema.values[name] = saved("average", name, parameter)
    except (ValueError, KeyError) as error:
        raise ValueError(f"the checkpoint belongs to another model ({one_line(error)})") from error


def checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256, in hex, of the metadata and of the tensors' names, dtypes, shapes and bytes."""
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}:".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
