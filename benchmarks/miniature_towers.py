"""Do Vita-CLIP's prompts teach motion on towers that are not CLIP's? Synthetic data.

    PYTHONPATH=tools python benchmarks/miniature_towers.py --out bench/towers --steps 900

Makes tiny towers of the SigLIP and of the PE-Core kind in OUT/backbones, if they are not there, which start from the
shipped CLIP; trains the default prompts on each of the three towers, tests them beside the frozen towers, and writes
a table (ablation.md, ablation.json) and its picture. What is finished is kept: for several processes at a time, start
it once with each tower, then with all.
"""

import argparse
import os
from pathlib import Path

# One thread, said before torch is imported: two processes with more would stall each other.
os.environ["OMP_NUM_THREADS"] = "1"

from miniature_world import add_world_options, describe, prepare_world, say

from miniature_clip import pretrain
from vitaclip.ablate.ablation import run_ablation, write_ablation
from vitaclip.ablate.variants import Variant
from vitaclip.miniature.demo import motion_accuracies

TOWERS = {"clip": "miniature", "siglip": "", "pe": ""}
"""The backbones that are there already, by the kind of their tower."""
RECIPE = (
    *("--start", "miniature", "--pool-size", "24000", "--word-steps", "600", "--steps", "500", "--batch-size", "64"),
    *("--groups", "4", "--group-size", "12", "--caption-count", "48", "--held-out", "1000"),
)
"""What suffices where the blocks come from the shipped CLIP."""


def find_tower(kind: str, folder: Path) -> str:
    """The backbone of a kind, which is trained if it is not there."""
    if not TOWERS[kind] and not (folder / kind / "model.safetensors").exists():
        pretrain.main(["--kind", kind, "--out", str(folder / kind), "--pool", str(folder / "stills"), *RECIPE])
    return TOWERS[kind] or str(folder / kind)


def main() -> None:
    """Make and run what is missing, and write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--towers", nargs="+", choices=TOWERS, default=[*TOWERS])
    add_world_options(parser)
    options = parser.parse_args()
    config, tests = prepare_world(options)
    variants = []
    for kind in options.towers:
        backbone = {"model.backbone": find_tower(kind, options.out / "backbones")}
        frozen = {**backbone, "model.context": {}, "model.head": "templates"}
        variants += [
            Variant(name=f"{kind}_frozen", about="as it is", trains=False, overrides=frozen),
            Variant(name=f"{kind}_prompts", about="all prompts of the recipe", overrides=backbone),
        ]
    result = run_ablation(config, variants, options.seeds, tests, figures=motion_accuracies, on_done=say)
    page = write_ablation(options.out, result, describe(options, config.optim.batch_size))
    print(page.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
