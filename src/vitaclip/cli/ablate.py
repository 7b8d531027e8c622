"""`vitaclip ablate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vitaclip.ablate.ablation import RunResult, TestList, read_test_list, run_ablation, write_ablation
from vitaclip.ablate.variants import load_comparison
from vitaclip.cli.command import Command, argument
from vitaclip.cli.screen import counting_bar, progress_bars, terminal
from vitaclip.data.lists.sources import as_fraction
from vitaclip.training.config import TrainConfig

_SEEDS = 3


@dataclass(frozen=True, kw_only=True)
class Ablate(TrainConfig, Command):
    """Train and test variants of one config with several seeds, and write the table: mean and standard deviation, and
    which claims hold. Every run is an ordinary run folder, OUT/<variant>/seed<k>/. Give the same command again to go on
    after a stop: finished runs are kept. More seeds, variants or tests may be asked for later. OUT gets ablation.md and
    ablation.json, which has every value. Several runs at a time: start the command once for each seed, then for all.

    examples:
      vitaclip ablate own_videos --data.train train.csv --data.classes names.txt --data.val val.csv --out ablation
      vitaclip ablate mine.yaml --out ablation --variants full no_summary frozen --seeds 0 1
      vitaclip ablate mine.yaml --out ablation --tests trained=test.csv:names.txt novel=new.csv:new_names.txt
      vitaclip ablate mine.yaml --out ablation --variants_file my_variants.yaml
    """

    takes_recipe: ClassVar[bool] = True
    shown: ClassVar[tuple[str, ...]] = (
        *("config", "data.train", "data.val", "data.classes", "variants", "seeds", "tests", "optim.steps", "out"),
    )
    variants: tuple[str, ...] = argument((), nargs="+")
    """Some of the variants; without it all of the file."""
    variants_file: str = ""
    """YAML file of variants and claims (docs/ablation.md shows one). Empty: those of the package."""
    seeds: tuple[int, ...] = argument((), nargs="+")
    """Seeds of each variant; without it 3, from the config's seed on."""
    tests: tuple[str, ...] = argument((), nargs="+")
    """Lists to test on, each NAME=VIDEOS or NAME=VIDEOS:CLASSES, CLASSES being the candidates as --data.classes takes
    them; without it val=DATA.VAL. The claims of the package know `trained` and `novel`."""

    def run(self) -> int:
        """Run what is missing, print the table and write it."""
        config = self.as_config(TrainConfig)
        variants, claims = load_comparison(self.variants_file, self.variants)
        seeds = self.seeds or range(config.seed, config.seed + _SEEDS)
        if len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ValueError(f"--seeds {' '.join(map(str, seeds))}: give different numbers, 0 or more")
        tests = self._read_tests(config)
        with progress_bars(terminal(stderr=True)) as progress:
            advance = counting_bar(progress, "runs", sum(len(seeds) if variant.trains else 1 for variant in variants))

            def on_done(done: TrainConfig, result: RunResult, found: bool) -> None:
                name, told = next(iter(result.values.items()), ("no list that it can serve", {}))
                figures = ", ".join(f"{figure} {fraction:.1%}" for figure, fraction in told.items())
                variant, kept = Path(done.out).parent.name, ", was finished" if found else ""
                progress.console.print(f"{variant}, seed {done.seed}: {name} {figures}{kept}")
                advance(1)

            result = run_ablation(config, variants, list(seeds), tests, claims, on_done=on_done)
        page = write_ablation(config.out, result)
        for line in [*page.read_text(encoding="utf-8").splitlines(), f"the table: {page.resolve()}"]:
            terminal().print(line)
        return 0

    def _read_tests(self, config: TrainConfig) -> list[TestList]:
        if not self.tests and (not config.data.val or as_fraction(config.data.val)):
            raise ValueError("there is nothing to test on; give --tests NAME=VIDEOS:CLASSES, or videos as --data.val")
        tests = [read_test_list(text, config.data) for text in self.tests or [f"val={config.data.val}"]]
        names = [name for name, _ in tests]
        if len(set(names)) < len(names):
            raise ValueError(f"--tests: the names {', '.join(names)} are not all different")
        return tests
