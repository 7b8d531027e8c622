"""`vitaclip demo`."""

from functools import partial
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from vitaclip.cli.parser import as_dataclass
from vitaclip.cli.screen import TrainingBar, counting_bar, print_table, progress_bars, terminal
from vitaclip.miniature.demo import PAGE_FILE, DemoConfig, run_demo

DESCRIPTION = """\
Write small videos of moving shapes, test frozen CLIP on them, train the prompts, test again on trained classes and on
classes never trained on, and draw a page with the results. Needs no network and no GPU. The data is synthetic.

examples:
  vitaclip demo
  vitaclip demo --out demo1 --seed 1"""


def add_arguments(parser: ArgumentParser) -> None:
    """Every field of the demo."""
    parser.add_class_arguments(DemoConfig)


def run(arguments: Namespace) -> int:
    """Run the demo and say where the page is."""
    config = as_dataclass(DemoConfig, arguments)
    console = terminal()
    with progress_bars(console) as progress:
        results = run_demo(config, partial(counting_bar, progress), partial(TrainingBar, progress))
    rows = [(each.model, each.classes, f"{each.top1:.1%}", f"{each.motion:.1%}") for each in results]
    title = "Synthetic videos. Motion: with the appearance given, chance 12.5 %"
    print_table(console, title, ("", "classes", "top-1", "motion"), rows)
    console.print(f"the page: {(Path(config.out) / PAGE_FILE).resolve()}", soft_wrap=True)
    console.print(f"the model: vitaclip predict VIDEO --model {config.out}/run/model", soft_wrap=True)
    return 0
