"""Checkpoints: the prompts and their optimiser state, never the towers; one safetensors file a step."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.optim import AdamW

from vitaclip.files import write_safetensors

_PATTERN = re.compile(r"step_(\d{8})\.safetensors")
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True)
class CheckpointStore:
    """The checkpoints of one run folder; the newest `keep` stay."""

    folder: Path
    keep: int

    def path(self, step: int) -> Path:
        """Where the checkpoint taken after `step` steps lies."""
        return self.folder / f"step_{step:08d}.safetensors"

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, ascending."""
        found = [_PATTERN.fullmatch(file.name) for file in self.folder.glob("step_*.safetensors")]
        return sorted(int(match[1]) for match in found if match)

    def save(self, step: int, prompts: nn.Module, optimizer: AdamW, config: Mapping[str, object]) -> Path:
        """Write the state after `step` steps, atomically, then drop the oldest."""
        tensors = {f"prompts.{name}": tensor for name, tensor in prompts.state_dict().items()}
        for name, parameter in _trained(prompts).items():
            for moment, value in optimizer.state[parameter].items():
                tensors[f"optimizer.{moment}.{name}"] = value
        metadata = {"step": str(step), "config": json.dumps(config)}
        write_safetensors(self.path(step), tensors, metadata)
        for old in self.steps()[: -self.keep]:
            self.path(old).unlink()
        return self.path(step)

    def restore(self, step: int, prompts: nn.Module, optimizer: AdamW) -> dict[str, object]:
        """Put the state after `step` steps back; returns the config of the run that wrote it.

        Raises:
            ValueError: if the file is damaged or belongs to another model.
        """
        path = self.path(step)
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
                metadata = file.metadata()
            saved = _under("prompts.", tensors)
            prompts.load_state_dict(saved)
        except (SafetensorError, RuntimeError) as error:
            raise ValueError(f"{path}: cannot resume from it ({error}); delete it to use an older one") from error
        for name, parameter in _trained(prompts).items():
            optimizer.state[parameter] = {
                moment: tensors[f"optimizer.{moment}.{name}"].to(parameter.device if moment != "step" else "cpu")
                for moment in _MOMENTS
            }
        config: dict[str, object] = json.loads(metadata["config"])
        return config


def _trained(prompts: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in prompts.named_parameters() if p.requires_grad}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
