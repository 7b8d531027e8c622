"""Training from tar files is training from the same files: step by step, over a stop, and in what it refuses."""

import json
import shutil
from pathlib import Path

import pytest

from shard_files import write_shard
from small_world import CLIPS_PER_CLASS, NAMES, changed, prompts_of, same, train_config, train_until
from vitaclip.cli import main
from vitaclip.training.config import TrainConfig
from vitaclip.training.trainer import Trainer


@pytest.fixture
def shards(world: Path, tmp_path: Path) -> Path:
    """The videos of the world, in the order of its folders, in two tar files."""
    videos = [
        {"__key__": f"{name}/{n}", "mp4": (world / "videos" / name / f"{n}.mp4").read_bytes(), "txt": name}
        for name in (name.replace(" ", "_") for name in NAMES)
        for n in range(CLIPS_PER_CLASS)
    ]
    for number, part in enumerate((videos[:5], videos[5:])):
        write_shard(tmp_path / "shards" / f"{number:03d}.tar", part)
    return tmp_path / "shards"


def sharded(config: TrainConfig, shards: Path, **data: object) -> TrainConfig:
    """The same training from tar files."""
    settings = {"train": f"{shards}/00[01]*.tar", "classes": ", ".join(NAMES), **data}
    return changed(config, data=settings)


def test_resumed_run_from_tars_equals_run_from_files(world: Path, shards: Path, tmp_path: Path) -> None:
    Trainer(train_config(world, tmp_path / "files")).fit()
    config = sharded(train_config(world, tmp_path / "tars"), shards, workers=1)
    train_until(config, step=3)
    Trainer(config).fit()
    assert same(prompts_of(tmp_path / "tars"), prompts_of(tmp_path / "files"))


def test_changed_tar_files_are_refused_on_resume(world: Path, shards: Path, tmp_path: Path) -> None:
    config = sharded(train_config(world, tmp_path / "run", steps=2), shards)
    Trainer(config).fit()
    shutil.move(shards / "001.tar", shards / "002.tar")
    write_shard(shards / "001.tar", [{"__key__": "a", "mp4": b"0", "cls": 1}])
    with pytest.raises(ValueError, match=r"the list of training videos was '12 \(list \w+\)', now '6 \(list \w+\)"):
        Trainer(config)


def test_tar_folder_may_move(world: Path, shards: Path, tmp_path: Path) -> None:
    """As for other videos: what counts are the names below the folder that is named."""
    first = Trainer(sharded(train_config(world, tmp_path / "run"), shards, train=str(shards)))
    moved = shutil.move(shards, tmp_path / "elsewhere")
    again = Trainer(sharded(train_config(world, tmp_path / "run2"), Path(moved), train=str(moved)))
    assert first.fingerprint["videos"] == again.fingerprint["videos"]


def test_evaluation_and_prediction_take_tar_files(world: Path, shards: Path, tmp_path: Path) -> None:
    Trainer(sharded(train_config(world, tmp_path / "run", steps=2), shards, train=str(shards))).fit()
    model = str(tmp_path / "run" / "model")
    results = []
    for videos, report in ((world / "videos", ""), (shards, f"{tmp_path}/report")):
        out = ["--out", f"{tmp_path}/{videos.name}.json", "--report", report]
        assert main(["eval", str(videos), "--model", model, "--workers", "0", *out]) == 0
        results.append(json.loads((tmp_path / f"{videos.name}.json").read_text()))
    assert [results[0][name] for name in ("top1", "top5")] == [results[1][name] for name in ("top1", "top5")]
    assert (tmp_path / "report" / "predictions.csv").read_text().count("001.tar::moving_right/3.mp4") == 1
    said = str(tmp_path / "said.csv")
    assert (
        main(["predict", f"{shards}/001.tar::moving_right/3.mp4", "--model", model, "--workers", "0", "--out", said])
        == 0
    )
    assert f"{shards}/001.tar::moving_right/3.mp4" in Path(said).read_text()
