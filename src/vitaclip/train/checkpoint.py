"""Checkpoints: the prompts, their average and optimiser state, never the towers; one safetensors file a step."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim import AdamW

from vitaclip.files import one_line, write_safetensors
from vitaclip.train.average import PromptAverage

_PATTERN = re.compile(r"step_(\d{8})\.safetensors")
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True)
class CheckpointStore:
    """The checkpoints of one run folder; the newest `keep` stay, and the best."""

    folder: Path
    keep: int

    def path(self, step: int) -> Path:
        """Where the checkpoint taken after `step` steps lies."""
        return self.folder / f"step_{step:08d}.safetensors"

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, ascending."""
        found = [_PATTERN.fullmatch(file.name) for file in self.folder.glob("step_*.safetensors")]
        return sorted(int(match[1]) for match in found if match)

    def save(
        self,
        step: int,
        prompts: nn.Module,
        optimizer: AdamW,
        config: Mapping[str, object],
        average: PromptAverage | None = None,
        best_step: int | None = None,
    ) -> Path:
        """Write the state after `step` steps, atomically, then drop the oldest, but never that of `best_step`."""
        tensors = {f"prompts.{name}": tensor for name, tensor in prompts.state_dict().items()}
        for name, parameter in _trained(prompts).items():
            for moment, value in optimizer.state[parameter].items():
                tensors[f"optimizer.{moment}.{name}"] = value
        if average is not None:
            tensors |= {f"average.{name}": value for name, value in average.values.items()}
        metadata = {"step": str(step), "config": json.dumps(config)}
        write_safetensors(self.path(step), tensors, metadata)
        for old in self.steps()[: -self.keep]:
            if old != best_step:
                self.path(old).unlink()
        return self.path(step)

    def config(self, step: int) -> dict[str, object]:
        """The config of the run that wrote the checkpoint.

        Raises:
            ValueError: if the file is damaged.
        """
        with self._damage_named(step), safe_open(self.path(step), framework="pt") as file:
            config: dict[str, object] = json.loads(file.metadata()["config"])
        return config

    def restore(self, step: int, prompts: nn.Module, optimizer: AdamW, average: PromptAverage | None = None) -> None:
        """Put the state after `step` steps back.

        Raises:
            ValueError: if the file is damaged or belongs to another model.
        """
        with self._damage_named(step):
            tensors = load_file(self.path(step))
            prompts.load_state_dict(_under("prompts.", tensors))
            for name, parameter in _trained(prompts).items():
                optimizer.state[parameter] = {
                    moment: tensors[f"optimizer.{moment}.{name}"].to(parameter.device if moment != "step" else "cpu")
                    for moment in _MOMENTS
                }
                if average is not None:
                    average.values[name] = tensors[f"average.{name}"].to(parameter.device)

    @contextmanager
    def _damage_named(self, step: int) -> Iterator[None]:
        """Turn what a damaged file can raise into one line with the remedy."""
        try:
            yield
        except (SafetensorError, RuntimeError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"{self.path(step)}: damaged ({one_line(error)}); delete it to go on from an older one"
            ) from error


def _trained(prompts: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in prompts.named_parameters() if p.requires_grad}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
