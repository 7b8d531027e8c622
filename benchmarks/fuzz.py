"""Reads thousands of damaged files in processes that may hang or die, and says what came of each.

python benchmarks/fuzz.py                         2000 files of all kinds of damage
python benchmarks/fuzz.py --count 200 --seed 1

Each file gives frames, the same alone and among others, or one line that names it. Files that exceed the time limit or
end their process are listed: in training they count as broken ones. Anything else is a fault of ours, listed too, as is
more than 300 MB of memory for a file; the exit status is then 1.
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

from damage import DAMAGES, MOST_BYTES, Damaged, Reading, read_all, write_damaged
from vitaclip.data.workers import Outcome

FATES = ("frames", "named error", "timed out", "died", "failed")


def print_table(fates: dict[str, Counter[str]], peaks: dict[str, list[int]]) -> None:
    """Kinds of damage, what came of them, and the most memory that a file took."""
    print(f"\n| damage | {' | '.join(FATES)} | memory, MB |\n|---|{'---:|' * (len(FATES) + 1)}")
    for damage in (*DAMAGES, "all"):
        kinds = DAMAGES if damage == "all" else [damage]
        counts = sum((fates[kind] for kind in kinds), Counter[str]())
        largest = max((peak for kind in kinds for peak in peaks[kind]), default=0)
        print(f"| {damage} | {' | '.join(str(counts[fate]) for fate in FATES)} | {largest / 1e6:.0f} |")


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
    peaks: dict[str, list[int]] = defaultdict(list)
    notable: list[tuple[Damaged, Outcome[Path, Reading]]] = []
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        files = list(write_damaged(options.folder or Path(temporary), options.count, options.seed))
        made = time.monotonic() - started
        for file, fate, outcome in read_all(files, options.processes, options.time_limit_seconds):
            fates[file.damage][fate] += 1
            if outcome.result is None:
                notable.append((file, outcome))
            else:
                peaks[file.damage].append(outcome.result.peak_bytes)
    print_table(fates, peaks)
    seconds = time.monotonic() - started
    spent = f"{seconds:.0f} s ({made:.0f} to make them), {options.processes} processes"
    print(f"\n{options.count} files, seed {options.seed}, {spent}")
    for file, outcome in notable:
        print(f"{outcome.ending}: {file.path.name} ({file.damage}): {outcome.problem}")
    within = max((peak for each in peaks.values() for peak in each), default=0) <= MOST_BYTES
    return 0 if within and not any(outcome.ending == "failed" for _, outcome in notable) else 1


if __name__ == "__main__":
    sys.exit(main())
