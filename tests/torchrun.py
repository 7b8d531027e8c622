"""Runs on several processes of this machine, and the program that each of them runs in float64."""

import json
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

LAUNCHER = (sys.executable, "-m", "torch.distributed.run", "--standalone")


def launch(processes: int, *program: str, timeout_seconds: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a program (`-m MODULE ...` or `FILE ...`) on so many processes to its end."""
    command = [*LAUNCHER, f"--nproc-per-node={processes}", *program]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_seconds, check=False)


def train_in_float64(config_file: str) -> None:
    """Train the run of a config file in float64 from the start, where sums differ by rounding alone.

    How many numbers train, and how many travelled in each sum over processes, goes to `OUT/sums_RANK.json`.
    """
    import torch.distributed as dist

    from vitaclip.distributed import init_distributed
    from vitaclip.settings import from_dict
    from vitaclip.train.config import TrainConfig
    from vitaclip.train.optim import EMA
    from vitaclip.train.trainer import Trainer

    config = from_dict(TrainConfig, json.loads(Path(config_file).read_text()))
    with init_distributed() as processes:
        trainer = Trainer(config, processes)
        trainer.model.double()
        if trainer.ema is not None:
            parameters = trainer.model.trainable_parameters()
            trainer.ema = EMA(parameters, config.optim.ema_decay)
        with patch.object(dist, "all_reduce", wraps=dist.all_reduce) as all_reduce:
            trainer.fit()
        sums = [call.args[0].numel() for call in all_reduce.call_args_list]
        trained = sum(trainer.model.trained_counts().values())
        (Path(config.out) / f"sums_{processes.rank}.json").write_text(json.dumps({"trained": trained, "sums": sums}))


if __name__ == "__main__":
    train_in_float64(sys.argv[1])
