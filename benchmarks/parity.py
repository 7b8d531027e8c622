"""Print the parity table: how far the package is from the published numbers, per case, precision and quantity."""

import argparse
import sys
from pathlib import Path

import timing
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from parity_case import CASES, load_case, measure_errors


def main() -> None:
    """Largest difference over largest expected value."""
    parser = argparse.ArgumentParser(description=__doc__)
    timing.add_out(parser)
    options = parser.parse_args()
    found: dict[str, dict[str, object]] = {}
    print("| case | precision | video features | text features | logits | loss | gradients (stored in float32) |")
    print("|---|---|---|---|---|---|---|")
    for name in CASES:
        for dtype in (torch.float32, torch.float64):
            errors = measure_errors(load_case(name, dtype))
            figures = [*errors.outputs.values(), max(errors.gradients.values())]
            precision = str(dtype)[6:]
            print(f"| {name} | {precision} | {' | '.join(f'{figure:.0e}' for figure in figures)} |")
            found[f"{name}, {precision}"] = {**errors.outputs, "gradients": errors.gradients}
    if options.out:
        timing.write_figures(options.out, {"threads": torch.get_num_threads()}, {"largest_relative_errors": found})


if __name__ == "__main__":
    main()
