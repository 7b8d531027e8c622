"""Print the parity table: how far the package is from the published numbers, per case, precision and quantity."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from parity_case import CASES, load_case, measure_errors


def main() -> None:
    """Largest difference over largest expected value."""
    print("| case | precision | video features | text features | logits | loss | gradients (stored in float32) |")
    print("|---|---|---|---|---|---|---|")
    for name in CASES:
        for dtype in (torch.float32, torch.float64):
            errors = measure_errors(load_case(name, dtype))
            figures = [*errors.outputs.values(), max(errors.gradients.values())]
            print(f"| {name} | {str(dtype)[6:]} | {' | '.join(f'{figure:.0e}' for figure in figures)} |")


if __name__ == "__main__":
    main()
