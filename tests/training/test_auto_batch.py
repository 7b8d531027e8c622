"""Micro-batches by trying: what is chosen of what was measured, and that neither trying nor a stop changes a bit."""

import json
from pathlib import Path

import pytest
import torch

from small_world import changed, prompts_of, same, train_config, train_until
from vitaclip.cli import main
from vitaclip.training import memory, trainer
from vitaclip.training.auto_batch import MicroBatch, fit, measure
from vitaclip.training.trainer import Trainer

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("plain", "again", "most", "chosen"),
    [  # seconds a clip of 1, 2, 4, ... at a time, without and with activations computed again; then no more fit
        ([4.0, 3.0, 2.0, 1.9], [], 8, (8, False, "these are all")),
        ([4.0, 3.0, 2.95, 1.0], [], 8, (2, False, "4 are no faster")),
        ([4.0, 3.0, 2.0], [], 5, (4, False, "5 do not fit")),
        ([], [6.0, 4.0], 8, (2, True, "4 do not fit")),
        ([4.0], [6.0, 5.0, 4.9, 3.4], 8, (1, False, "2 are no faster")),  # twice as many are slower
        ([4.0], [6.0, 3.5, 3.0, 2.99], 8, (4, True, "8 are no faster")),
        ([], [], 8, (1, True, "1 do not fit")),
    ],
)
def test_choice_fits_and_saves_time(
    plain: list[float], again: list[float], most: int, chosen: tuple[int, bool, str]
) -> None:
    def attempt(clips: int, recompute: bool) -> MicroBatch | None:
        seconds, number = again if recompute else plain, (clips - 1).bit_length()
        return MicroBatch(clips, recompute, seconds[number]) if number < len(seconds) else None

    found, why = fit(attempt, most)
    assert (found.clips, found.recompute, why) == chosen


@pytest.mark.parametrize(("needs", "fits"), [(40, True), (90, False), (300, False)])
def test_measured_peak_decides_what_fits(needs: int, fits: bool) -> None:
    """90 MiB leave too little of 100 for others; 300 are refused, and Python goes on."""
    found = measure(CPU, 100 * 2**20, 4, False, lambda: torch.ones(needs, 2**18))
    assert (found is not None) is fits
    if found:
        assert found.peak == pytest.approx(needs * 2**20, rel=0.1)
    assert torch.ones(150, 2**18).sum() == 150 * 2**18


def test_containers_limit_what_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The inner one has no limit; files that are kept in memory give way."""
    mib = 2**20
    texts = {
        "proc/self/cgroup": "4:cpu:/a\n0::/a/b\n",
        "sys/fs/cgroup/a/b/memory.max": "max\n",
        "sys/fs/cgroup/a/memory.max": f"{90 * mib}\n",
        "sys/fs/cgroup/a/memory.current": f"{70 * mib}\n",
        "sys/fs/cgroup/a/memory.stat": f"active_file {mib}\ninactive_file {30 * mib}\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "_ROOT", tmp_path)
    assert memory.free_bytes(CPU) == 50 * mib


def test_trying_changes_no_bit_and_holds_on_resume(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def choosing(clips: int) -> None:
        """Try as ever, then take so many."""
        monkeypatch.setattr(trainer, "fit", lambda *given: fit(*given) and (MicroBatch(clips), ""))

    given = train_config(world, tmp_path / "given", micro_batch_size=3)
    stopped = changed(given, out=str(tmp_path / "auto"), auto_batch=True, optim={"micro_batch_size": 0})
    Trainer(given).fit()
    choosing(3)
    train_until(stopped, step=3)
    choosing(1)  # other programs have taken the memory meanwhile
    Trainer(stopped).fit()
    saved = json.loads((tmp_path / "auto" / "config.json").read_text())
    assert (saved["optim"]["micro_batch_size"], saved["runtime"]["checkpoint_activations"]) == (3, True)
    assert same(*(prompts_of(run.out) for run in (given, stopped)))


def test_command_says_what_was_chosen(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model.backbone", str(world / "backbone"), "--data.workers", "0", "--runtime.device", "cpu"]
    options += ["--optim.steps", "1", "--optim.batch_size", "3", "--out", str(tmp_path), "--auto-batch"]
    assert main(["train", "own_videos", "--data.train", str(world / "videos"), *options]) == 0
    assert "clips at a time: " in capsys.readouterr().out


def test_system_without_peaks_is_told(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(ValueError, match=r"counts no peak of memory; set optim\.micro_batch_size"):
        changed(train_config(world, world), auto_batch=True)
