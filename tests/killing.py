"""Runs that kill themselves at a chosen moment, as kill -9 would, and what two runs must have in common."""

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from vitaclip.data.config import AugmentConfig
from vitaclip.distributed import init_distributed
from vitaclip.evaluation.scoring import ViewEncoder
from vitaclip.settings import from_dict
from vitaclip.training.config import TrainConfig
from vitaclip.training.loggers import MEASURED, JSONLinesLogger
from vitaclip.training.trainer import StopRequest, Terminated, Trainer


def die() -> None:
    """End this process at once, with nothing flushed or closed."""
    os.kill(os.getpid(), signal.SIGKILL)


def ask(*_: Any, **__: Any) -> None:
    """Ask this process and its workers to end, as a cluster asks all processes of a job."""
    for process in (os.getpid(), *(child.pid for child in multiprocessing.active_children())):
        assert process is not None
        os.kill(process, signal.SIGTERM)


def before_call(owner: Any, name: str, number: int, act: Callable[..., None]) -> None:
    """Do something with the arguments of call `number` (from 1) of a function, before it."""
    function = getattr(owner, name)
    calls = 0

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            act(*arguments, **options)
        return function(*arguments, **options)

    setattr(owner, name, counted)


def write_half_a_checkpoint(tensors: dict[str, Tensor], filename: Path, metadata: dict[str, str]) -> None:
    content = save(tensors, metadata)
    filename.write_bytes(content[: len(content) // 2])
    die()


def write_half_a_line(logger: JSONLinesLogger, step: int, metrics: dict[str, float]) -> None:
    line = json.dumps({"step": step, **metrics})
    logger._file.write(line[: len(line) // 2])
    logger._file.flush()
    die()


MOMENTS: dict[str, Callable[[int], None]] = {
    "between micro-batches": lambda n: before_call(torch.nn.functional, "cross_entropy", n, lambda *_, **__: die()),
    "before an update": lambda n: before_call(torch.optim.AdamW, "step", n, lambda *_, **__: die()),
    "in a checkpoint": lambda n: before_call(safetensors.torch, "save_file", n, write_half_a_checkpoint),
    "before a checkpoint is renamed": lambda n: before_call(os, "fsync", n, lambda *_: die()),
    "in a line of metrics": lambda n: before_call(JSONLinesLogger, "log", n, write_half_a_line),
    "in a validation": lambda n: before_call(ViewEncoder, "encode", n, lambda *_: die()),
    "asked before an update": lambda n: before_call(torch.nn.functional, "cross_entropy", n, ask),
    "asked in a validation": lambda n: before_call(ViewEncoder, "encode", n, ask),
}
"""Each is given the number of the call at which the process dies, or is asked to end."""


def hard_case(config: TrainConfig, validation: str) -> TrainConfig:
    """The run with micro-batches, EVL's decoder and its dropout, every random change of clips, an average, worker
    processes and validation."""
    augment = AugmentConfig(crop_scale=(0.5, 1.0), flip=0.5, mixup=0.8, cutmix=1.0, randaugment="rand-m7-n4-mstd0.5")
    return replace(
        config,
        model=replace(config.model, pool={"name": "decode", "blocks": 2, "project": True, "dropout": 0.5}),
        data=replace(config.data, val=validation, augment=augment, workers=2),
        optim=replace(config.optim, micro_batch_size=2, ema_decay=0.9, max_gradient_norm=0.5),
        validate_every=3,
        checkpoint_every=2,
        log_every=1,
    )


def outcome(out: Path) -> dict[str, Any]:
    """All that a run leaves and that is not measured: prompts, last checkpoint, metrics."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    last = sorted((out / "checkpoints").glob("step_*.safetensors"))[-1]
    tensors = {f"model.{name}": t for name, t in load_file(out / "model" / "prompts.safetensors").items()}
    tensors |= {f"checkpoint.{name}": t for name, t in load_file(last).items()}
    return {
        "metrics": [{name: value for name, value in line.items() if name not in MEASURED} for line in lines],
        "tensors": {name: (t.dtype, tuple(t.shape), t.numpy().tobytes()) for name, t in tensors.items()},
        "last": last.name,
    }


def train(config: TrainConfig) -> int:
    """Train, connected to the other processes if there are any; the exit status."""
    with init_distributed() as dist, StopRequest() as asked_to_stop:
        try:
            trainer = Trainer(config, dist)
            trainer.should_stop = asked_to_stop
            trainer.fit()
        except Terminated:
            return asked_to_stop.exit_status
    return 0


def run(config_file: str, moment: str = "", number: str = "1", rank: str = "0") -> int:
    """Train; process `rank` is killed or asked to end at the moment, if one is given."""
    if moment and os.environ.get("RANK", "0") == rank:
        MOMENTS[moment](int(number))
    config = from_dict(TrainConfig, json.loads(Path(config_file).read_text()))
    return train(config)


if __name__ == "__main__":
    sys.exit(run(*sys.argv[1:]))
