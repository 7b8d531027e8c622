"""Data sets as they are downloaded, to the figures of their protocols, against counting by the official annotations."""

import csv
import json
import statistics
from collections.abc import Callable
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
Clips = list[tuple[Path, str]]
"""Made videos, and the class that each is to have."""
Tested = list[Clips]
"""Of each test list, in the order of the protocol's parts: where its videos are now, and their official classes."""


@torch.no_grad()
def seen(model: VideoModel, dataset: str, video: Path) -> str:
    """The class that the model sees in a video's middle clip."""
    classes = load_dataset_classes(dataset)
    clip = EvalViews(frame_sampling(model.config.sampling, 4), 1, 1, model.image_size).read(video)
    return classes.names[int(model(clip, model.encode_text(classes.prompts))[0].argmax())]


def make_clips(folder: Path, model: VideoModel, dataset: str) -> Clips:
    """Every second is of the class that the model sees, the others of classes from all over the data set."""
    names = load_dataset_classes(dataset).names
    clips = []
    for n in range(CLIPS):
        video = write_video(folder / "made" / f"{n}.mp4", frames=10 + n, width=24, height=20, seed=n)
        clips.append((video, seen(model, dataset, video) if n % 2 else names[len(names) // CLIPS * n]))
    return clips


def put(video: Path, place: Path) -> Path:
    """Moves a video to its place in a data set."""
    place.parent.mkdir(parents=True, exist_ok=True)
    return video.rename(place)


def write_ucf101(root: Path, annotations: Path, clips: Clips) -> Tested:
    """`UCF-101/CLASS/v_CLASS_g01_c01.avi` and `ucfTrainTestlist/`."""
    names = load_dataset_classes("ucf101").names
    placed = []
    for n, (video, name) in enumerate(clips):
        # The data set's own habit: files of the class HandstandPushups are spelled otherwise.
        stem = f"v_{name.replace('HandstandPushups', 'HandStandPushups')}_g{n + 1:02d}_c01"
        placed.append((put(video, root / name / f"{stem}.avi"), name))
    (annotations / "classInd.txt").write_text("".join(f"{n} {name}\r\n" for n, name in enumerate(names, start=1)))
    for split in (1, 2, 3):
        test, train = [], []
        for n, (path, name) in enumerate(placed):
            line = f"{name}/{path.name}"
            if n % 3 == split - 1:
                test.append(f"{line}\r\n")
            else:
                train.append(f"{line} {names.index(name) + 1}\r\n")
        (annotations / f"testlist{split:02d}.txt").write_text("".join(test))
        (annotations / f"trainlist{split:02d}.txt").write_text("".join(train))
    return [placed[split::3] for split in range(3)]


def write_hmdb51(root: Path, annotations: Path, clips: Clips) -> Tested:
    """`hmdb51/CLASS/CLIP.avi`, and for each class and split a file of `CLIP.avi 0|1|2`: not used, training, test."""
    placed = [(put(video, root / name / f"clip_{n}.avi"), name) for n, (video, name) in enumerate(clips)]
    splits = annotations / "testTrainMulti_7030_splits"
    splits.mkdir()
    for name in {name for _, name in placed}:
        for split in (1, 2, 3):
            lines = [
                f"{path.name} {2 if n % 3 == split - 1 else 1} \n"
                for n, (path, of_clip) in enumerate(placed)
                if of_clip == name
            ]
            (splits / f"{name}_test_split{split}.txt").write_text("".join(lines))
    return [placed[split::3] for split in range(3)]


def write_kinetics(root: Path, annotations: Path, clips: Clips) -> Tested:
    """`val/CLASS/ID_START_END.mp4` and `validate.csv`."""
    rows = [["label", "youtube_id", "time_start", "time_end", "split"]]
    placed = []
    for n, (video, name) in enumerate(clips):
        place = root / "val" / name.replace(" ", "_") / f"id_of_11__{n:02d}_000003_000013.mp4"
        placed.append((put(video, place), name))
        rows.append([name, f"id_of_11__{n:02d}", "3", "13", "validate"])
    with (annotations / "validate.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return [placed]


def write_ssv2(root: Path, annotations: Path, clips: Clips) -> Tested:
    """`NUMBER.mp4`, `labels.json` and `validation.json`, whose templates have brackets."""
    placed = [(put(video, root / f"{n}.mp4"), name) for n, (video, name) in enumerate(clips)]
    (annotations / "labels.json").write_text(json.dumps({name: str(n) for n, (_, name) in enumerate(placed)}))
    entries = [
        {"id": path.stem, "label": "x", "template": name.replace("something", "[something]"), "placeholders": ["x"]}
        for path, name in placed
    ]
    (annotations / "validation.json").write_text(json.dumps(entries))
    return [placed]


@pytest.mark.parametrize(
    ("dataset", "protocol", "write"),
    [
        ("ucf101", "ucf101_zeroshot", write_ucf101),
        ("hmdb51", "hmdb51_zeroshot", write_hmdb51),
        ("kinetics400", "kinetics400_supervised", write_kinetics),
        ("kinetics600", "kinetics600_supervised", write_kinetics),
        ("ssv2", "ssv2_supervised", write_ssv2),
    ],
)
def test_from_download_to_figures(
    dataset: str, protocol: str, write: Callable[[Path, Path, Clips], Tested], tmp_path: Path
) -> None:
    write_words_backbone(tmp_path / "backbone")
    model = save_fake_model(tmp_path / "run" / "model", tmp_path / "backbone", 1)
    videos, annotations, lists = (tmp_path / name for name in ("videos", "annotations", "lists"))
    annotations.mkdir()
    (tmp_path / "made").mkdir()
    tested = write(videos, annotations, make_clips(tmp_path, model, dataset))
    prepare = ["data", "prepare", dataset, "--root", str(videos), "--annotations", str(annotations)]
    assert main([*prepare, "--out", str(lists)]) == 0
    out = tmp_path / "out.json"
    evaluate = ["eval", str(tmp_path / "run"), "--protocol", protocol, "--root", str(lists), "--workers", "0"]
    precisely = ["--views.temporal", "1", "--views.spatial", "1", "--runtime.precision", "float32"]
    assert main([*evaluate, *precisely, "--out", str(out)]) == 0
    expected = [statistics.fmean(seen(model, dataset, path) == name for path, name in clips) for clips in tested]
    found = json.loads(out.read_text())
    assert [part["top1"] for part in found["parts"]] == pytest.approx(expected)
    assert [part["videos_scored"] for part in found["parts"]] == list(map(len, tested))
    assert all(expected)
    if len(expected) > 1:
        mean, deviation = statistics.fmean(expected), statistics.pstdev(expected)
        assert found["summary"] == pytest.approx({"mean": mean, "std": deviation})
