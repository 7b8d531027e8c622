"""A data set as it is downloaded, to the figures of its protocol, against counting by the official annotations.

What each data set's download looks like is tested in tests/data/prepare, and each protocol in test_protocols.py.
"""

import json
import statistics
from pathlib import Path

import pytest
import torch

from fake_datasets import save_fake_model, write_words_backbone
from video_files import write_video
from vitaclip.catalog import load_dataset_classes
from vitaclip.cli import main
from vitaclip.data.loading.clips import EvalViews
from vitaclip.data.sampling import frame_sampling
from vitaclip.model import VideoModel

CLIPS = 12
CLASSES = load_dataset_classes("ucf101")


@torch.no_grad()
def seen(model: VideoModel, video: Path) -> str:
    """The class that the model sees in a video's middle clip."""
    clip = EvalViews(frame_sampling(model.config.sampling, 4), 1, 1, model.image_size).read(video)
    return CLASSES.names[int(model(clip, model.encode_text(CLASSES.prompts))[0].argmax())]


def write_videos(root: Path, model: VideoModel) -> list[Path]:
    """`UCF-101/CLASS/v_CLASS_g01_c01.avi`: every second is of the class that the model sees in it."""
    videos = []
    for n in range(CLIPS):
        video = write_video(root / "made.mp4", frames=10 + n, width=24, height=20, seed=n)
        name = seen(model, video) if n % 2 else CLASSES.names[len(CLASSES.names) // CLIPS * n]
        # The data set's own habit: files of the class HandstandPushups are spelled otherwise.
        stem = f"v_{name.replace('HandstandPushups', 'HandStandPushups')}_g{n + 1:02d}_c01"
        (root / name).mkdir(exist_ok=True)
        videos.append(video.rename(root / name / f"{stem}.avi"))
    return videos


def write_annotations(folder: Path, videos: list[Path]) -> None:
    """`ucfTrainTestlist/`: every third video is tested on, the others are trained on."""
    (folder / "classInd.txt").write_text("".join(f"{n} {name}\r\n" for n, name in enumerate(CLASSES.names, start=1)))
    for split in range(3):
        lines = [f"{video.parent.name}/{video.name}" for video in videos]
        numbers = [CLASSES.names.index(video.parent.name) + 1 for video in videos]
        train = [
            f"{line} {number}\r\n"
            for n, (line, number) in enumerate(zip(lines, numbers, strict=True))
            if n % 3 != split
        ]
        (folder / f"testlist{split + 1:02d}.txt").write_text("".join(f"{line}\r\n" for line in lines[split::3]))
        (folder / f"trainlist{split + 1:02d}.txt").write_text("".join(train))


def test_from_download_to_figures(tmp_path: Path) -> None:
    write_words_backbone(tmp_path / "backbone")
    model = save_fake_model(tmp_path / "run" / "model", tmp_path / "backbone", 1)
    root, annotations, lists = (tmp_path / name for name in ("UCF-101", "annotations", "lists"))
    root.mkdir()
    annotations.mkdir()
    videos = write_videos(root, model)
    write_annotations(annotations, videos)
    prepare = ["data", "prepare", "ucf101", "--root", str(root), "--annotations", str(annotations)]
    assert main([*prepare, "--out", str(lists)]) == 0
    out = tmp_path / "out.json"
    evaluate = ["eval", str(tmp_path / "run"), "--protocol", "ucf101_zeroshot", "--root", str(lists), "--workers", "0"]
    precisely = ["--views.temporal", "1", "--views.spatial", "1", "--runtime.precision", "float32"]
    assert main([*evaluate, *precisely, "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    tested = [videos[split::3] for split in range(3)]
    expected = [statistics.fmean(seen(model, video) == video.parent.name for video in split) for split in tested]
    assert all(expected)
    assert [part["top1"] for part in found["parts"]] == pytest.approx(expected)
    assert [part["videos_scored"] for part in found["parts"]] == list(map(len, tested))
    assert found["summary"] == pytest.approx({"mean": statistics.fmean(expected), "std": statistics.pstdev(expected)})
