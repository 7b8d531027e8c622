"""Folders of numbered pictures: the chosen ones alone are read, and equal those of reading all."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from video_files import SAMPLING
from vitaclip.data.config import AugmentConfig
from vitaclip.data.lists.sources import find_videos, read_folder
from vitaclip.data.lists.video_list import VideoSample
from vitaclip.data.loading.clips import TrainClips
from vitaclip.data.loading.loader import TrainDataset
from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.decode import open_video
from vitaclip.data.reading.source import is_frame_folder
from vitaclip.data.transforms import FrameFit, TrainTransform


def write_frames(folder: Path, count: int = 12, name: str = "img_{:05d}.jpg", first: int = 1, step: int = 1) -> Path:
    """Pictures that all differ."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(first, first + count * step, step):
        pixels = rng.integers(0, 255, (40, 56, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name.format(number))
    return folder


def read_all(folder: Path) -> torch.Tensor:
    """Oracle: all pictures, uint8 (n, 3, H, W)."""
    files = sorted((file for file in folder.iterdir()), key=lambda file: int("".join(filter(str.isdigit, file.stem))))
    return torch.stack([torch.from_numpy(np.array(Image.open(file).convert("RGB"))) for file in files]).permute(
        0, 3, 1, 2
    )


@pytest.mark.parametrize("name", ["img_{:05d}.jpg", "{}.png", "frame{:06d}.JPEG", "image_{:04d}.webp"])
def test_frames_equal_reading_all(tmp_path: Path, name: str) -> None:
    folder = write_frames(tmp_path / "clip", 12, name)
    with open_video(folder) as clip:
        assert (clip.num_frames, *clip.frames([0]).shape[2:]) == (12, 40, 56)
        assert torch.equal(clip.frames([11, 0, 5, 0]), read_all(folder)[[11, 0, 5, 0]])
    with open_video(write_frames(tmp_path / "every_tenth", 5, name, first=0, step=10)) as clip:
        assert clip.num_frames == 5


def test_only_chosen_frames_are_read(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "clip")
    for number in (1, 2, 9):
        (folder / f"img_{number:05d}.jpg").write_text("no picture")
    with open_video(folder) as clip:
        assert clip.frames([2, 5]).shape == (2, 3, 40, 56)
        assert not clip.replaced


def test_transform_runs_as_each_picture_is_read(tmp_path: Path) -> None:
    folder, shapes = write_frames(tmp_path / "clip"), []

    def shrink(pictures: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(pictures.shape))
        return FrameFit().resize(pictures, 20)

    with open_video(folder) as clip:
        shrunk = clip.frames([11, 0, 5, 0], shrink)
    assert shapes == [(1, 3, 40, 56)] * 3  # each once, alone
    assert torch.equal(shrunk, FrameFit().resize(read_all(folder)[[11, 0, 5, 0]], 20))
    Image.fromarray(np.zeros((60, 60, 3), np.uint8)).save(folder / "img_00002.jpg")
    with pytest.raises(VideoError, match="holds pictures of several sizes"), open_video(folder) as clip:
        clip.frames([0, 1], lambda pictures: pictures[..., :8, :8])


def test_lossless_video_equals_its_pictures(video_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    with open_video(video_folder / "clip3.mp4") as video:
        for number, frame in enumerate(video.frames(range(video.num_frames))):
            Image.fromarray(frame.permute(1, 2, 0).numpy()).save(tmp_path / "clip" / f"{number}.png")
    transform = TrainTransform(24, AugmentConfig(flip=0.5, randaugment="rand-m7-n4-mstd0.5-inc1"))
    for step in range(3):
        samples = [
            TrainDataset([VideoSample(path, (0,), "list.csv:1")], TrainClips(SAMPLING, transform), 0)[step, 0, 1].video
            for path in (video_folder / "clip3.mp4", tmp_path / "clip")
        ]
        assert torch.equal(samples[0], samples[1])  # type: ignore[arg-type]


def test_what_counts_as_a_frame_folder(tmp_path: Path, video_folder: Path) -> None:
    write_frames(tmp_path / "root" / "tai_chi" / "clip1")
    (tmp_path / "root" / "tai_chi" / "clip2.mp4").write_bytes((video_folder / "clip0.mp4").read_bytes())
    (tmp_path / "root" / "tai_chi" / "notes").mkdir()
    write_frames(tmp_path / "root" / "tai_chi" / ".cache")
    rows = read_folder(tmp_path / "root").samples
    assert [row.path.name for row in rows] == ["clip1", "clip2.mp4"]
    assert find_videos([tmp_path / "root" / "tai_chi" / "clip1"]) == [tmp_path / "root" / "tai_chi" / "clip1"]
    assert not is_frame_folder(tmp_path / "none")


def test_optical_flow_beside_the_frames_is_left_alone(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "clip", 5)
    frames = read_all(folder)
    for name in ("flow_x_{:05d}.jpg", "flow_y_{:05d}.jpg"):
        write_frames(folder, 4, name)
    with open_video(folder) as clip:
        assert torch.equal(clip.frames(range(5)), frames)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("gap", r"gaps in the numbers of its pictures: extract the frames again"),
        ("twice", r"two pictures of one number"),
        ("kinds", r"several kinds of numbered pictures \(img_\*, other_\*\): leave one kind"),
        ("cut", r"img_00001\.jpg cannot be read as a picture"),
    ],
)
def test_bad_folders(tmp_path: Path, change: str, message: str) -> None:
    folder = write_frames(tmp_path / "clip")
    third = folder / "img_00003.jpg"
    if change == "gap":
        third.unlink()
    elif change == "twice":
        write_frames(folder, 1, "img_{:04d}.jpg", first=3)
    elif change == "kinds":
        write_frames(folder, 3, "other_{}.jpg")
    elif change == "cut":
        for picture in folder.iterdir():
            picture.write_bytes(picture.read_bytes()[:700])
    with pytest.raises(VideoError, match=message) as caught, open_video(folder) as clip:
        clip.frames(range(12))
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_nearest_picture_stands_in_for_a_damaged_one(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "clip")
    frames, files = read_all(folder), sorted(folder.iterdir())
    for number in (0, 4, 5):
        files[number].write_bytes(files[number].read_bytes()[:700])
    with open_video(folder) as clip:
        found = clip.frames(range(12))
        assert clip.replaced == {0, 4, 5}
    assert torch.equal(found, frames[[1, 1, 2, 3, 3, 6, *range(6, 12)]])


def test_sixteen_bits_of_grey_become_eight(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 65_536, (24, 32), dtype=np.uint16)
    Image.fromarray(grey).save(tmp_path / "1.png")
    with open_video(tmp_path) as clip:
        shown = clip.frames([0])[0].numpy()
    np.testing.assert_allclose(shown, np.broadcast_to(grey * (255 / 65_535), (3, 24, 32)), atol=1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_they_say(tmp_path: Path, orientation: int) -> None:
    """The eight cases of the EXIF standard: where the stored first row and first column are shown."""
    stored = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "1.png", exif=exif)
    turned = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: stored[::-1].transpose(1, 0, 2),
        7: stored[::-1, ::-1].transpose(1, 0, 2),
        8: stored[:, ::-1].transpose(1, 0, 2),
    }
    with open_video(tmp_path) as clip:
        np.testing.assert_array_equal(clip.frames([0])[0].permute(1, 2, 0).numpy(), turned[orientation])
