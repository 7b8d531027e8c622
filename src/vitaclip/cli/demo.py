"""`vitaclip demo`."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vitaclip.cli.command import Command
from vitaclip.cli.screen import TrainingBar, counting_bar, print_table, progress_bars, terminal
from vitaclip.miniature.demo import PAGE_FILE, DemoConfig, run_demo


@dataclass(frozen=True, kw_only=True)
class Demo(DemoConfig, Command):
    """Write small videos of moving shapes, test frozen CLIP on them, train the prompts, test again on trained classes
    and on classes never trained on, and draw a page with the results. Needs no network and no GPU. The data is
    synthetic.

    examples:
      vitaclip demo
      vitaclip demo --out demo1 --seed 1
    """

    def run(self) -> int:
        """Run the demo and say where the page is."""
        console = terminal()
        with progress_bars(console) as progress:
            bars = partial(counting_bar, progress), partial(TrainingBar, progress)
            results = run_demo(self.as_config(DemoConfig), *bars)
        rows = [(each["model"], each["classes"], f"{each['top1']:.1%}", f"{each['motion']:.1%}") for each in results]
        title = "Synthetic videos. Motion: with the appearance given, chance 12.5 %"
        print_table(console, title, ("", "classes", "top-1", "motion"), rows)
        console.print(f"the page: {(Path(self.out) / PAGE_FILE).resolve()}")
        console.print(f"the model: vitaclip predict VIDEO --model {self.out}/run/model")
        return 0
