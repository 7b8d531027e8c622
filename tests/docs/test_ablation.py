"""The page on ablations: its variants are those of the package, and its file is one that loads."""

import re
from pathlib import Path

from vitaclip.ablate.variants import load_comparison
from vitaclip.config import TrainConfig

PAGE = (Path(__file__).parents[2] / "docs" / "ablation.md").read_text(encoding="utf-8")


def test_every_variant_is_named() -> None:
    table = PAGE.split("## Variants")[1].split("\n\n")[1]
    named = re.findall(r"`([a-z_]+)`", "".join(line.split("|")[1] for line in table.splitlines()))
    assert sorted(named) == sorted(variant.name for variant in load_comparison().variants)


def test_the_file_of_ones_own_loads(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(PAGE.split("```yaml\n")[1].split("```")[0])
    comparison = load_comparison(str(file))
    names = [variant.name for variant in comparison.variants if variant.config(TrainConfig())]
    assert names == ["full", "fine_tuning", "many_global", "many_global_slowly", "untrained"]
    assert comparison.claims[0].says == "more global prompts help"
