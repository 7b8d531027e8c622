"""UCF101 as it is downloaded, to the figures of its zero-shot protocol, against counting by the official lists."""

import json
import statistics
from pathlib import Path

import pytest
import torch

from fake_datasets import save_fake_model, write_words_backbone
from video_files import write_video
from vitaclip.catalog import load_dataset_classes
from vitaclip.cli import main
from vitaclip.data import frame_sampling, load_views
from vitaclip.model import VitaCLIP

CLIPS = 12


@torch.no_grad()
def seen(model: VitaCLIP, video: Path) -> str:
    """The class that the model sees in a video's middle clip."""
    classes = load_dataset_classes("ucf101")
    clip = load_views(video, frame_sampling(model.config.sampling, 4), 1, 1, model.image_size)
    return classes.names[int(model(clip, model.encode_text(classes.prompts))[0].argmax())]


def write_ucf101(folder: Path, model: VitaCLIP) -> None:
    """`UCF-101/CLASS/v_CLASS_g01_c01.avi`, every second of the class that the model sees, and `ucfTrainTestlist/`."""
    names = load_dataset_classes("ucf101").names
    clips = []
    for n in range(CLIPS):
        video = write_video(folder / "made.avi", frames=10 + n, width=24, height=20, seed=n)
        name = seen(model, video) if n % 2 else names[8 * n]
        # The data set's own habit: files of the class HandstandPushups are spelled otherwise.
        stem = f"v_{name.replace('HandstandPushups', 'HandStandPushups')}_g{n + 1:02d}_c01"
        place = folder / "UCF-101" / name / f"{stem}.avi"
        place.parent.mkdir(parents=True, exist_ok=True)
        clips.append((video.rename(place), names.index(name) + 1))
    lists = folder / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("".join(f"{number} {name}\r\n" for number, name in enumerate(names, start=1)))
    for split in (1, 2, 3):
        tested = [n % 3 == split - 1 for n in range(CLIPS)]
        lines = [f"{path.parent.name}/{path.name}" for path, _ in clips]
        test = "".join(f"{line}\r\n" for line, here in zip(lines, tested, strict=True) if here)
        train = [f"{line} {clips[n][1]}\r\n" for n, line in enumerate(lines) if not tested[n]]
        (lists / f"testlist{split:02d}.txt").write_text(test)
        (lists / f"trainlist{split:02d}.txt").write_text("".join(train))


def test_ucf101_from_its_download_to_its_zero_shot_figures(tmp_path: Path) -> None:
    write_words_backbone(tmp_path / "backbone")
    model = save_fake_model(tmp_path / "run" / "model", tmp_path / "backbone", 1)
    write_ucf101(tmp_path, model)
    videos, annotations, lists = (tmp_path / name for name in ("UCF-101", "ucfTrainTestlist", "lists"))
    prepare = ["data", "prepare", "ucf101", "--root", str(videos), "--annotations", str(annotations)]
    assert main([*prepare, "--out", str(lists)]) == 0
    out = tmp_path / "out.json"
    evaluate = ["eval", str(tmp_path / "run"), "--protocol", "ucf101_zeroshot", "--root", str(lists), "--workers", "0"]
    precisely = ["--views.temporal", "1", "--runtime.precision", "float32"]
    assert main([*evaluate, *precisely, "--out", str(out)]) == 0
    expected = []
    for split in (1, 2, 3):
        lines = (annotations / f"testlist{split:02d}.txt").read_text().split()
        expected.append(statistics.fmean(seen(model, videos / line) == line.split("/")[0] for line in lines))
    found = json.loads(out.read_text())
    assert [part["top1"] for part in found["parts"]] == pytest.approx(expected)
    assert [part["videos_scored"] for part in found["parts"]] == [CLIPS // 3] * 3
    assert all(expected)
    mean = sum(expected) / 3
    deviation = (sum((share - mean) ** 2 for share in expected) / 3) ** 0.5
    assert found["summary"] == pytest.approx({"mean": mean, "std": deviation})
