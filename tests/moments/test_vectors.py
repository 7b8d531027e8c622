"""A vector for each window of videos, against the model on the windows' own frames."""

import os
from pathlib import Path

import pytest
import torch

from video_files import decode_all
from vitaclip.data.config import DataConfig, ViewsConfig
from vitaclip.data.reading.decode import open_video
from vitaclip.moments import vectors
from vitaclip.moments.config import WindowsConfig
from vitaclip.moments.vectors import VideoVectors, hash_pictures, window_vectors
from vitaclip.moments.windows import plan_windows
from vitaclip.predictor import Predictor

WINDOWS = WindowsConfig(lengths_s=(1.0, 2.0), hop=0.5)


def vectors_of(predictor: Predictor, path: Path, windows: WindowsConfig = WINDOWS) -> VideoVectors:
    (found,) = window_vectors([path], predictor.reader, predictor.encoder, windows, predictor.data)
    return found


@pytest.mark.parametrize("windows", [WINDOWS, WindowsConfig(lengths_s=(60.0,))], ids=["windows", "shorter than one"])
def test_vector_is_that_of_the_frames_of_its_window(predictor: Predictor, film: Path, windows: WindowsConfig) -> None:
    found, frames = vectors_of(predictor, film, windows), decode_all(film)
    with open_video(film) as source:
        plan = plan_windows(source, windows if windows == WINDOWS else WindowsConfig(lengths_s=(12.0,)), 4)
    runtime, views = predictor.encoder.runtime, ViewsConfig(temporal=1, sampling="segments")
    one = Predictor(predictor.model, views=views, runtime=runtime)
    assert len(found.times) == len(plan.starts)
    for n in {0, len(found.times) // 2, len(found.times) - 1}:
        steps = plan.starts[n] + plan.offsets[plan.lengths[n]]
        shown = frames[plan.numbers[steps]]
        (expected,) = one.embed([shown])
        torch.testing.assert_close(found.vectors[n], expected.vector)
        assert (found.looks[n] == hash_pictures(one.load(shown)[0])[[0, 2, 3]]).all()
    assert found.times[0, 0] == 0
    assert found.times[-1, 1] == pytest.approx(12)


@pytest.mark.usefixtures("forked_workers")
def test_stretches_and_workers_change_nothing(
    predictor: Predictor, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = vectors_of(predictor, film)
    monkeypatch.setattr(vectors, "_STRETCH", 7)
    data = DataConfig(workers=2, eval_batch_size=5)
    (parts,) = window_vectors([film], predictor.reader, predictor.encoder, WINDOWS, data)
    torch.testing.assert_close(parts.vectors, whole.vectors)
    assert (parts.times == whole.times).all()
    assert (parts.looks == whole.looks).all()


def test_a_video_that_ends_early_has_the_windows_before(predictor: Predictor, film: Path, tmp_path: Path) -> None:
    content, cut = film.read_bytes(), tmp_path / "cut.mp4"
    cut.write_bytes(content)
    os.truncate(cut, len(content) // 2)
    found = vectors_of(predictor, cut)
    assert found.error
    assert len(found.times) == len(found.vectors)
