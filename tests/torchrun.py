"""Runs on several processes of this machine: by the launcher, or as copies of this process, which are there at once."""

import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

LAUNCHER = (sys.executable, "-m", "torch.distributed.run", "--standalone")


def fork(run: Callable[[], object], **environment: object) -> int:
    """Start a copy of this process that calls a function, and exits with what it returns; its process id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        signal.alarm(120)
        os.environ.update({name: str(value) for name, value in environment.items()})
        returned = run()
        status = returned if isinstance(returned, int) else 0
    except SystemExit as error:
        status = int(error.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def status_of(child: int) -> int:
    """How a child process ended, as a shell would say, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run_on_ranks(run: Callable[[], object], count: int = 2) -> list[int]:
    """Call a function on so many ranks of one run; their exit statuses. Workers must be copies too (`forked_workers`),
    because a copy of this process cannot use its server of workers."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": count, "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    children = [fork(run, RANK=rank, LOCAL_RANK=rank, **shared) for rank in range(count)]
    return [status_of(child) for child in children]


def launch(run: Callable[[], int], count: int = 2) -> int:
    """The same by torch's launcher, whose ranks are copies too; the worst exit status. It takes over signals, and so
    runs in a copy by itself."""
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(1, 1, count, run_id="test", rdzv_endpoint="localhost:0", rdzv_backend="c10d")
    config.start_method, config.monitor_interval = "fork", 0.05
    return status_of(fork(lambda: max(elastic_launch(config, run)().values())))


def train_in_float64(config_file: str) -> None:
    """Train the run of a config file in float64 from the start, where sums differ by rounding alone.

    How many numbers train, and how many travelled in each sum over processes, goes to `OUT/sums_RANK.json`.
    """
    import torch.distributed as dist

    from vitaclip.distributed import init_distributed
    from vitaclip.settings import from_dict
    from vitaclip.training.config import TrainConfig
    from vitaclip.training.optim import EMA
    from vitaclip.training.trainer import Trainer

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
