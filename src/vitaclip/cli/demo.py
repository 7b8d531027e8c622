"""`vitaclip demo`."""

from collections.abc import Callable
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.progress import Progress

from vitaclip.cli.parser import as_dataclass
from vitaclip.cli.screen import TrainingBar, counting_bar, print_table, progress_bars, terminal
from vitaclip.miniature.demo import DemoConfig, run_demo
from vitaclip.miniature.results import Stage

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
        result = run_demo(config, _Screen(progress))
    rows = [
        (name, *_shares(stage))
        for name, stage in (
            ("frozen CLIP", result.before),
            (f"after {result.steps} steps", result.after),
            ("shipped prompts", result.shipped),
        )
        if stage
    ]
    headings = ("", "trained top-1", "motion", "never-trained top-1", "motion")
    print_table(console, "Synthetic videos. Motion: with the appearance given, chance 12.5 %", headings, rows)
    console.print(f"the page: {(Path(config.out) / 'index.html').resolve()}", soft_wrap=True)
    console.print(f"the model: vitaclip predict VIDEO --model {config.out}/run/model", soft_wrap=True)
    return 0


def _shares(stage: Stage) -> tuple[str, ...]:
    splits = (stage.trained, stage.novel)
    return tuple(f"{share:.1%}" for split in splits for share in (split.top1, split.motion))


class _Screen:
    """Shows the demo's progress on the terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def start(self, what: str, total: int) -> Callable[[int], None]:
        """A bar for a part."""
        return counting_bar(self._progress, what, total)

    def training_logger(self, steps: int) -> TrainingBar:
        """A bar for the training."""
        return TrainingBar(self._progress, steps)
