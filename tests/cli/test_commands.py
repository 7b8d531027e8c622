"""The commands as a user types them, on real files."""

import json
import re
from pathlib import Path

import pytest

from small_world import NAMES, Refusal
from vitaclip.cli import main
from vitaclip.cli.main import build_parser
from vitaclip.cli.parser import normalize


def training(world: Path, out: Path, *options: str, config: str = "own_videos", steps: int = 3) -> list[str]:
    arguments = ["train", "--config", config, "--data.train", str(world / "videos"), "--out", str(out)]
    arguments += ["--model.backbone", str(world / "backbone"), "--data.workers", "0", "--optim.batch_size", "4"]
    return [*arguments, *(["--optim.steps", str(steps)] if steps else []), *options]


@pytest.fixture(scope="module")
def run_folder(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short training run, made by the command."""
    out = tmp_path_factory.mktemp("run")
    assert main(training(world, out)) == 0
    return out


def test_train_says_what_trains(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(training(world, tmp_path, steps=1)) == 0
    printed = capsys.readouterr().out
    rows = {line.split()[1]: line.split()[3] for line in printed.splitlines() if line.startswith("│")}
    parts = {kind: int(count.replace(",", "")) for kind, count in rows.items()}
    assert parts.pop("all") == sum(parts.values())
    assert (parts["global"], parts["learned_text"], parts["logit_scale"]) == (2 * 8 * 16, 8 * 12, 1)
    # Where there is no terminal, each logged step is a line.
    (line,) = (line for line in printed.splitlines() if line.startswith("step 1 of 1: loss "))
    assert all(word in line for word in ("top-1", "clips/s", "waiting for data", "memory"))


def test_train_takes_shots_epochs_and_early_stop(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], refusal: Refusal
) -> None:
    options = ["--data.val", "0.25", "--data.classes", "", "--data.shots", "2", "--seed", "1"]
    options += ["--optim.batch_size", "6", "--optim.epochs", "9", "--optim.learning_rate", "1e-9"]
    options += ["--validate_every", "1", "--early_stop_patience", "1"]
    arguments = training(world, tmp_path, *options, config="few_shot_vitb16_8f", steps=0)
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "stopped at step 2: no better val/top1 since step 1" in printed
    lines = printed.splitlines()
    assert f"training on {world}/videos: 6 videos of 3 classes, 2 of each" in lines
    share = "25 % of the training videos: 3 videos of 3 classes, 1 of each"
    assert f"validation on {share}" in lines
    assert "top-5" not in printed
    assert len((tmp_path / "train_list.csv").read_text().splitlines()) == 6
    assert "steps = 7 too" in refusal(*arguments, "--optim.steps", "7")


def test_train_and_eval_keep_features(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], refusal: Refusal
) -> None:
    cache = tmp_path / "cache"
    off = [argument for kind in ("local", "summary", "time") for argument in (f"--model.context.{kind}", "null")]
    options = [*off, "--data.feature_cache", str(cache)]
    assert "set model.context = {}" in refusal(*training(world, tmp_path / "refused", *options))
    options += ["--model.context.global", "null"]
    for name in ("first", "second"):
        assert main(training(world, tmp_path / name, *options)) == 0
        assert re.search("features +━+ 12/12", capsys.readouterr().out)
    prompts = [(tmp_path / name / "model" / "prompts.safetensors").read_bytes() for name in ("first", "second")]
    assert prompts[0] == prompts[1]
    evaluation = ["eval", str(world / "videos"), "--model", str(tmp_path / "first" / "model"), "--workers", "0"]
    results = [tmp_path / "kept.json", tmp_path / "plain.json"]
    assert main([*evaluation, "--data.feature_cache", str(cache), "--out", str(results[0])]) == 0
    assert len(list(cache.iterdir())) == 2  # the centre of each video, and the three views of a test
    assert main([*evaluation, "--out", str(results[1])]) == 0
    assert results[0].read_text() == results[1].read_text()


def test_predict_with_a_plain_backbone(world: Path, capsys: pytest.CaptureFixture[str], refusal: Refusal) -> None:
    video = str(world / "videos" / "jump_up" / "0.mp4")
    arguments = ["predict", video, "--backbone", str(world / "backbone")]
    assert main([*arguments, "--classes", "jump, run", "--template", "a photo of {}."]) == 0
    assert "jump" in capsys.readouterr().out
    assert "name the candidates with --classes" in refusal(*arguments)
    assert "use the backbone it was trained on" in refusal(*arguments, "--model", "miniature")


def test_eval_reports_supervised_and_zero_shot(
    run_folder: Path, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "result.json"
    arguments = ["eval", str(world / "videos"), "--model", str(run_folder / "model"), "--workers", "0"]
    assert main([*arguments, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    said = " ".join(printed.split())
    assert "never trained on: 0 of 3 candidates" in said
    assert "/backbone: ViT of 2 layers" in said
    assert "method: global prompts, local prompts, summary token, time embedding; frames joined by mean" in said
    result = json.loads(out.read_text())
    assert result["num_videos"] == 12
    assert set(result["class_accuracy"]) == set(NAMES)
    assert sum(map(sum, result["confusion"])) == 12
    assert result["class_names"] == list(NAMES)
    for label, name in enumerate(result["class_names"]):
        share = result["confusion"][label][label] / sum(result["confusion"][label])
        assert share == pytest.approx(result["class_accuracy"][name])
    assert (result["videos"], result["model"]) == (str(world / "videos"), str(run_folder / "model"))
    assert result["views"]["temporal"] == 3
    assert result["templates"] == []  # the learned context
    # A list with names that the model never saw.
    videos = sorted((world / "videos").rglob("*.mp4"))
    (tmp_path / "list.csv").write_text("".join(f"{path},{i % 2}\n" for i, path in enumerate(videos)))
    (tmp_path / "names.txt").write_text("stand\nrun\n")
    arguments = ["eval", str(tmp_path / "list.csv"), "--classes", str(tmp_path / "names.txt")]
    assert main([*arguments, "--model", str(run_folder / "model"), "--workers", "0"]) == 0
    assert "never trained on: 2 of 2 candidates" in " ".join(capsys.readouterr().out.split())


def test_eval_skips_or_refuses_missing_videos(
    run_folder: Path, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], opened: list[Path]
) -> None:
    out, good = tmp_path / "result.json", world / "videos" / "jump_up" / "0.mp4"
    gone = [f"gone{n}.mp4,0" for n in range(12)]
    (tmp_path / "list.csv").write_text("\n".join([*gone, f"{good},0"]))
    arguments = ["eval", str(tmp_path / "list.csv"), "--model", str(run_folder / "model"), "--workers", "0"]
    assert main([*arguments, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "1 of 13" in printed
    assert "skipped: list.csv:1: " in printed
    assert "skipped: ... and 2 more" in printed
    result = json.loads(out.read_text())
    assert result["num_videos"] == 1
    assert len(result["skipped"]) == 12
    assert all("does not exist" in line for line in result["skipped"])
    opened.clear()
    refused = (*arguments, "--data.on_error", "raise")
    assert main(refused) == 2
    assert "list.csv: 12 problems found" in capsys.readouterr().err
    assert opened == []


def test_config_lists_shows_and_checks(capsys: pytest.CaptureFixture[str], refusal: Refusal, tmp_path: Path) -> None:
    assert main(["list"]) == 0
    assert "own_videos" in capsys.readouterr().out
    assert main(["list", "recipes", "k400_vitb16_8f"]) == 0
    shown = capsys.readouterr().out
    (tmp_path / "mine.yaml").write_text(shown)
    assert main(["list", "recipes", str(tmp_path / "mine.yaml")]) == 0
    assert capsys.readouterr().out == shown
    (tmp_path / "wrong.yaml").write_text("optim: {lr: 3}")
    assert "OptimConfig has no field 'lr'" in refusal("list", "recipes", str(tmp_path / "wrong.yaml"))
    (tmp_path / "wrong.yaml").write_text("optim: {lr")
    assert "is not YAML" in refusal("list", "recipes", str(tmp_path / "wrong.yaml"))


@pytest.mark.parametrize(
    "command", [("list", "recipes"), ("train", "--config"), ("eval", "x.csv", "--views"), ("ablate",)]
)
def test_aliases_without_end_are_one_line(command: tuple[str, ...], refusal: Refusal, tmp_path: Path) -> None:
    lines = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 20)]
    (tmp_path / "bomb.yaml").write_text("\n".join(["a0: &a0 [x]", *lines]))
    assert "bomb.yaml: its aliases stand for more than" in refusal(*command, str(tmp_path / "bomb.yaml"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train",), "data.train is not set"),
        (("train", "--optim.batch_size", "0"), "OptimConfig.batch_size = 0: must be at least 1"),
        (("train", "--optim.step", "3"), "did you mean 'optim.steps'?"),
        (("train", "--config", "nothing"), "neither a file nor a recipe"),
        (("train", "--data.train", "/nowhere"), "/nowhere"),
        (("train", "--data.train", "TEST_VIDEOS", "--model.backbone", ""), "(model.backbone) is not set"),
        (("predict", "x.mp4", "--out", "x.txt"), "ends in .csv, .jsonl, .parquet"),
        (("predict", "x.mp4", "--top_k", "0"), "must be at least 1"),
        (("eval", "x.csv", "--model", "/nowhere"), "no such file or folder, and neither"),
        (("eval", "x.csv", "--model", "runs/nowhere"), "'runs/nowhere': no such file or folder, and neither"),
        (("demo", "--steps", "-1"), "Demo.steps = -1"),
        (("unknown",), "invalid choice"),
        (("list", "recipe"), "did you mean 'recipes'?"),
        (("data", "scna"), "did you mean 'scan'?"),
    ],
)
def test_mistakes_are_one_line_with_a_remedy(
    arguments: tuple[str, ...], message: str, refusal: Refusal, world: Path
) -> None:
    arguments = tuple(str(world / "videos") if word == "TEST_VIDEOS" else word for word in arguments)
    assert message in refusal(*arguments)


def test_missing_files_are_named(run_folder: Path, world: Path, refusal: Refusal) -> None:
    """One among others costs the status alone; without any other there is nothing to load a model for."""
    arguments = ("--model", str(run_folder / "model"), "--classes", "jump, run")
    there = str(world / "videos" / "jump_up" / "0.mp4")
    assert "nowhere.mp4 does not exist" in refusal("predict", "nowhere.mp4", there, *arguments, status=1)
    assert "nowhere.mp4: does not exist" in refusal("predict", "nowhere.mp4", "--model", "no_model")


def test_folder_of_unknown_names_says_the_candidates(
    world: Path, run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i, name in enumerate(("stand", "sit_down", "MovingLeft")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.mp4").write_bytes((world / "videos" / "jump_up" / f"{i}.mp4").read_bytes())
    arguments = ["eval", str(tmp_path), "--model", str(run_folder / "model"), "--workers", "0"]
    assert main([*arguments, "--predictions", str(tmp_path / "p.jsonl")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "never trained on: 2 of 3 candidates" in said
    assert "candidates are the folder's 3 classes, not the model's 3, which lack 'sit down', 'stand'" in said
    rows = map(json.loads, (tmp_path / "p.jsonl").read_text().splitlines())
    assert {row["class"] for row in rows} == {"moving left", "sit down", "stand"}


@pytest.mark.parametrize(("names", "message"), [("jump,jump", "same"), ("jump,,run", "blank"), ("Jump, jump", "same")])
def test_class_lists_are_checked(names: str, message: str, run_folder: Path, world: Path, refusal: Refusal) -> None:
    video = str(world / "videos" / "jump_up" / "0.mp4")
    assert message in refusal("predict", video, "--model", str(run_folder / "model"), "--classes", names)


@pytest.mark.parametrize("command", ["embed", "index"])
def test_commands_without_texts_take_no_template(command: str, refusal: Refusal) -> None:
    assert "template" in refusal(command, "clip.mp4", "--out", "new", "--template", "a {}")


def test_missing_arguments_are_named(refusal: Refusal) -> None:
    assert refusal("data", "prepare", "kinetics400", "--root", "x", "--out", "y") == (
        "the following arguments are required: annotations (see: vitaclip data prepare --help)"
    )
    assert refusal("predict").endswith("required: videos (see: vitaclip predict --help)")


@pytest.mark.parametrize("command", ["train", "eval", "predict", "explain", "ablate"])
def test_help_is_short_and_help_all_whole(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for option in ("--help", "--help-all"):
        with pytest.raises(SystemExit):
            main([command, option])
        texts.append(capsys.readouterr().out)
    short = texts[0]
    assert short.splitlines()[0] == "examples:"
    assert sum(line.startswith("  vitaclip ") for line in short.splitlines()[1:4]) == 2
    settings = [set(re.findall(r"^  (--[a-z_.]+)", text, re.MULTILINE)) for text in texts]
    assert len(settings[0]) <= 13
    assert settings[0] < settings[1]
    assert {"--views.temporal", "--runtime.precision", "--data.limits.frames"} <= settings[1]


@pytest.mark.parametrize("command", ["train", "eval", "predict", "explain", "ablate"])
def test_settings_are_spelled_alike_in_every_command(command: str) -> None:
    video = {"predict": ["x.mp4"], "explain": ["x.mp4"], "eval": ["x.csv"]}.get(command, [])
    given = [command, *video, "--data.time-limit-seconds", "3", "--classes", "a, b", "--workers=1"]
    given += ["--data.limits.frames=7", "--views.temporal", "2", "--runtime.precision", "float32"]
    parser = build_parser(command)
    parsed = parser.instantiate(parser.parse_args(normalize(given)))[command]
    data = parsed.data
    assert (data.time_limit_seconds, data.classes, data.workers, data.limits.frames) == (3, "a, b", 1, 7)
    assert (parsed.views.temporal, parsed.runtime.precision) == (2, "float32")
