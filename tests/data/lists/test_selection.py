"""Which samples are trained on: K of each class, and all classes equally often."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitaclip.data.lists.sources import as_fraction, draw_shots, list_text, split_validation
from vitaclip.data.lists.video_list import VideoSample, read_list
from vitaclip.data.loading.loader import balanced_order
from vitaclip.data.sampling import Stream, generator

NAMES = ("jump", "run", "sit")


def samples_of(labels: list[int]) -> list[VideoSample]:
    return [VideoSample(Path(f"/videos/{i}.mp4"), (label,), f"list.csv:{i + 1}") for i, label in enumerate(labels)]


MANY = samples_of([0, 1, 2, 0, 0, 1, 2, 2, 1, 0, 1, 2, 0, 0, 0, 2])


@pytest.mark.parametrize("shots", [1, 2, 4])
def test_shots_are_k_of_every_class_in_order(shots: int) -> None:
    drawn = draw_shots(MANY, NAMES, shots, seed=0)
    assert Counter(sample.label for sample in drawn) == dict.fromkeys(range(3), shots)
    assert list(drawn) == [sample for sample in MANY if sample in drawn]


def test_fewer_shots_of_a_seed_are_among_more() -> None:
    assert draw_shots(MANY, NAMES, 2, seed=1) == draw_shots(MANY, NAMES, 2, seed=1)
    assert len({draw_shots(MANY, NAMES, 2, seed=seed) for seed in range(8)}) > 4
    for seed in range(8):
        assert set(draw_shots(MANY, NAMES, 2, seed)) < set(draw_shots(MANY, NAMES, 4, seed))


def test_shots_of_a_class_ignore_other_classes() -> None:
    without_last = [sample for sample in MANY if sample.label != 2]
    expected = [sample for sample in draw_shots(MANY, NAMES, 3, seed=0) if sample.label != 2]
    assert list(draw_shots(without_last, NAMES[:2], 3, seed=0)) == expected


@pytest.mark.parametrize(("shots", "count"), [(5, "4 videos"), (9, "7 videos")])
def test_classes_with_too_few_videos_are_named(shots: int, count: str) -> None:
    with pytest.raises(ValueError, match=rf"data.shots = {shots}: class '\w+' has {count}; lower data.shots"):
        draw_shots(MANY, NAMES, shots, seed=0)
    with pytest.raises(ValueError, match="class 'stand' has 0 videos"):
        draw_shots(MANY, (*NAMES, "stand"), 1, seed=0)


def test_written_lists_read_back(tmp_path: Path) -> None:
    names = ["plain.mp4", "with blank.mp4", "a, comma.mp4", 'a "quote", and more.mp4', "números 7.mp4"]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    samples = [VideoSample(tmp_path / name, (i % 3,), "") for i, name in enumerate(names)]
    (tmp_path / "train_list.csv").write_text(list_text(samples), encoding="utf-8")
    read = read_list(tmp_path / "train_list.csv", class_names=NAMES).samples
    assert [(sample.path, sample.label) for sample in read] == [(sample.path, sample.label) for sample in samples]


FILMS = {
    "v_Archery_g01": ("v_Archery_g01_c01.avi", "v_Archery_g01_c02.avi"),
    "aaaaaaaaaaa": ("aaaaaaaaaaa_000010_000020.mp4", "aaaaaaaaaaa_000030_000040.mp4"),
    "April_09_brush_hair": (
        "April_09_brush_hair_u_nm_np1_ba_goo_0.avi",
        "April_09_brush_hair_f_nm_np1_ba_med_1.avi",
    ),
    "my film": ("my film clip 3.mp4", "my film clip 12.mp4", "my film-part4.mkv"),
}


def test_clips_of_one_film_stay_together() -> None:
    film_of = {name: film for film, names in FILMS.items() for name in names}
    samples = [VideoSample(Path("/v") / name, (0,), "") for name in film_of]
    for seed in range(12):
        own, held_out = split_validation(samples, 0.5, seed)
        assert sorted([*own, *held_out], key=samples.index) == samples
        films = [{film_of[sample.path.name] for sample in part} for part in (own, held_out)]
        assert all(films)
        assert films[0].isdisjoint(films[1])


def test_a_number_is_a_fraction_or_names_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "2024").mkdir()
    assert [as_fraction(setting) for setting in ("", "2024", "0.2", 0.2)] == [None, None, 0.2, 0.2]
    with pytest.raises(ValueError, match=r"data\.val = 1\.5: give a fraction of data\.train between 0 and 1, videos"):
        as_fraction(1.5)


@pytest.mark.parametrize(("fraction", "taken"), [(0.2, [1, 1, 2, 0]), (0.5, [2, 3, 5, 0]), (0.9, [3, 4, 9, 0])])
def test_validation_takes_its_fraction_of_each_class(fraction: float, taken: list[int]) -> None:
    samples = samples_of([0] * 4 + [1] * 5 + [2] * 10 + [3])
    own, held_out = split_validation(samples, fraction, seed=0)
    counts = Counter(sample.label for sample in held_out)
    assert [counts[label] for label in range(4)] == taken
    assert {sample.label for sample in own} == {0, 1, 2, 3}
    assert split_validation(samples, fraction, seed=0) == (own, held_out)
    assert len({split_validation(samples, fraction, seed)[1] for seed in range(8)}) > 4


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(0, 1000))
def test_balanced_epochs_show_classes_equally_often(labels: list[int], seed: int) -> None:
    order = balanced_order(np.array(labels), np.random.default_rng(seed))
    assert len(order) == len(labels)
    shown = Counter(labels[sample] for sample in order)
    per_class = [shown[label] for label in set(labels)]
    assert max(per_class) - min(per_class) <= 1
    times = Counter(order.tolist())
    for label in set(labels):
        per_video = [times[sample] for sample, own in enumerate(labels) if own == label]
        assert max(per_video) - min(per_video) <= 1


def test_every_video_has_its_turn_in_mixed_order() -> None:
    labels = np.array([0] * 30 + [1] * 3)
    epochs = [balanced_order(labels, generator(0, Stream.ORDER, epoch)) for epoch in range(12)]
    assert set(np.concatenate(epochs).tolist()) == set(range(33))
    assert all(len(set(labels[order[:12]])) == 2 for order in epochs)  # not class after class
    assert not np.array_equal(epochs[0], epochs[1])


def test_purposes_have_streams_of_their_own() -> None:
    draws = {generator(0, purpose, 3).integers(2**60) for purpose in Stream}
    assert len(draws) == len(Stream)
    assert generator(0, Stream.MIX, 3).integers(2**60) != generator(1, Stream.MIX, 3).integers(2**60)
    expected = np.random.default_rng(np.random.SeedSequence(4, spawn_key=(1, 2, 3))).integers(2**60)
    assert generator(4, Stream.SAMPLE, 2, 3).integers(2**60) == expected
