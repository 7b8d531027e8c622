"""`vitaclip train`."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from rich.console import Console

from vitaclip.cli.command import Command
from vitaclip.cli.screen import TrainingBar, counting_bar, print_table, progress_bars, terminal
from vitaclip.data.lists.sources import as_fraction
from vitaclip.distributed import DistEnv, init_distributed
from vitaclip.runtime import keep_freed_memory
from vitaclip.strings import counted
from vitaclip.training.config import TrainConfig
from vitaclip.training.run_dir import BAD_VIDEOS_FILE
from vitaclip.training.trainer import StopRequest, Terminated, Trainer


@dataclass(frozen=True, kw_only=True)
class Train(TrainConfig, Command):
    """Train the prompts of a model. The run folder holds config.json, metrics.jsonl, tensorboard/, checkpoints/, the
    lists of drawn and of bad videos if there were any, and the trained model in model/. Run the same command again to
    go on after a stop; more --optim.steps make a finished run longer. Ctrl-C and SIGTERM save the state after the
    current step, a second Ctrl-C ends at once.
    Several GPUs: torchrun --standalone --nproc-per-node 8 -m vitaclip train ...

    examples:
      vitaclip train --config own_videos --data.train my_videos/           a folder per class
      vitaclip train --config mine.yaml --data.train train.csv --data.classes names.txt --data.val val.csv
      vitaclip train --config k400_vitb16_8f --data.root /data/k400 --optim.micro_batch_size 8
      vitaclip train --config coop_vitb16 --data.train my_videos/          the text alone; videos are embedded once
      vitaclip list recipes                                             the recipes that --config takes by name
    """

    takes_recipe: ClassVar[bool] = True
    shown: ClassVar[tuple[str, ...]] = (
        *("config", "data.train", "data.val", "data.classes", "model.backbone", "runtime.device", "out"),
        *("optim.steps", "optim.batch_size", "optim.learning_rate"),
    )

    def run(self) -> int:
        """Print what trains, and train to the end."""
        keep_freed_memory()
        with init_distributed() as dist, StopRequest() as stop:
            return _train(self.as_config(TrainConfig), dist, stop, terminal(quiet=not dist.is_rank0))


def _train(config: TrainConfig, dist: DistEnv, stop: StopRequest, console: Console) -> int:
    try:
        with progress_bars(console) as progress:
            trainer = Trainer(config, dist)
            trainer.should_stop, trainer.on_auto_batch = stop, console.print
            trainer.on_features = partial(counting_bar, progress, "features")
            console.print(f"training on {config.data.train}: {trainer.videos.summary()}")
            if trainer.val_videos:
                share = as_fraction(config.data.val)
                held_out = f"{100 * share:.3g} % of the training videos" if share else config.data.val
                console.print(f"validation on {held_out}: {trainer.val_videos.summary()}")
            for warning in trainer.warnings:
                console.print(f"warning: {warning}", style="yellow")
            counts = {kind: count for kind, count in trainer.model.trained_counts().items() if count}
            counts["all"] = sum(counts.values())
            rows = [(kind, f"{count:,}") for kind, count in counts.items()]
            print_table(console, "", ["what trains", "parameters"], rows)
            if trainer.step:
                finished = "was finished" if trainer.step == trainer.total_steps else "goes on"
                console.print(f"{config.out}: {finished} at step {trainer.step} of {trainer.total_steps}")
            if dist.is_rank0:
                top5 = len(trainer.videos.class_names) > 5
                bar = TrainingBar(progress, trainer.total_steps, trainer.step, top5=top5)
                trainer.loggers.append(bar)
            trainer.fit()
            if trainer.bad_videos:
                bad = f"{counted(len(trainer.bad_videos), 'video')} that could not be read"
                console.print(
                    f"warning: {bad}: left out or replaced by others, see {trainer.run_dir.path / BAD_VIDEOS_FILE}",
                    style="yellow",
                )
    except Terminated:
        console.print(f"asked to stop after step {trainer.step}: what was done is saved; the same command goes on")
        return stop.exit_status
    if trainer.early_stopping.should_stop:
        best = trainer.early_stopping.best_step
        console.print(f"stopped at step {trainer.step}: no better {config.early_stop_metric} since step {best}")
    console.print(f"use it: vitaclip predict VIDEO --model {config.out}")
    console.print(f"take it along, backbone and all: vitaclip convert {config.out} FOLDER")
    return 0
