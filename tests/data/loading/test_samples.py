"""Samples: reproducible, complete, and a policy for broken videos."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from video_files import SAMPLING, TRANSFORM, decode_all, rows_of, write_video
from vitaclip.data.config import AugmentConfig, PixelAspect
from vitaclip.data.lists.video_list import VideoSample
from vitaclip.data.loading.clips import EvalViews, ReadOptions, TrainClips
from vitaclip.data.loading.loader import EvalDataset, OnError, Sample, TrainDataset
from vitaclip.data.reading.container import VideoError
from vitaclip.data.transforms import FrameFit, SampledTransform, TrainTransform, spatial_views

CLIPS = TrainClips(SAMPLING, TRANSFORM)


def train(folder: Path, seed: int = 0, broken: tuple[int, ...] = (), on_error: OnError = "raise") -> TrainDataset:
    return TrainDataset(rows_of(folder, broken), CLIPS, seed, on_error)


def video_of(sample: Sample) -> Tensor:
    assert sample.video is not None
    return sample.video


def all_frames(path: Path) -> Tensor:
    return torch.from_numpy(decode_all(path)).permute(0, 3, 1, 2)


# --------------------------------------------------------------------------------------------------------- training


def test_sample_depends_on_seed_step_and_index_only(video_folder: Path) -> None:
    used, fresh = train(video_folder), train(video_folder)
    for step in (7, 0, 30):  # any history
        used[step, 0, 4]
    assert used[5, 2, 4].index == fresh[5, 2, 4].index
    assert torch.equal(video_of(used[5, 2, 4]), video_of(fresh[5, 2, 4]))


def test_seed_changes_order_and_draws(video_folder: Path) -> None:
    orders = [[train(video_folder, seed)[0, i, 10].index for i in range(10)] for seed in (0, 1)]
    assert orders[0] != orders[1]
    # One row, so that the order cannot be what differs.
    alone = [TrainDataset(rows_of(video_folder)[:1], CLIPS, seed) for seed in (0, 1)]
    assert not torch.equal(video_of(alone[0][0, 0, 1]), video_of(alone[1][0, 0, 1]))


def test_draws_differ_between_steps_and_samples(video_folder: Path) -> None:
    dataset = TrainDataset(rows_of(video_folder)[:1], CLIPS, 0)
    videos = {video_of(dataset[step, i, 3]).numpy().tobytes() for step in range(3) for i in range(3)}
    assert len(videos) == 9


@pytest.mark.parametrize("batch_size", [1, 3, 4, 25])
def test_epoch_sees_every_video_once(video_folder: Path, batch_size: int) -> None:
    dataset = train(video_folder)
    places = [divmod(position, batch_size) for position in range(30)]
    seen = [next(dataset.candidates(step, i, batch_size))[0] for step, i in places]
    epochs = [seen[start : start + 10] for start in (0, 10, 20)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_broken_video_is_replaced_and_reported(video_folder: Path) -> None:
    dataset = train(video_folder, broken=(2, 5, 6), on_error="skip")
    samples = [dataset[0, i, 10] for i in range(10)]
    assert all(sample.video is not None and sample.index not in (2, 5, 6) for sample in samples)
    assert all(sample.labels == (sample.index % 3,) for sample in samples)
    lines = [line for sample in samples for line in sample.skipped]
    for number in (2, 5, 6):
        assert any(line.startswith(f"list.csv:{number + 1}: ") and "does not exist" in line for line in lines)
    again = train(video_folder, broken=(2, 5, 6), on_error="skip")
    assert [again[0, i, 10].index for i in range(10)] == [sample.index for sample in samples]


def test_all_videos_broken(video_folder: Path) -> None:
    dataset = train(video_folder, broken=tuple(range(10)), on_error="skip")
    with pytest.raises(VideoError, match=r"again and again; `vitaclip data scan` finds all of them, such as list\.csv"):
        dataset[0, 0, 4]


def test_empty_list_is_refused() -> None:
    with pytest.raises(ValueError, match="list of videos is empty"):
        EvalDataset([], EvalViews(SAMPLING))


@pytest.mark.parametrize("randaugment", ["", "rand-m7-n4-mstd0.5-inc1"])
def test_frame_by_frame_transform_equals_whole_clip(
    video_folder: Path, randaugment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    transform = TrainTransform(24, AugmentConfig(flip=0.5, randaugment=randaugment))
    dataset = TrainDataset(rows_of(video_folder)[:1], TrainClips(SAMPLING, transform), 0)
    everything = all_frames(video_folder / "clip0.mp4")
    sizes, frame = [], SampledTransform.frame

    def record(self: SampledTransform, frames: Tensor) -> Tensor:
        sizes.append(len(frames))
        return frame(self, frames)

    for step in range(12):
        rng = next(dataset.candidates(step, 0, 1))[1]
        expected = transform(everything[SAMPLING.train(len(everything), rng)], rng)
        with monkeypatch.context() as patch:
            patch.setattr(SampledTransform, "frame", record)
            assert torch.equal(video_of(dataset[step, 0, 1]), expected)
    assert sizes == [1] * 48


# ------------------------------------------------------------------------------------------------------------ views


@pytest.mark.parametrize(("temporal_views", "spatial_crops"), [(1, 1), (3, 1), (2, 3)])
def test_views_come_clip_by_clip(video_folder: Path, temporal_views: int, spatial_crops: int) -> None:
    views = EvalViews(SAMPLING, temporal_views, spatial_crops, 24)
    read = views.read(video_folder / "clip9.mp4")
    assert read.shape == views.shape == (temporal_views * spatial_crops, 4, 3, 24, 24)
    assert read.is_contiguous()
    everything = all_frames(video_folder / "clip9.mp4")
    expected = []
    for indices in SAMPLING.views(len(everything), temporal_views):
        frames = FrameFit().resize(everything[torch.from_numpy(indices)], 24)
        expected += list(spatial_views(frames, 24, spatial_crops))
    assert torch.equal(read, torch.stack(expected))


def test_views_beyond_memory_are_refused() -> None:
    with pytest.raises(ValueError, match=r"temporal_views = 900: the views of a video have 10,800 frames together"):
        EvalViews(SAMPLING, 900, 3, 24)


@pytest.mark.parametrize("aspect", ["display", "stored"])
def test_every_reader_applies_pixel_aspect(tmp_path: Path, aspect: PixelAspect) -> None:
    """As stored, a file looks like one that states square pixels and is otherwise the same."""
    wide = write_video(tmp_path / "a.mp4", pixel_aspect=Fraction(4, 3))
    (tmp_path / "square").mkdir()
    square = write_video(tmp_path / "square" / "a.mp4")
    clips = TrainClips(SAMPLING, TRANSFORM, ReadOptions(pixel_aspect=aspect))
    views = EvalViews(SAMPLING, 1, 1, 24, options=clips.options)
    samples = []
    for path in (wide, square):
        row = [VideoSample(path, (0,), "")]
        samples.append((TrainDataset(row, clips, 0)[0, 0, 1], EvalDataset(row, views)[0]))
    for of_wide, of_square in zip(*samples, strict=True):
        assert torch.equal(video_of(of_wide), video_of(of_square)) == (aspect == "stored")


# ------------------------------------------------------------------------------------------------------ the transform


def test_transform_plain_is_crop_only() -> None:
    clip = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 30, 40), dtype=np.uint8))
    whole = TrainTransform(30, AugmentConfig(crop_scale=(1, 1), crop_ratio=(4 / 3, 4 / 3)))
    expected = torch.nn.functional.interpolate(clip, (30, 30), mode="bicubic", antialias=True)
    assert torch.equal(whole(clip, np.random.default_rng(0)), expected)
    mirrored = TrainTransform(30, AugmentConfig(crop_scale=(1, 1), crop_ratio=(4 / 3, 4 / 3), flip=1.0))
    assert torch.equal(mirrored(clip, np.random.default_rng(0)), expected.flip(-1))


def test_augmentation_sees_whole_bounded_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    transform = TrainTransform(70, AugmentConfig(randaugment="rand-m7-n1"))

    def record(self: object, clip: Tensor, rng: np.random.Generator) -> Tensor:
        seen.append(tuple(clip.shape[-2:]))
        return clip

    monkeypatch.setattr("vitaclip.data.randaugment.RandAugment.__call__", record)
    for height, width in ((90, 120), (300, 400)):
        transform(torch.zeros(2, 3, height, width, dtype=torch.uint8), np.random.default_rng(0))
    assert seen == [(90, 120), (100, 133)]
