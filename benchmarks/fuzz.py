"""Reads thousands of damaged files in processes that may hang or die, and says what came of each.

python benchmarks/fuzz.py                         2000 files of all kinds of damage
python benchmarks/fuzz.py --count 200 --seed 1

Each file gives frames, the same alone and among others, or one line that names it. Files that exceed the time limit or
end their process are listed: in training they count as broken ones. Anything else is a fault of ours, listed too; the
exit status is then 1.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from damage import DAMAGES, Damaged, read_all, write_damaged
from vitaclip.data.workers import Outcome

FATES = ("frames", "named error", "timed out", "died", "failed")


def print_table(fates: dict[str, Counter[str]]) -> None:
    """Kinds of damage and what came of them."""
    print(f"\n| damage | {' | '.join(FATES)} |\n|---|{'---:|' * len(FATES)}")
    for damage in (*DAMAGES, "all"):
        kinds = DAMAGES if damage == "all" else [damage]
        counts = sum((fates[kind] for kind in kinds), Counter[str]())
        print(f"| {damage} | {' | '.join(str(counts[fate]) for fate in FATES)} |")


def main() -> int:
    """Make, read, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--time_limit_seconds", type=float, default=30.0)
    parser.add_argument("--folder", type=Path, help="keep the files here")
    options = parser.parse_args()
    fates: dict[str, Counter[str]] = defaultdict(Counter)
    notable: list[tuple[Damaged, Outcome[Path, str]]] = []
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        files = list(write_damaged(options.folder or Path(temporary), options.count, options.seed))
        made = time.monotonic() - started
        for file, fate, outcome in read_all(files, options.processes, options.time_limit_seconds):
            fates[file.damage][fate] += 1
            if outcome.result is None:
                notable.append((file, outcome))
    print_table(fates)
    seconds = time.monotonic() - started
    spent = f"{seconds:.0f} s ({made:.0f} to make them), {options.processes} processes"
    print(f"\n{options.count} files, seed {options.seed}, {spent}")
    for file, outcome in notable:
        print(f"{outcome.ending}: {file.path.name} ({file.damage}): {outcome.problem}")
    return 1 if any(outcome.ending == "failed" for _, outcome in notable) else 0


if __name__ == "__main__":
    sys.exit(main())
