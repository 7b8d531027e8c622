"""What commands write: nothing of others is lost, what is done is kept, and no figure is NaN."""

import csv
import io
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import torchrun
from small_world import NAMES, Refusal
from vitaclip.cli import main
from vitaclip.data.config import DataConfig, ViewsConfig
from vitaclip.data.lists.sources import read_folder
from vitaclip.data.reading.decode import open_video
from vitaclip.evaluation.evaluation import Evaluator
from vitaclip.model import VideoModel
from vitaclip.predictor import Prediction, Predictor
from vitaclip.runtime import RuntimeConfig
from vitaclip.training.checkpoint import CheckpointStore


@pytest.mark.parametrize("command", ["predict", "eval", "explain"])
def test_scores_that_are_no_numbers_are_an_error(
    command: str, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = VideoModel.encode_features

    def overflow(self: VideoModel, *given: Any, **options: Any) -> torch.Tensor:
        return encode(self, *given, **options) * float("nan")

    monkeypatch.setattr(VideoModel, "encode_features", overflow)
    out = {"predict": "out.csv", "eval": "out.json", "explain": "out"}[command]
    videos = world / "videos" if command == "eval" else world / "videos" / "jump_up" / "0.mp4"
    arguments = [command, str(videos), "--backbone", str(world / "backbone"), "--classes", ", ".join(NAMES)]
    assert main([*arguments, "--out", str(tmp_path / out)]) == 2
    printed = capsys.readouterr()
    assert "scores are not finite numbers" in printed.err
    assert "nan" not in printed.out
    assert not any("nan" in file.read_text().lower() for file in tmp_path.rglob("*") if file.is_file())


def test_damaged_frames_are_said_and_counted(
    world: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "videos" / "jump_up" / "clip"
    folder.mkdir(parents=True)
    with open_video(world / "videos" / "jump_up" / "0.mp4") as video:
        for number, frame in enumerate(video.frames(range(video.num_frames)).permute(0, 2, 3, 1).numpy()):
            Image.fromarray(frame).save(folder / f"{number}.png")
    for picture in sorted(folder.iterdir())[::2]:
        picture.write_bytes(picture.read_bytes()[:200])
    options = ["--model", str(model_folder), "--workers", "0"]
    assert main(["predict", str(folder.parent), *options, "--out", str(tmp_path / "out.csv")]) == 0
    printed = capsys.readouterr()
    assert "1 video, 1 of them with damaged frames" in printed.out
    assert re.search(r"clip: \d+ frames? cannot be decoded, the nearest good ones stand in", printed.err)
    (row,) = csv.DictReader((tmp_path / "out.csv").open())
    assert "cannot be decoded" in row["note"]
    assert not row["error"]
    (tmp_path / "list.csv").write_text(f"{folder},{NAMES[0]}\n")
    assert main(["eval", str(tmp_path / "list.csv"), *options]) == 0
    assert re.search(r"1 video with damaged frames:\s+\S*clip: \d+ frames?", capsys.readouterr().out)


def test_output_that_is_an_input_is_refused(world: Path, model_folder: Path, tmp_path: Path, refusal: Refusal) -> None:
    listed, names = tmp_path / "list.csv", tmp_path / "names.csv"
    listed.write_text(f"{world / 'videos' / 'jump_up' / '0.mp4'},0\n")
    names.write_text("".join(f"{name}\n" for name in NAMES))
    video = world / "videos" / "jump_up" / "0.mp4"
    for arguments in (
        ("eval", listed, "--model", model_folder, "--predictions", listed),
        ("eval", listed, "--model", model_folder, "--classes", names, "--out", names),
        ("predict", video, "--model", model_folder, "--classes", names, "--out", names),
        ("data", "scan", shutil.copy(listed, tmp_path / "clean.csv"), "--out", tmp_path),
        ("convert", model_folder, model_folder),
    ):
        assert "is read by this command and would be written over" in refusal(*arguments)
    assert listed.read_text().endswith("0.mp4,0\n")
    assert names.read_text().splitlines() == list(NAMES)


@pytest.mark.parametrize(
    ("command", "option", "name", "message"),
    [
        ("eval", "--report", "index.html", "was not written by vitaclip and would be lost"),
        ("eval", "--report", "result.json", "was not written by vitaclip and would be lost"),
        ("eval", "--predictions", "p.csv", "is there already and would be written over"),
        ("eval", "--out", "r.json", "is there already and would be written over"),
        ("eval", "--save_calibration", "c.json", "is there already and would be written over"),
        ("embed", "--out", "v.npz", "is there already and would be written over"),
        ("moments", "--out", "m.csv", "is there already and would be written over"),
        ("convert", "", "README.md", "was not written by vitaclip and would be lost"),
        ("convert", "", "config.json", "was not written by vitaclip and would be lost"),
        ("explain", "--out", "0.json", "was not written by vitaclip and would be lost"),
        ("explain", "--out", "0.png", "was not written by vitaclip and would be lost"),
        ("moments", "--clips", "0_001_mine.mp4", "is there already and would be written over"),
        ("moments", "--report", "index.html", "was not written by vitaclip and would be lost"),
    ],
)
def test_foreign_file_is_refused_before_the_work(
    command: str,
    option: str,
    name: str,
    message: str,
    world: Path,
    model_folder: Path,
    tmp_path: Path,
    refusal: Refusal,
    opened: list[Path],
) -> None:
    (tmp_path / name).write_text('{"mine": 1}')
    video = world / "videos" / "jump_up" / "0.mp4"
    given = {"eval": (world / "videos", "--model"), "convert": ()}.get(command, (video, "--model"))
    place = tmp_path / name if "written over" in message and option != "--clips" else tmp_path
    assert message in refusal(command, *given, model_folder, *filter(None, [option]), place)
    assert (tmp_path / name).read_text() == '{"mine": 1}'
    assert opened == []


def test_convert_refuses_a_folder_of_other_things(world: Path, model_folder: Path, refusal: Refusal) -> None:
    said = refusal("convert", model_folder, world / "videos")
    assert "videos: holds other things; name a new or empty folder" in said


def test_own_files_are_written_over(world: Path, model_folder: Path, tmp_path: Path) -> None:
    video, out = str(world / "videos" / "jump_up" / "0.mp4"), str(tmp_path / "out")
    quick = ["--model", str(model_folder), "--views.temporal", "1"]
    for _ in range(2):
        assert main(["convert", str(model_folder), str(tmp_path / "converted")]) == 0
        assert main(["convert", str(world / "backbone"), str(tmp_path / "plain")]) == 0
        assert main(["explain", video, *quick, "--out", out]) == 0
        assert main(["eval", str(world / "videos"), *quick, "--report", out, "--workers", "0"]) == 0


def test_run_folder_with_foreign_config_is_refused(world: Path, tmp_path: Path, refusal: Refusal) -> None:
    (tmp_path / "config.json").write_text("{}")
    arguments = ("train", "--config", "own_videos", "--data.train", world / "videos", "--data.workers", "0")
    assert "was not written by vitaclip" in refusal(
        *arguments, "--model.backbone", world / "backbone", "--out", tmp_path
    )
    assert (tmp_path / "config.json").read_text() == "{}"


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_predictions_are_a_row_a_video(suffix: str, world: Path, model_folder: Path, tmp_path: Path) -> None:
    bad, out = tmp_path / "=bad.mp4", tmp_path / f"out.{suffix}"
    bad.write_text("no video")
    videos = [world / "videos" / "jump_up" / "0.mp4", bad, world / "videos" / "moving_left" / "0.mp4"]
    runtime = ("--runtime.device", "cpu", "--runtime.precision", "float32")
    assert (
        main(["predict", *map(str, videos), "--model", str(model_folder), *runtime, "--out", str(out), "--top_k", "2"])
        == 1
    )
    rows = read_rows(out)
    assert [row["path"] for row in rows] == list(map(str, videos))
    assert "cannot be read as a video" in rows[1]["error"]
    assert {(row["device"], row["precision"]) for row in rows} == {("cpu", "float32")}
    data, config = DataConfig(workers=0), RuntimeConfig(device="cpu", precision="float32")
    listed = read_folder(world / "videos").samples
    expected = (
        Evaluator(VideoModel.from_pretrained(model_folder), config, data).run(listed, NAMES, ViewsConfig()).scores
    )
    for row in (rows[0], rows[2]):
        place = next(n for n, each in enumerate(listed) if str(each.path) == row["path"])
        best = expected.probabilities[place].topk(2)
        assert [row["name1"], row["name2"]] == [NAMES[k] for k in best.indices.tolist()]
        assert [float(row[f"probability{n}"]) for n in (1, 2)] == pytest.approx(best.values.tolist(), abs=1e-6)


def read_rows(file: Path) -> list[dict[str, str]]:
    """By each format's own library."""
    if file.suffix == ".jsonl":
        return [json.loads(line) for line in file.read_text().splitlines()]
    if file.suffix == ".parquet":
        import pyarrow.parquet

        return list(pyarrow.parquet.read_table(file).to_pylist())
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


@pytest.mark.filterwarnings("default:.*is begun anew")
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_interrupted_predictions_go_on(
    suffix: str,
    world: Path,
    model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    predict_many, asked = Predictor.predict_many, list[int]()

    def interrupted(self: Predictor, videos: Sequence[Path], *more: Any) -> Iterator[Prediction]:
        asked.append(len(videos))
        yield from islice(predict_many(self, videos, *more), 5 if len(asked) == 1 else None)
        if len(asked) == 1:
            raise KeyboardInterrupt

    out, whole = tmp_path / f"out.{suffix}", tmp_path / f"whole.{suffix}"
    arguments = ["predict", str(world / "videos"), "--model", str(model_folder), "--workers", "0", "--out"]
    assert main([*arguments, str(whole)]) == 0
    assert f"12 videos; the rows are in {whole}" in capsys.readouterr().out
    monkeypatch.setattr(Predictor, "predict_many", interrupted)
    assert main([*arguments, str(out)]) == 130
    assert "5 videos; the rows are in" in (said := capsys.readouterr().out)
    assert "7 are left, the same command goes on" in said
    assert read_rows(out) == read_rows(whole)[:5]
    if suffix == "jsonl":
        shutil.copy(tmp_path / f".{out.name}.settings", tmp_path / ".cut.jsonl.settings")
        (tmp_path / "cut.jsonl").write_text('{"path": "a')  # as much as a power cut may leave of the first row
        assert main([*arguments, str(tmp_path / "cut.jsonl")]) == 0
        assert "cut.jsonl: holds no whole row, and is begun anew" in capsys.readouterr().err
        assert read_rows(tmp_path / "cut.jsonl") == read_rows(whole)
        assert asked.pop() == 12
    if suffix != "parquet":
        with out.open("a") as file:
            file.write('"half of a row')  # what a power cut may leave
    assert main([*arguments, str(out)]) == 0
    assert asked == [12, 7]
    assert read_rows(out) == read_rows(whole)
    assert main([*arguments, str(out)]) == 0
    assert f"nothing to do: {out} holds 12 videos already" in capsys.readouterr().out
    mine, replaced = tmp_path / f"mine.{suffix}", tmp_path / f"replaced.{suffix}"
    for foreign in (mine, replaced):
        foreign.write_text("mine\n")
    shutil.copy(tmp_path / f".{out.name}.settings", tmp_path / f".{replaced.name}.settings")
    for there, more in ((out, ["--classes", "run, sit"]), (mine, []), (replaced, [])):
        before = there.read_bytes()
        assert main([*arguments, str(there), *more]) == 2
        assert "name another file, or remove it" in capsys.readouterr().err
        assert there.read_bytes() == before
    assert asked == [12, 7, 0]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_videos_that_failed_are_tried_again(suffix: str, world: Path, model_folder: Path, tmp_path: Path) -> None:
    good, out = sorted((world / "videos" / "jump_up").iterdir()), tmp_path / f"out.{suffix}"
    videos = [tmp_path / f"{number}.mp4" for number in range(3)]
    shutil.copy(good[0], videos[0])
    videos[1].write_text("half of a copy")
    shutil.copy(good[2], videos[2])
    arguments = ["predict", *map(str, videos), "--model", str(model_folder), "--workers", "0", "--out", str(out)]
    assert main(arguments) == 1
    before = read_rows(out)
    shutil.copy(good[1], videos[1])
    assert main(arguments) == 0
    rows = read_rows(out)
    assert rows[:2] == [before[0], before[2]]
    assert [row["path"] for row in rows] == [str(videos[number]) for number in (0, 2, 1)]
    assert not any(row["error"] for row in rows)


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode there")
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_names_that_are_no_utf8_are_written_alike(
    suffix: str, world: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "videos", tmp_path / f"out.{suffix}"
    folder.mkdir()
    shutil.copy(world / "videos" / "jump_up" / "0.mp4", folder / os.fsdecode(b"latin\xe9.mp4"))
    (folder / os.fsdecode(b"none\xe9.mp4")).write_text("no video")
    arguments = [str(folder), "--model", str(model_folder), "--workers", "0", "--out"]
    assert main(["predict", *arguments, str(out)]) == 1
    good, bad = (row["path"] for row in read_rows(out))
    assert (good, bad) == (f"{folder}/latin\\udce9.mp4", f"{folder}/none\\udce9.mp4")
    assert main(["predict", *arguments, str(out)]) == 1
    assert "1 video, after 1 that were there, 1 of them could not be read" in capsys.readouterr().out
    assert [row["path"] for row in read_rows(out)] == [good, bad]
    if suffix == "parquet":
        assert main(["embed", *arguments, str(tmp_path / "vectors.parquet")]) == 1
        assert read_rows(tmp_path / "vectors.parquet")[0]["path"] == good


def test_videos_are_named_in_many_ways(
    world: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = [str(world / "videos" / "jump_up" / f"{n}.mp4") for n in range(4)]
    (tmp_path / "list.csv").write_text("".join(f"{video},0\n" for video in videos))
    (tmp_path / "bare.txt").write_text("".join(f"{video}\n" for video in videos))
    given = (
        tmp_path / "bare.txt",
        str(world / "videos" / "jump_up"),
        str(world / "videos" / "jump_up" / "*.mp4"),
        tmp_path / "list.csv",
        "-",
    )
    for videos_argument in given:
        monkeypatch.setattr("sys.stdin", io.StringIO("\n".join([*videos, ""])))
        (out := tmp_path / "out.csv").unlink(missing_ok=True)
        assert main(["predict", str(videos_argument), "--model", str(model_folder), "--out", str(out)]) == 0
        assert [row["path"] for row in read_rows(out)] == videos


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files there")
def test_full_disk_keeps_whole_rows(world: Path, model_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    arguments = ["predict", str(world / "videos"), "--model", str(model_folder), "--out", str(out), "--workers", "0"]

    def on_a_full_disk() -> int:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        sys.stdout, sys.stderr = io.StringIO(), io.StringIO()  # where pytest keeps what is printed is a file too
        status = main(arguments)
        (tmp_path / "said").write_text(sys.stderr.getvalue())
        return status

    assert torchrun.status_of(torchrun.fork(on_a_full_disk)) == 2
    assert f"vitaclip: error: {out}: File too large" in (tmp_path / "said").read_text()
    assert out.stat().st_size <= 1000
    assert 1 <= len(read_rows(out)) < 12
    assert out.read_text().endswith("\n")


def test_place_of_predictions_is_tried_first(
    world: Path, model_folder: Path, tmp_path: Path, refusal: Refusal, opened: list[Path]
) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "out.csv"
    assert "is a file" in refusal("predict", world / "videos", "--model", model_folder, "--out", out, "--workers", "0")
    assert opened == []


def test_explained_videos_have_distinct_files(world: Path, model_folder: Path, tmp_path: Path) -> None:
    video, out = world / "videos" / "jump_up" / "0.mp4", tmp_path / "out"
    videos = [tmp_path / name for name in ("a/clip.mp4", "b/clip.mp4", "c/clip_2.mp4", "d/Clip.mp4")]
    for each in videos:
        each.parent.mkdir()
        shutil.copy(video, each)
    assert main(["explain", *map(str, videos), "--model", str(model_folder), "--out", str(out)]) == 0
    found = {json.loads(file.read_text())["path"] for file in out.glob("*.json")}
    assert found == set(map(str, videos))
    assert len({file.name.casefold() for file in out.iterdir()}) == 8


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no fifo there")
@pytest.mark.parametrize("command", ["predict", "explain"])
def test_file_that_never_ends_costs_the_time_limit(
    command: str, world: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "fifo.mp4")
    video = world / "videos" / "jump_up" / "0.mp4"
    out = tmp_path / ("out.jsonl" if command == "predict" else "out")
    arguments = [command, str(tmp_path / "fifo.mp4"), str(video), "--model", str(model_folder), "--out", str(out)]
    assert main([*arguments, "--data.time-limit-seconds", "1"]) == 1
    assert "fifo.mp4" in capsys.readouterr().err
    if command == "predict":
        assert [bool(row["error"]) for row in read_rows(out)] == [True, False]
    else:
        assert (out / "0.json").exists()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "out of memory. Take fewer at a time"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB.\nIf reserved"), "Tried 2 GiB. Take fewer"),
        (RuntimeError("[alloc_cpu] DefaultCPUAllocator: can't allocate memory: 9 bytes"), "9 bytes. Take fewer"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
        (KeyError("two\nlines"), "KeyError: 'two\\nlines' (set"),
    ],
)
def test_every_error_is_one_line(
    error: Exception, message: str, monkeypatch: pytest.MonkeyPatch, refusal: Refusal
) -> None:
    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr("vitaclip.cli.list.List.run", fail)
    assert message in refusal("list")


def test_names_in_errors_cannot_forge_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise ValueError("name\x1b[2J\nvitaclip: error: forged")

    monkeypatch.setattr("vitaclip.cli.list.List.run", fail)
    assert main(["list"]) == 2
    assert capsys.readouterr().err == "vitaclip: error: name\\x1b[2J\n  vitaclip: error: forged\n"


def test_deep_yaml_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "deep.yaml").write_text(f"optim: {5000 * '['}{5000 * ']'}")
    assert main(["train", "--config", str(tmp_path / "deep.yaml")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_training_saves_when_it_is_told_to_end(
    name: str, status: int, world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = torchrun.fork(lambda: main(training(world, tmp_path)))
    metrics, until = tmp_path / "metrics.jsonl", time.monotonic() + 60
    while not metrics.exists() or len(metrics.read_text().splitlines()) < 2:
        assert time.monotonic() < until, "no step was made"
        time.sleep(0.01)
    os.kill(run, getattr(signal, name))
    assert torchrun.status_of(run) == status
    asked = re.search(r"asked to stop after step (\d+): what was done is saved", capfd.readouterr().out)
    assert asked
    assert CheckpointStore(tmp_path / "checkpoints", 1).steps() == [int(asked[1])]


def test_second_interrupt_ends_training(world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """While the lists are read nothing looks for a wish to stop; here a pipe in place of a list keeps it waiting."""
    os.mkfifo(tmp_path / "list.csv")
    run = torchrun.fork(lambda: main(training(world, tmp_path / "run", tmp_path / "list.csv")))
    with (tmp_path / "list.csv").open("w"):  # goes on once the list is being read
        os.kill(run, signal.SIGINT)
        until = time.monotonic() + 60
        while "Ctrl-C again stops at once" not in capfd.readouterr().err:
            assert time.monotonic() < until, "nothing was said"
            time.sleep(0.01)
        os.kill(run, signal.SIGINT)
        assert torchrun.status_of(run) == 130


def training(world: Path, out: Path, train: Path | None = None) -> list[str]:
    """A command that trains for long."""
    arguments = ["--config", "own_videos", "--data.train", str(train or world / "videos"), "--out", str(out)]
    arguments += ["--model.backbone", str(world / "backbone"), "--optim.steps", "10000", "--optim.batch_size", "2"]
    arguments += ["--data.workers", "0", "--log_every", "1", "--data.classes", ", ".join(NAMES)]
    return ["train", *arguments]
