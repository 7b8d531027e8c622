"""Print the parity table: how far the package is from the published numbers, per case, precision and quantity.

    python benchmarks/parity.py                     the two cases of the tests
    python benchmarks/parity.py --cases FOLDER      every .safetensors file there, in the same formats

Exits with 1 if an output is further than 1e-9 off in float64, a gradient (stored in float32) further than 1e-6, or if a
case is of a method that is not built here.
"""

import argparse
import sys
from pathlib import Path

import timing
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from parity_case import FOLDER, load_case, measure_errors

OUTPUT_LIMIT, GRADIENT_LIMIT = 1e-9, 1e-6


def main() -> None:
    """Largest difference over largest expected value."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, default=FOLDER, help="folder with cases")
    timing.add_out(parser)
    options = parser.parse_args()
    files = sorted(options.cases.rglob("*.safetensors"))
    if not files:
        sys.exit(f"{options.cases}: no case (.safetensors) there; name a folder with some")
    found: dict[str, dict[str, object]] = {}
    passed = True
    print("| case | precision | video features | text features | logits | loss | gradients (stored in float32) |")
    print("|---|---|---|---|---|---|---|")
    for file in files:
        for dtype in (torch.float32, torch.float64):
            try:
                errors = measure_errors(load_case(file, dtype))
            except ValueError as error:
                print(f"| {file.stem} | not measured: {error} | | | | | |")
                passed = False
                break
            figures = [*errors.outputs.values(), max(errors.gradients.values())]
            precision = str(dtype)[6:]
            print(f"| {file.stem} | {precision} | {' | '.join(f'{figure:.0e}' for figure in figures)} |")
            found[f"{file.stem}, {precision}"] = {**errors.outputs, "gradients": errors.gradients}
            if dtype == torch.float64:
                passed &= max(figures[:-1]) <= OUTPUT_LIMIT and figures[-1] <= GRADIENT_LIMIT
    if options.out:
        timing.write_figures(options.out, {"threads": torch.get_num_threads()}, {"largest_relative_errors": found})
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
