"""`vitaclip train`."""

from jsonargparse import ArgumentParser, Namespace

from vitaclip.cli.parser import as_dataclass
from vitaclip.cli.screen import TrainingBar, print_table, progress_bars, terminal
from vitaclip.config import TrainConfig

HELP = "teach the prompts on your videos"
DESCRIPTION = """\
Train the prompts of a model. The run folder holds config.json, metrics.jsonl, tensorboard/, checkpoints/, the lists
of drawn and of bad videos if there were any, and the trained model in model/. Run the same command again to go on
after a stop.

examples:
  vitaclip train --config own_videos --data.train my_videos/           a folder per class
  vitaclip train --config mine.yaml --data.train train.csv --data.classes names.txt --data.val val.csv
  vitaclip train --config k400_vitb16_8f --data.root /data/k400 --optim.micro_batch_size 8
  vitaclip config                                                   the recipes that --config takes by name"""


def add_arguments(parser: ArgumentParser) -> None:
    """A recipe, and every field of the run."""
    parser.add_argument("--config", action="config", help="a recipe's name, or a YAML file")
    parser.add_class_arguments(TrainConfig)


def run(arguments: Namespace) -> int:
    """Say what trains, and train to the end."""
    from vitaclip.processes import connected
    from vitaclip.runtime import pick_device
    from vitaclip.train.build import build_trainer, train_and_save
    from vitaclip.train.stopping import EXIT_STATUS, Terminated, termination

    config = as_dataclass(TrainConfig, arguments)
    with connected(pick_device(config.runtime.device)) as processes, termination() as asked_to_stop:
        console = terminal(quiet=not processes.is_first)
        trainer = build_trainer(config, processes=processes, asked_to_stop=asked_to_stop)
        for warning in trainer.warnings:
            console.print(f"warning: {warning}", style="yellow", soft_wrap=True)
        counts = trainer.model.prompts.trained_counts()
        rows = [(kind, f"{count:,}") for kind, count in counts.items() if count]
        print_table(console, "", ["what trains", "parameters"], [*rows, ("all", f"{sum(counts.values()):,}")])
        try:
            with progress_bars(console) as progress:
                trainer.loggers += [TrainingBar(progress, trainer.steps)] * processes.is_first
                train_and_save(trainer)
        except Terminated:
            console.print(f"asked to stop: the state after step {trainer.step} is saved; the same command goes on")
            return EXIT_STATUS
    if trainer.validations.exhausted:
        best = trainer.validations.best_step
        console.print(f"stopped at step {trainer.step}: no better {config.early_stop_metric} since step {best}")
    console.print(f"the model is in {config.out}/model")
    console.print(f"use it: vitaclip predict VIDEO --model {config.out}/model")
    return 0
