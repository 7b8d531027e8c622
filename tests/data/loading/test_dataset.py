"""Samples: reproducible, complete, and a policy for broken videos."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from video_files import SAMPLING, TRANSFORM, decode_all, rows_of, write_video
from vitaclip.data import (
    EvalDataset,
    EvalViews,
    FixedAugmentation,
    FrameSampling,
    IndexCache,
    ReadOptions,
    TrainClips,
    TrainDataset,
    TrainTransform,
    VideoError,
    VideoSample,
    train_batches,
)
from vitaclip.data.config import AugmentConfig, PixelAspect
from vitaclip.data.loading.dataset import OnError
from vitaclip.data.transforms.geometry import resize_short_side, spatial_views
from vitaclip.data.transforms.train import SampledTransform


def train(folder: Path, seed: int = 0, broken: tuple[int, ...] = (), on_error: OnError = "raise") -> TrainDataset:
    return TrainDataset(rows_of(folder, broken), TrainClips(SAMPLING, TRANSFORM), seed, on_error)


def test_shape_and_label(video_folder: Path) -> None:
    sample = train(video_folder)[3, 1, 4]
    assert sample.video is not None
    assert sample.video.shape == (4, 3, 24, 24)
    assert sample.video.dtype == torch.uint8
    assert sample.video.is_contiguous()
    assert sample.labels == (sample.index % 3,)
    assert sample.skipped == ()


def test_sample_depends_on_seed_step_and_index_only(video_folder: Path) -> None:
    used, fresh = train(video_folder), train(video_folder)
    for step in (7, 0, 30):  # any history
        used[step, 0, 4]
    first, again = used[5, 2, 4], fresh[5, 2, 4]
    assert first.video is not None
    assert again.video is not None
    assert first.index == again.index
    assert torch.equal(first.video, again.video)


def test_seed_changes_order_and_draws(video_folder: Path) -> None:
    orders = [[train(video_folder, seed)[0, i, 10].index for i in range(10)] for seed in (0, 1)]
    assert orders[0] != orders[1]
    # One row, so that the order cannot be what differs.
    alone = [TrainDataset(rows_of(video_folder)[:1], TrainClips(SAMPLING, TRANSFORM), seed) for seed in (0, 1)]
    videos = [dataset[0, 0, 1].video for dataset in alone]
    assert not torch.equal(videos[0], videos[1])  # type: ignore[arg-type]


def test_draws_differ_between_steps_and_between_samples(video_folder: Path) -> None:
    dataset = TrainDataset(rows_of(video_folder)[:1], TrainClips(SAMPLING, TRANSFORM), 0)
    videos = [dataset[step, i, 3].video for step in range(3) for i in range(3)]
    distinct = {video.numpy().tobytes() for video in videos if video is not None}
    assert len(distinct) == 9


@pytest.mark.parametrize("batch_size", [1, 3, 4, 25])
def test_epoch_sees_every_video_once(video_folder: Path, batch_size: int) -> None:
    dataset = train(video_folder)
    seen: list[int] = []
    step = 0
    while len(seen) < 30:
        seen += [next(dataset.candidates(step, i, batch_size))[0] for i in range(batch_size)]
        step += 1
    epochs = [seen[start : start + 10] for start in (0, 10, 20)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_corrupt_video_is_replaced_and_reported(video_folder: Path) -> None:
    dataset = train(video_folder, broken=(2, 5, 6), on_error="skip")
    samples = [dataset[0, i, 10] for i in range(10)]
    assert all(sample.video is not None and sample.index not in (2, 5, 6) for sample in samples)
    assert all(sample.labels == (sample.index % 3,) for sample in samples)
    lines = [line for sample in samples for line in sample.skipped]
    assert len(lines) >= 3
    for number in (2, 5, 6):
        assert any(line.startswith(f"list.csv:{number + 1}: ") and "does not exist" in line for line in lines)
    again = train(video_folder, broken=(2, 5, 6), on_error="skip")
    assert [again[0, i, 10].index for i in range(10)] == [sample.index for sample in samples]


def test_corrupt_video_can_stop_training(video_folder: Path) -> None:
    dataset = train(video_folder, broken=(2,))
    with pytest.raises(VideoError, match=r"^list\.csv:3: .*broken2\.mp4 does not exist") as caught:
        [dataset[0, i, 10] for i in range(10)]
    assert "\n" not in str(caught.value)


def test_all_videos_broken(video_folder: Path) -> None:
    dataset = train(video_folder, broken=tuple(range(10)), on_error="skip")
    with pytest.raises(VideoError, match=r"10 videos in a row are broken, .* the last: list\.csv"):
        dataset[0, 0, 4]


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

    def record(self: object, clip: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        seen.append(tuple(clip.shape[-2:]))
        return clip

    monkeypatch.setattr("vitaclip.data.transforms.randaugment.RandAugment.__call__", record)
    for height, width in ((90, 120), (300, 400)):
        transform(torch.zeros(2, 3, height, width, dtype=torch.uint8), np.random.default_rng(0))
    assert seen == [(90, 120), (100, 133)]


@pytest.mark.parametrize("randaugment", ["", "rand-m7-n4-mstd0.5-inc1"])
def test_frame_by_frame_transform_equals_whole_clip(
    video_folder: Path, randaugment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    transform = TrainTransform(24, AugmentConfig(flip=0.5, randaugment=randaugment))
    dataset = TrainDataset(rows_of(video_folder)[:1], TrainClips(SAMPLING, transform), 0)
    everything = torch.from_numpy(decode_all(video_folder / "clip0.mp4")).permute(0, 3, 1, 2)
    sizes = []
    frame = SampledTransform.frame

    def record(self: SampledTransform, frames: torch.Tensor) -> torch.Tensor:
        sizes.append(len(frames))
        return frame(self, frames)

    for step in range(12):
        rng = next(dataset.candidates(step, 0, 1))[1]
        expected = transform(everything[SAMPLING.train(len(everything), rng)], rng)
        with monkeypatch.context() as patch:
            patch.setattr(SampledTransform, "frame", record)
            video = dataset[step, 0, 1].video
        assert video is not None
        assert torch.equal(video, expected)
    assert sizes == [1] * 48


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"crop_scale": (0.5, 0.1)}, r"AugmentConfig\.crop_scale"),
        ({"crop_scale": (0.0, 1.0)}, r"AugmentConfig\.crop_scale"),
        ({"crop_ratio": (2.0, 1.0)}, r"AugmentConfig\.crop_ratio"),
        ({"flip": 1.5}, r"AugmentConfig\.flip = 1\.5"),
        ({"randaugment": "rand-x1"}, "part 'x1'"),
    ],
)
def test_wrong_transform(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainTransform(24, AugmentConfig(**wrong))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"TrainTransform\.size = 0"):
        TrainTransform(0)


@pytest.mark.parametrize(("temporal_views", "spatial_crops"), [(1, 1), (3, 1), (2, 3)])
def test_views_come_clip_by_clip(video_folder: Path, temporal_views: int, spatial_crops: int) -> None:
    path = video_folder / "clip9.mp4"
    views = EvalViews(SAMPLING, temporal_views, spatial_crops, 24).read(path)
    assert views.shape == (temporal_views * spatial_crops, 4, 3, 24, 24)
    assert views.is_contiguous()
    everything = torch.from_numpy(decode_all(path)).permute(0, 3, 1, 2)
    expected = []
    for indices in SAMPLING.views(len(everything), temporal_views):
        frames = resize_short_side(everything[torch.from_numpy(indices)], 24)
        expected += list(spatial_views(frames, 24, spatial_crops))
    assert torch.equal(views, torch.stack(expected))


def test_video_shorter_than_the_clip(video_folder: Path) -> None:
    views = EvalViews(FrameSampling("dense", 8, 16), 3, 1, 24).read(video_folder / "clip0.mp4")  # 20 frames
    assert views.shape == (3, 8, 3, 24, 24)
    assert torch.equal(views[0], views[2])
    assert torch.equal(views[0, 2], views[0, 7])
    assert not torch.equal(views[0, 0], views[0, 7])


def test_evaluation(video_folder: Path) -> None:
    dataset = EvalDataset(rows_of(video_folder), EvalViews(SAMPLING, 3, 1, 24))
    sample = dataset[4]
    assert sample.video is not None
    assert sample.video.shape == dataset.views.shape == (3, 4, 3, 24, 24)
    assert (sample.labels, sample.index, sample.skipped) == ((1,), 4, ())
    assert torch.equal(sample.video, EvalViews(SAMPLING, 3, 1, 24).read(video_folder / "clip4.mp4"))


@pytest.mark.parametrize("workers", [0, 2])
def test_kept_indices_change_no_sample(video_folder: Path, tmp_path: Path, workers: int) -> None:
    cache = IndexCache(tmp_path / "cache")
    kept_in = ReadOptions(index_cache=cache)
    for _ in range(2):  # the first time they are written, the second time read
        plain = train_batches(train(video_folder), 0, 3, 4, workers)
        kept = train_batches(
            TrainDataset(rows_of(video_folder), TrainClips(SAMPLING, TRANSFORM, kept_in), 0), 0, 3, 4, workers
        )
        for first, second in zip(plain, kept, strict=True):
            assert torch.equal(first.video, second.video)
    assert sum(file.is_file() for file in cache.folder.rglob("*")) == 10
    evaluated = EvalDataset(rows_of(video_folder), EvalViews(SAMPLING, 3, 1, 24, options=kept_in))[4].video
    assert evaluated is not None
    assert torch.equal(evaluated, EvalViews(SAMPLING, 3, 1, 24).read(video_folder / "clip4.mp4"))


def test_broken_video_in_evaluation(video_folder: Path) -> None:
    rows = rows_of(video_folder, broken=(4,))
    sample = EvalDataset(rows, EvalViews(SAMPLING, 3, 1, 24), on_error="skip")[4]
    assert sample.video is None
    assert sample.labels == (1,)
    assert sample.skipped[0].startswith("list.csv:5: ")
    with pytest.raises(VideoError, match="does not exist"):
        EvalDataset(rows, EvalViews(SAMPLING, 3, 1, 24))[4]


def test_wrong_calls(video_folder: Path) -> None:
    rows = rows_of(video_folder)
    with pytest.raises(ValueError, match="list of videos is empty"):
        EvalDataset([], EvalViews(SAMPLING))
    with pytest.raises(ValueError, match="on_error = 'ignore': choose raise or skip"):
        EvalDataset(rows, EvalViews(SAMPLING), on_error="ignore")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="temporal_views = 0"):
        EvalDataset(rows, EvalViews(SAMPLING, temporal_views=0))
    with pytest.raises(ValueError, match="spatial_crops = 0"):
        EvalViews(SAMPLING, spatial_crops=0).read(rows[0].path)
    with pytest.raises(ValueError, match="seed = -1"):
        TrainDataset(rows, TrainClips(SAMPLING, TRANSFORM), -1)


@pytest.mark.parametrize("aspect", ["display", "stored"])
def test_every_reader_applies_pixel_aspect(tmp_path: Path, aspect: PixelAspect) -> None:
    """As stored, a file looks like one that states square pixels and is otherwise the same."""
    wide = write_video(tmp_path / "a.mp4", pixel_aspect=Fraction(4, 3))
    square = tmp_path / "square" / "a.mp4"
    square.parent.mkdir()
    write_video(square)
    options = ReadOptions(pixel_aspect=aspect)
    clips = TrainClips(SAMPLING, TRANSFORM, options)
    readers = FixedAugmentation(clips, 2), EvalViews(SAMPLING, 1, 1, 24, options=options)
    samples = []
    for path in (wide, square):
        row = [VideoSample(path, (0,), "")]
        samples.append((TrainDataset(row, clips, 0)[0, 0, 1], *(EvalDataset(row, reader)[0] for reader in readers)))
    for of_wide, of_square in zip(*samples, strict=True):
        assert of_wide.video is not None
        assert of_square.video is not None
        assert torch.equal(of_wide.video, of_square.video) == (aspect == "stored")
