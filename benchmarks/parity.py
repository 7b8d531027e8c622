"""Print the parity table: how far the package is from the published numbers, per case, precision and quantity.

    python benchmarks/parity.py                     the cases of the tests
    python benchmarks/parity.py --cases FOLDER      every .safetensors file there, in the same formats

Exits with 1 if an output is further than 1e-9 off in float64, a gradient (stored in float32) further than 1e-6, or if a
case cannot be read, unless it is of a family of towers that is refused on purpose: such a row says why.
"""

import argparse
import json
import sys
from pathlib import Path

import timing
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from parity_case import FOLDER, GOLDEN, checkpoint_error, checkpoints_of, load_case, measure_errors
from tower_case import META, tower_errors

COLUMNS = ("video_features", "text_features", "logits", "loss")
OUTPUT_LIMIT, GRADIENT_LIMIT = 1e-9, 1e-6
REFUSED = ("eva02_e", "mobileclip_b", "xlm_roberta")
"""Families of towers whose blocks are not built; see docs/backbones.md."""


def main() -> None:
    """Largest difference over largest expected value."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, default=FOLDER, help="folder with cases")
    timing.add_out(parser)
    options = parser.parse_args()
    files = sorted(options.cases.rglob("*.safetensors"))
    if not files:
        sys.exit(f"{options.cases}: no case (.safetensors) there; name a folder with some")
    found: dict[str, object] = {}
    passed = True
    print("| case | precision | video features | text features | logits | loss | gradients (stored in float32) |")
    print("|---|---|---|---|---|---|---|")
    for file in files:
        if file.name == GOLDEN and (file.parent / META).exists():
            passed &= print_tower(file.parent, found)
            continue
        if file.name == GOLDEN:
            for checkpoint in checkpoints_of(file):
                name = "/".join(checkpoint.relative_to(file.parents[1]).parts)
                try:
                    error = checkpoint_error(file, checkpoint)
                except ValueError as refused:
                    print(f"| {name} | not measured: {refused} | | | | | |")
                    passed = False
                    continue
                print(f"| {name} | float64 | | | {error:.0e} | | |")
                found[f"{name}, float64"] = {"logits": error}
                passed &= error <= OUTPUT_LIMIT
            continue
        if (file.parent / GOLDEN).exists():  # weights that belong to it
            continue
        for dtype in (torch.float32, torch.float64):
            try:
                errors_of = measure_errors(load_case(file, dtype))
            except ValueError as error:
                print(f"| {file.stem} | not measured: {error} | | | | | |")
                passed = False
                break
            outputs, gradients = errors_of.outputs, errors_of.gradients
            shown = [f"{outputs[name]:.0e}" if name in outputs else "" for name in COLUMNS]
            print(f"| {file.stem} | {str(dtype)[6:]} | {' | '.join(shown)} | {max(gradients.values()):.0e} |")
            found[f"{file.stem}, {str(dtype)[6:]}"] = {**outputs, "gradients": gradients}
            if dtype == torch.float64:
                passed &= max(outputs.values()) <= OUTPUT_LIMIT and max(gradients.values()) <= GRADIENT_LIMIT
    if options.out:
        timing.write_figures(options.out, {"threads": torch.get_num_threads()}, {"largest_relative_errors": found})
    sys.exit(0 if passed else 1)


def print_tower(folder: Path, found: dict[str, object]) -> bool:
    """A row of the table for each precision of an image-text tower; whether it is near enough, or refused rightly."""
    for dtype in (torch.float32, torch.float64):
        try:
            errors = tower_errors(folder, dtype)
        except ValueError as refused:
            print(f"| {folder.name} | refused: {refused} | | | | | |")
            return json.loads((folder / META).read_text())["family"] in REFUSED
        names = ("image_features", "text_features", "logits_per_image")
        print(f"| {folder.name} | {str(dtype)[6:]} | {' | '.join(f'{errors[name]:.0e}' for name in names)} | | |")
        found[f"{folder.name}, {str(dtype)[6:]}"] = errors
    return max(errors.values()) <= OUTPUT_LIMIT


if __name__ == "__main__":
    main()
