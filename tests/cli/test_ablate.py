"""`vitaclip ablate`, and `vitaclip eval` between frozen CLIP and a model."""

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
    assert rows[2:7] == ["full", "full scores 0.25", "full scores 0.5", "full scores 0.75", "frozen"]
    assert "prompt training beats frozen CLIP on" in printed.out
    assert {file.name for file in tmp_path.glob("ablation.*")} == {"ablation.md", "ablation.json"}
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
        ([], "nothing to test on; give --tests NAME=VIDEOS:CLASSES, or --data.val"),
        (["--tests", "a=VIDEOS", "a=VIDEOS"], "the names a, a are not all different"),
        (["--tests", "a=VIDEOS", "--seeds", "1", "1"], "--seeds 1 1: give different numbers"),
        (["--tests", "a=VIDEOS", "--variants", "fill"], "no variant 'fill' (did you mean 'full'?)"),
    ],
)
def test_mistakes_are_one_line(more: list[str], message: str, world: Path, tmp_path: Path, refusal: Refusal) -> None:
    given = [text.replace("VIDEOS", str(world / "videos")) for text in more]
    assert message in refusal(*command(world, tmp_path, *given))


def test_eval_mixes_scores_and_says_so(
    world: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, report = tmp_path / "result.json", tmp_path / "report"
    arguments = ["eval", str(world / "videos"), "--model", str(model_folder), "--workers", "0", "--interpolate.space"]
    assert main([*arguments, "scores", "--interpolate.alpha", "0.25", "--out", str(out), "--report", str(report)]) == 0
    said = "probabilities: 0.25 x the model + 0.75 x frozen CLIP"
    assert f"interpolation: {said}" in capsys.readouterr().out
    content = json.loads(out.read_text())
    assert content["interpolation"] == {"space": "scores", "alpha": 0.25, "backbone": ""}
    assert json.loads((report / "result.json").read_text())["about"]["interpolation"] == said
    assert main([*arguments, "weights"]) == 2
    assert "--interpolate.space scores" in capsys.readouterr().err


def test_a_protocol_at_alpha_1_is_the_model(
    world: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    videos = [f"{name}/{n}.mp4,{name.replace('_', ' ')}" for name in ("jump_up", "moving_left") for n in range(4)]
    lists = tmp_path / "lists"
    lists.mkdir()
    lines = [f"{world / 'videos'}/{line}" for line in videos]
    (lists / "test.csv").write_text("\n".join(lines))
    protocol = tmp_path / "mine.yaml"
    protocol.write_text("classes: [jump up, moving left]\nparts: {test: {lists: [test.csv]}}")
    arguments = ["eval", "--protocol", str(protocol), "--root", str(lists), "--workers", "0"]
    mixed = ["--model", str(model_folder), "--interpolate.space", "scores", "--interpolate.alpha"]
    results = {}
    for name, more in {"model": mixed[:2], "at 1": [*mixed, "1"], "at 0": [*mixed, "0"]}.items():
        out = tmp_path / f"{name}.json"
        assert main([*arguments, *more, "--out", str(out)]) == 0
        results[name] = json.loads(out.read_text())
    assert "interpolation: probabilities: 0 x the model + 1 x frozen CLIP" in capsys.readouterr().out
    assert results["at 1"]["parts"] == results["model"]["parts"]
    assert results["at 0"]["interpolation"] == {"space": "scores", "alpha": 0.0, "backbone": ""}


def test_a_recipe_may_stand_first() -> None:
    given: tuple[list[str], ...] = (["own_videos"], ["--config", "own_videos"], [])
    for command in ("ablate", "train"):
        first, behind, without = (build_parser().parse_args(normalize([command, *each])) for each in given)
        assert first[command].model == behind[command].model != without[command].model
        with pytest.raises(ValueError, match="'own_video' is neither a file nor a recipe"):
            normalize([command, "own_video"])
