"""What changed since the last measurement that is kept: ratios of times in bench/*.json beside those in last.json.

    python benchmarks/changes.py                    a row for each ratio that changed by more than a tenth
    python benchmarks/changes.py --write            keep these ratios as the last

A ratio is the median processor time of a way over that of the first way of its case, from the same run: other machines
and other programs change it less than they do seconds.
"""

import argparse
import json
import statistics
from pathlib import Path

LAST = Path(__file__).with_name("last.json")


def read_ratios(folder: Path) -> tuple[dict[str, float], str]:
    """Of all ways of all cases in a folder's files of times, by `script: case: way`; and the machine."""
    ratios, machine = {}, ""
    for file in sorted(folder.glob("*.json")):
        figures = json.loads(file.read_text("utf-8"))
        machine = figures.get("machine", machine)
        cases = {case: ways for case, ways in figures.get("seconds", {}).items() if isinstance(ways, dict)}
        for case, ways in cases.items():
            timed = {way: times["cpu"] for way, times in ways.items() if isinstance(times, dict) and "cpu" in times}
            medians = {way: statistics.median(times) for way, times in timed.items()}
            first = next(iter(medians), "")
            for way in [*medians][1:]:
                ratios[f"{file.stem}: {case}: {way} / {first}"] = medians[way] / medians[first]
    return ratios, machine


def main() -> None:
    """Print the table, or keep the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("bench"), help="with the files that the benchmarks wrote")
    parser.add_argument("--write", action="store_true", help="keep the ratios as last.json")
    options = parser.parse_args()
    ratios, machine = read_ratios(options.folder)
    if options.write:
        rounded = {name: round(ratio, 3) for name, ratio in ratios.items()}
        LAST.write_text(json.dumps({"machine": machine, "ratios": rounded}, indent=1) + "\n", "utf-8")
        return
    last = json.loads(LAST.read_text("utf-8")) if LAST.exists() else {"machine": "none", "ratios": {}}
    both = [name for name in ratios if name in last["ratios"]]
    changed = [name for name in both if not 0.9 < ratios[name] / last["ratios"][name] < 1.1]
    print(f"\nnow {machine}; then {last['machine']}: {len(changed)} of {len(both)} ratios changed by more than a tenth")
    print("\n| ratio of processor times | then | now | now / then |\n|---|---:|---:|---:|")
    for name in changed:
        then, now = last["ratios"][name], ratios[name]
        print(f"| {name} | {then:.2f} | {now:.2f} | {now / then:.2f} |")


if __name__ == "__main__":
    main()
