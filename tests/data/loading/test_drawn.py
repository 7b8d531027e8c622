"""Clips that are drawn once: against drawing each by hand, whatever the list."""

import zlib
from dataclasses import replace
from pathlib import Path

import torch

from video_files import decode_all
from vitaclip.data import (
    EvalDataset,
    FixedAugmentation,
    FrameSampling,
    Stream,
    TrainClips,
    TrainTransform,
    VideoSample,
    eval_batches,
    generator,
)
from vitaclip.data.config import AugmentConfig

SAMPLING = FrameSampling("dense", 4, 3)
TRANSFORM = TrainTransform(24, AugmentConfig(crop_scale=(0.3, 1.0), flip=0.5, randaugment="rand-m7-n2-mstd0.5-inc1"))


def rows_of(folder: Path) -> list[VideoSample]:
    return [
        VideoSample(path, (number % 3,), f"list:{number}") for number, path in enumerate(sorted(folder.glob("*.mp4")))
    ]


def fixed(rows: list[VideoSample], draws: int = 3, transform: TrainTransform = TRANSFORM) -> EvalDataset:
    return EvalDataset(rows, FixedAugmentation(TrainClips(SAMPLING, transform), draws), "skip")


def views_of(dataset: EvalDataset, index: int) -> torch.Tensor:
    video = dataset[index].video
    assert video is not None
    return video


def test_clips_equal_training_clips_of_own_generators(video_folder: Path) -> None:
    rows = rows_of(video_folder)
    views = views_of(fixed(rows), 2)
    frames = torch.from_numpy(decode_all(video_folder / "clip2.mp4")).permute(0, 3, 1, 2)
    for draw, view in enumerate(views):
        rng = generator(0, Stream.FIXED_AUGMENTATION, zlib.crc32(b"clip2.mp4"), draw)
        clip = frames[SAMPLING.train(len(frames), rng)]
        assert torch.equal(view, TRANSFORM(clip, rng))


def test_clips_depend_on_video_and_draw_only(video_folder: Path) -> None:
    rows = rows_of(video_folder)
    dataset = fixed(rows)
    views = [view for index in (0, 1) for view in views_of(dataset, index)]
    assert not any(torch.equal(views[a], views[b]) for a in range(6) for b in range(a))
    assert torch.equal(
        views_of(fixed(rows[1:]), 0),
        torch.stack(views[3:]),
    )
    (batch,) = eval_batches(dataset.with_samples(rows[:2]), 2)
    assert torch.equal(batch.video.flatten(end_dim=1), torch.stack(views))


def test_other_augmentation_changes_view_config(video_folder: Path) -> None:
    rows = rows_of(video_folder)
    unlike = replace(TRANSFORM, augment=replace(TRANSFORM.augment, flip=0.0))
    datasets = [fixed(rows), fixed(rows, 2), fixed(rows, 3, unlike)]
    configs = [dataset.views.view_config for dataset in datasets]
    assert configs[0] not in configs[1:]


def test_broken_video_is_skipped(video_folder: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_text("text")
    dataset = fixed([VideoSample(bad, (0,), "list.csv:1"), *rows_of(video_folder)], 2)
    batch = next(iter(eval_batches(dataset, 2)))
    assert batch.indices == (1,)
    assert list(batch.skipped) == [0]
    assert "list.csv:1" in batch.skipped[0]
