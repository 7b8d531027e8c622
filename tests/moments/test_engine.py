"""Long videos: each frame is read once, windows are scored as clips are, and a stopped pass goes on."""

import signal
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from av.video.frame import VideoFrame
from torch import Tensor

import killing
from moments_case import SETTINGS, kept
from small_world import NAMES, Refusal
from torchrun import fork, status_of
from video_files import decode_all, write_video
from vitaclip.cli import main
from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.decode import Video, open_video
from vitaclip.evaluation.scoring import ViewEncoder
from vitaclip.moments import scan
from vitaclip.moments.config import MomentsConfig
from vitaclip.moments.scan import FrameRing, KeptScores, window_scores
from vitaclip.moments.segments import find_cuts
from vitaclip.moments.windows import plan_windows
from vitaclip.predictor import Predictor


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_BLOCK", 6)


def test_windows_are_scored_as_clips_are(
    predictor: Predictor, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, through_tower = list[int](), ViewEncoder.tower_features

    def noted(encoder: ViewEncoder, video: Tensor) -> Tensor:
        seen.append(video[..., 0, 0, 0].numel())
        return through_tower(encoder, video)

    monkeypatch.setattr(ViewEncoder, "tower_features", noted)
    found = predictor.moments(film, replace(SETTINGS, reject=False), scores_file=tmp_path / "scores")
    looks, pictures, expected = sum(seen), decode_all(film), list[Tensor]()
    with open_video(film) as source:
        windows = plan_windows(source, SETTINGS, 4)
    for start, length in zip(windows.starts, windows.lengths, strict=True):
        clip = pictures[windows.numbers[start + windows.offsets[length]]]
        expected.append(window_scores([predictor.decider], predictor.encode(clip)[None]))
    np.testing.assert_allclose(kept(tmp_path / "scores")[0], torch.cat(expected), rtol=1e-4)
    steps = len(windows.numbers)
    assert looks == (
        steps if predictor.model.sees_frames_alone else sum(len(windows.offsets[length]) for length in windows.lengths)
    )
    assert found.curves.shape == (steps, 3)
    assert {each.label for each in found.segments} == {*NAMES}
    assert all(0 <= each.start_s < each.end_s <= found.duration_s == 12 for each in found.segments)


def test_a_stopped_pass_goes_on(
    predictor: Predictor, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, file = predictor.moments(film, SETTINGS, scores_file=tmp_path / "whole"), tmp_path / "scores"

    def stop(done: int, total: int) -> None:
        if done * 2 > total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predictor.moments(film, SETTINGS, scores_file=file, on_progress=stop)
    file.write_bytes(file.read_bytes()[:-5])  # a row that was not written whole
    before, steps = len(file.read_bytes()), list[int]()
    again = predictor.moments(film, SETTINGS, scores_file=file, on_progress=lambda done, _: steps.append(done))
    assert 0 < before < len(file.read_bytes())
    assert steps[0] > 30
    np.testing.assert_allclose(kept(file)[0], kept(tmp_path / "whole")[0], rtol=1e-5)
    np.testing.assert_allclose(again.curves, whole.curves, rtol=1e-5)
    other = replace(SETTINGS, threshold=0.9)
    monkeypatch.setattr(ViewEncoder, "tower_features", None)  # scores alone make other segments
    assert len(predictor.moments(film, other, scores_file=file).segments) < len(whole.segments)


@pytest.mark.usefixtures("forked_workers")
def test_a_killed_command_goes_on(film: Path, model_folder: Path, tmp_path: Path) -> None:
    words = ["moments", str(film), "--model", str(model_folder), "--out", str(tmp_path / "out.csv")]
    words += ["--stride_s", "0.04"]

    def killed() -> int:
        killing.before_call(KeptScores, "add", 2, lambda *_: killing.die())
        return main(words)

    assert status_of(fork(killed)) == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == [".out.csv.0.scores"]
    assert main(words) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_a_video_that_ends_early_is_kept_and_marked(predictor: Predictor, tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.mp4", frames=300, gop=30, container_options={"movflags": "faststart"})
    whole = predictor.moments(path, SETTINGS)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    part = predictor.moments(path, SETTINGS)
    assert whole.error == ""
    assert "states 12.0 seconds and ends at" in part.error
    assert 5 < part.duration_s < 9
    assert part.segments
    assert part.times_s[-1] < 9


def test_a_video_that_fails_half_way_is_kept_and_marked(
    predictor: Predictor, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Video._convert_all

    def fail(video: Video, frames: Iterator[tuple[int, VideoFrame]]) -> Iterator[tuple[int, Tensor]]:
        for number, pixels in read(video, frames):
            if number > 150:
                raise VideoError("film.mp4 is damaged")
            yield number, pixels

    monkeypatch.setattr(Video, "_convert_all", fail)
    found = predictor.moments(film, SETTINGS)
    assert found.error == "film.mp4 is damaged"
    assert 5 < found.times_s[-1] < found.duration_s <= 6.1
    assert found.segments


@pytest.mark.parametrize("kind", ["no times", "no duration", "another size", "bunched times"])
def test_odd_files_are_searched_to_their_end(predictor: Predictor, kind: str, tmp_path: Path) -> None:
    path = tmp_path / {"no times": "film.h264", "another size": "film.ts"}.get(kind, "film.mkv")
    times = [40 * n if n < 75 else 2960 + n for n in range(150)] if kind == "bunched times" else None
    write_video(path, frames=75 if kind == "another size" else 150, gop=30, times=times)
    content = path.read_bytes()
    if kind == "no duration":
        assert content.count(b"\x44\x89\x88") == 1
        path.write_bytes(content.replace(b"\x44\x89\x88", b"\xec\x89\x88"))  # a void element of that length
    if kind == "another size":
        path.write_bytes(content + write_video(tmp_path / "b.ts", frames=75, width=32, gop=30).read_bytes())
    found = predictor.moments(path, replace(SETTINGS, reject=False))
    assert found.error == ""
    assert ("32 x 48 are brought to the first" in found.note) == (kind == "another size")
    assert found.duration_s == pytest.approx(3.13 if kind == "bunched times" else 6, abs=0.1)
    assert max(each.end_s for each in found.segments) == pytest.approx(found.duration_s)


def test_planted_cuts_are_found(predictor: Predictor, tmp_path: Path) -> None:
    rng, colours = np.random.default_rng(0), ((250, 0, 0), (0, 0, 250), (250, 250, 250), (0, 0, 0))
    pictures = [np.array(colours[n // 75], np.uint8) + rng.integers(0, 2, (48, 64, 1), np.uint8) for n in range(300)]
    film = write_video(tmp_path / "film.mp4", pictures=(np.broadcast_to(each, (48, 64, 3)) for each in pictures))
    settings = replace(SETTINGS, stride_s=0.04)
    predictor.moments(film, settings, scores_file=tmp_path / "scores")
    assert find_cuts(kept(tmp_path / "scores")[1][:, 1], 12).tolist() == [75, 150, 225]


def test_parts_tell_motion_from_cuts(predictor: Predictor) -> None:
    frames = torch.randint(0, 256, (5, 3, predictor.reader.size, predictor.reader.size), dtype=torch.uint8)
    frames[2] = frames[1]
    frames[2, :, 10:16, 12:18] = 255
    ring = FrameRing(predictor.encoder, partial(window_scores, [predictor.decider]), (), predictor.reader.size, 1)
    means = frames.double().unflatten(2, (8, -1)).unflatten(4, (8, -1)).mean(dim=(3, 5))
    changes = means.diff(dim=0).abs().mean(dim=1).flatten(1).sort(dim=1).values
    expected = torch.stack([changes[:, -4:].mean(dim=1), changes[:, 31]], dim=1)
    found = np.concatenate([ring.add([*frames[:2]]), ring.add([*frames[2:]])])
    np.testing.assert_allclose(found, np.concatenate([np.zeros((1, 2)), expected]), rtol=1e-4)
    assert found[2, 0] > 10 > found[2, 1]


def test_key_frames_alone_are_read_where_the_stride_allows(film: Path) -> None:
    with open_video(film) as source:
        sparse = plan_windows(source, MomentsConfig(lengths_s=(4.8,)), 4)
        dense = plan_windows(source, MomentsConfig(lengths_s=(4.0,)), 4)
    assert sparse.step_s == pytest.approx(1.2)
    assert sparse.numbers.tolist() == [*range(0, 300, 30)]
    np.testing.assert_allclose(sparse.times, np.arange(10) * 1.2, atol=1e-9)
    assert dense.numbers.tolist() == [*range(12, 300, 25)]


def test_wrong_requests_are_one_line(film: Path, model_folder: Path, refusal: Refusal) -> None:
    words = ["moments", str(film), "--model", str(model_folder)]
    for more, told in {
        ("--query", " "): "queries",
        ("--query", "very " * 100): "tokens",
        ("--query", "jump", "--stride_s", "13"): "lasts 12.00 seconds; give a smaller stride",
    }.items():
        assert told in refusal(*words, *more)
