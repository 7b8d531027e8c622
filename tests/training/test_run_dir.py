"""A run goes on as the same run, or is refused: its settings, its lists, and what older versions saved."""

from pathlib import Path
from typing import Any

import pytest

from small_world import NAMES, changed, lines_of, train_config, write_list
from vitaclip.settings import to_dict
from vitaclip.training.config import TrainConfig
from vitaclip.training.optim import Schedule
from vitaclip.training.run_dir import check_same_run
from vitaclip.training.trainer import Trainer, train


def notes(world: Path, **model: Any) -> dict[str, Any]:
    config = to_dict(train_config(world, world / "out"))
    config["model"] |= model
    return {"config": config, "class_names": list(NAMES), "videos": "12"}


def test_missing_setting_counts_as_it_was(world: Path) -> None:
    saved = notes(world)
    del saved["config"]["model"]["centre"]
    del saved["config"]["early_stop_metric"]
    check_same_run(saved, notes(world, centre=False), "out")
    with pytest.raises(ValueError, match=r"out holds a run with another config: model.centre was False, now True"):
        check_same_run(saved, notes(world), "out")


def test_settings_that_are_gone_count_where_they_were_on(world: Path) -> None:
    saved = notes(world)
    saved["config"]["data"] |= {"index_cache": "", "feature_draws": 0}
    saved["config"]["wandb_project"] = ""
    assert check_same_run(saved, notes(world), "out") == []
    saved["config"]["data"]["feature_draws"] = 3
    with pytest.raises(ValueError, match=r"another config: data.feature_draws was 3, now None\. Resume"):
        check_same_run(saved, notes(world), "out")


def test_a_finished_run_may_grow(listed: TrainConfig) -> None:
    longer = changed(listed, optim={"steps": 4})
    with pytest.warns(UserWarning, match=r"^optim.steps was 2, now 4: from here on the learning rate is that of the"):
        train(longer)
    expected = [Schedule(longer.optim if step >= 2 else listed.optim, 8).rate(step) for step in range(4)]
    assert [line["learning_rate"] for line in lines_of(listed.out)] == expected
    assert Trainer(longer).warnings == []
    with pytest.raises(ValueError, match=r"optim.steps was 4, now 2"):
        Trainer(listed)


@pytest.fixture
def listed(world: Path, tmp_path: Path) -> TrainConfig:
    """A finished run on a list of eight videos and a file of class names."""
    videos = sorted((world / "videos").rglob("*.mp4"))[:8]
    train = write_list(tmp_path / "train.csv", [(path.relative_to(world), i % 3) for i, path in enumerate(videos)])
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    data = {"train": train, "classes": str(tmp_path / "names.txt"), "root": str(world)}
    config = changed(train_config(world, tmp_path / "run", steps=2), data=data)
    Trainer(config).fit()
    return config


@pytest.mark.parametrize("change", ["a row less", "another label", "another order"])
def test_edited_list_is_refused_on_resume(listed: TrainConfig, change: str) -> None:
    file = Path(listed.data.train)
    rows = file.read_text().splitlines()
    last = rows[-1][:-1] + "0"
    edited = {"a row less": rows[:-1], "another label": [*rows[:-1], last], "another order": rows[::-1]}[change]
    file.write_text("\n".join(edited))
    message = rf"the list of training videos was '8 \(list \w+\)', now '{len(edited)} \(list \w+\)'"
    with pytest.raises(ValueError, match=message):
        Trainer(listed)


def test_changed_class_names_are_refused_on_resume(listed: TrainConfig) -> None:
    for names, message in {
        (*NAMES[:2], "sit"): r"class.2 was 'moving right', now 'sit'",
        (*NAMES, "sit"): r"class.3 was None, now 'sit'",
    }.items():
        Path(listed.data.classes).write_text("\n".join(names))
        with pytest.raises(ValueError, match=message):
            Trainer(listed)


def test_the_videos_may_move(listed: TrainConfig, world: Path, tmp_path: Path) -> None:
    (tmp_path / "moved").symlink_to(world)
    assert Trainer(changed(listed, data={"root": str(tmp_path / "moved")})).step == 2


def test_bad_videos_after_checkpoint_are_counted_again(listed: TrainConfig) -> None:
    """Else a run that was killed would count them earlier than one that was not."""
    file = Path(listed.out) / "bad_videos.txt"
    file.write_text("met after the checkpoint\n")
    assert Trainer(listed).bad_videos == {}
    assert not file.exists()
