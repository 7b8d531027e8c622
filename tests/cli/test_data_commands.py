"""`vitaclip data`, and the catalogue behind `--classes` and `--template`."""

import json
from pathlib import Path

import pytest

from small_world import Refusal
from vitaclip.catalog import dataset_names, load_dataset_classes
from vitaclip.cli import main
from vitaclip.data.lists.sources import read_class_names


@pytest.mark.parametrize("dataset", dataset_names())
def test_printed_classes_are_a_class_file(dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind, expected in (("classes", "names"), ("prompts", "prompts")):
        assert main(["list", kind, dataset]) == 0
        (tmp_path / "names.txt").write_text(capsys.readouterr().out, "utf-8")
        assert read_class_names(tmp_path / "names.txt") == getattr(load_dataset_classes(dataset), expected)


def test_classes_in_their_wording_and_variants(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "prompts", "ucf101"]) == 0
    assert capsys.readouterr().out.splitlines()[35] == "hammer throw"
    assert main(["list", "classes", "hmdb51@vificlip_csv"]) == 0
    assert capsys.readouterr().out.splitlines()[20] == "kick_ball"


def test_data_sets_and_templates_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "classes"]) == 0
    listed = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert [entry for entry in listed if "@" not in entry[0]] == [
        [name, str(len(load_dataset_classes(name).names))] for name in dataset_names()
    ]
    assert "hmdb51@vificlip_csv:" in [entry[0] for entry in listed]
    assert main(["list", "templates"]) == 0
    assert "clip48            48" in capsys.readouterr().out
    assert main(["list", "templates", "clip28"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "a photo of a person {}."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("data",), "prepare,scan,resize"),
        (("data", "clases"), "invalid choice: 'clases'"),
        (("list", "classes", "kinetic400"), "did you mean 'kinetics400'?"),
        (("list", "classes", "ucf101@x"), "no variant of ucf101; there is open"),
        (("list", "prompt", "ucf101"), "invalid choice: 'prompt'"),
        (("list", "templates", "clip"), "no set of templates"),
        (("eval", "x.csv", "--template", "clip"), "'clip' is no set of templates"),
        (("eval", "x.csv", "--template", "a video"), "a text needs {} where the class name goes"),
        (("eval", "x.csv", "--template", "{} is {}"), "template '{} is {}' must hold {} exactly once"),
        (("eval", "--protocol", "ucf101_zeroshot", "--root", ".", "--template", "{} {}"), "must hold {} exactly once"),
        (("eval", "x.csv", "--classes", "kinetics40"), "did you mean 'kinetics400'?"),
        (("train", "--data.train", "x.csv", "--data.classes", "ucf10"), "did you mean 'ucf101'?"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], message: str, refusal: Refusal) -> None:
    error = refusal(*arguments)
    assert message in error
    assert "\n" not in error


@pytest.fixture
def ucf_folder(world: Path, tmp_path: Path) -> Path:
    """UCF101 as it lies on disk, two classes of it."""
    for i, name in enumerate(("ApplyEyeMakeup", "HandstandPushups")):
        (tmp_path / "UCF-101" / name).mkdir(parents=True)
        video = (world / "videos" / "jump_up" / f"{i}.mp4").read_bytes()
        (tmp_path / "UCF-101" / name / f"v_{name}_g01_c01.mp4").write_bytes(video)
    return tmp_path / "UCF-101"


def test_eval_joins_ucf101_folders_to_the_wording(world: Path, ucf_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    arguments = ["eval", str(ucf_folder), "--backbone", str(world / "backbone"), "--workers", "0", "--out", str(out)]
    assert main([*arguments, "--classes", "ucf101", "--template", "clip28"]) == 0
    result = json.loads(out.read_text("utf-8"))
    assert (result["num_videos"], result["num_classes"]) == (2, 101)
    assert set(result["class_accuracy"]) == {"apply eye makeup", "handstand pushups"}


def test_model_trained_on_wording_knows_folders(
    world: Path, ucf_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "result.json"
    training = ["train", "--config", "own_videos", "--data.train", str(ucf_folder), "--data.classes", "ucf101"]
    training += ["--data.val", str(ucf_folder), "--model.backbone", str(world / "backbone"), "--data.workers", "0"]
    assert main([*training, "--optim.steps", "1", "--optim.batch_size", "2", "--out", str(run)]) == 0
    capsys.readouterr()
    arguments = ["eval", str(ucf_folder), "--model", str(run / "model"), "--workers", "0", "--out", str(out)]
    assert main(arguments) == 0
    assert "never trained on: 0 of 101 candidates" in " ".join(capsys.readouterr().out.split())
    assert set(json.loads(out.read_text("utf-8"))["class_accuracy"]) == {"apply eye makeup", "handstand pushups"}


def test_predict_takes_classes_and_templates_by_name(
    world: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    video = str(world / "videos" / "jump_up" / "0.mp4")
    arguments = ["predict", video, "--backbone", str(world / "backbone"), "--classes", "hmdb51", "--top_k", "51"]
    assert main([*arguments, "--template", "vificlip", "--template", "{}"]) == 0
    assert "brush hair" in capsys.readouterr().out
    (tmp_path / "hmdb51").write_text("jump\nrun\n", "utf-8")  # a file goes first
    assert main([*arguments, "--template", "vificlip"]) == 0
    assert "brush hair" not in capsys.readouterr().out
