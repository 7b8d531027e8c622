"""`vitaclip ablate`."""

import json
from pathlib import Path

import pytest

from small_world import Refusal
from vitaclip.cli import main
from vitaclip.cli.main import build_parser
from vitaclip.cli.parser import normalize


def command(world: Path, out: Path, *more: str) -> list[str]:
    settings = ["--model.backbone", str(world / "backbone"), "--data.train", str(world / "videos")]
    settings += ["--optim.steps", "1", "--optim.batch_size", "2", "--data.workers", "0", "--out", str(out)]
    return ["ablate", "--config", "own_videos", *settings, *more]


def test_ablate_prints_and_writes_the_table(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tests = ["--tests", f"novel={world / 'videos'}"]
    arguments = command(world, tmp_path, "--variants", "full", "frozen", "--seeds", "4", "5", *tests)
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert "full, seed 5: novel top1" in printed.err
    rows = [line.split("|")[1].strip() for line in printed.out.splitlines() if line.startswith("|")]
    assert rows[2:4] == ["full", "frozen"]
    assert "prompt training beats frozen CLIP on" in printed.out
    assert {file.name for file in tmp_path.glob("ablation.*")} == {"ablation.md", "ablation.png", "ablation.json"}
    assert main(arguments) == 0
    assert "full, seed 5" in (again := capsys.readouterr().err)
    assert again.count("was finished") == 3


def test_seeds_and_list_come_from_the_config(world: Path, tmp_path: Path) -> None:
    more = ["--variants", "no_time", "--seed", "7", "--data.val", str(world / "videos")]
    assert main(command(world, tmp_path, *more)) == 0
    content = json.loads((tmp_path / "ablation.json").read_text())
    assert content["seeds"] == [7, 8, 9]
    assert list(content["tests"]) == ["val"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "nothing to test on; give --tests NAME=VIDEOS:CLASSES, or videos as --data.val"),
        (["--tests", "a=VIDEOS", "a=VIDEOS"], "the names a, a are not all different"),
        (["--tests", "a=VIDEOS", "--seeds", "1", "1"], "--seeds 1 1: give different numbers"),
        (["--tests", "a=VIDEOS", "--variants", "fill"], "no variant 'fill' (did you mean 'full'?)"),
    ],
)
def test_mistakes_are_one_line(more: list[str], message: str, world: Path, tmp_path: Path, refusal: Refusal) -> None:
    given = [text.replace("VIDEOS", str(world / "videos")) for text in more]
    assert message in refusal(*command(world, tmp_path, *given))


def test_a_recipe_may_stand_first() -> None:
    given: tuple[list[str], ...] = (["own_videos"], ["--config", "own_videos"], [])
    for command in ("ablate", "train"):
        first, behind, without = (build_parser().parse_args(normalize([command, *each])) for each in given)
        assert first[command].model == behind[command].model != without[command].model
        with pytest.raises(ValueError, match="'own_video' is neither a file nor a recipe"):
            normalize([command, "own_video"])
