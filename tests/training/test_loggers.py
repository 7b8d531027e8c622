"""Where metrics go, and that all places get the same."""

import resource
from dataclasses import replace
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from small_world import lines_of, train_config
from torchrun import fork, status_of
from vitaclip.cli import main
from vitaclip.training.loggers import MEASURED, read_metrics
from vitaclip.training.trainer import Trainer


def test_all_loggers_get_the_same(world: Path, tmp_path: Path) -> None:
    config = replace(train_config(world, tmp_path), log_every=2)
    Trainer(config).fit()
    lines = lines_of(tmp_path)
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert {"train/loss", "train/top1", "learning_rate", *MEASURED} <= lines[0].keys()
    assert min(lines[0][name] for name in MEASURED) > 0
    assert lines[-1]["seconds_left"] == 0
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    for name in lines[0].keys() - {"step"}:
        scalars = events.Scalars(name)
        assert [event.step for event in scalars] == [2, 4, 6]
        assert [event.value for event in scalars] == pytest.approx([line[name] for line in lines], rel=1e-6)


def test_full_disk_is_one_line(world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A real refusal, by a limit on the size of files, while the event file and the metrics grow."""
    data = ["--data.train", str(world / "videos"), "--data.workers", "0", "--runtime.device", "cpu"]
    model = ["--model.backbone", str(world / "backbone"), "--model.context", "{}", "--model.head", "templates"]
    steps = ["--optim.steps", "200", "--optim.batch_size", "1", "--log_every", "1", "--out", str(tmp_path / "run")]

    def train() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))
        return main(["train", "--config", "own_videos", *data, *model, *steps])

    assert status_of(fork(train)) == 2
    printed = capfd.readouterr().err
    (line,) = printed.splitlines()
    assert "File too large" in line
    assert "tensorboard" in line or "metrics.jsonl" in line


def test_non_text_metrics_file_is_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n\xff\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl: not UTF-8 text"):
        read_metrics(tmp_path / "metrics.jsonl", 9)


def test_incomplete_metrics_line_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "val/top1": 0.5}\n{"step": 2, "val/t')
    assert read_metrics(tmp_path / "metrics.jsonl", 9) == [{"step": 1, "val/top1": 0.5}]
