"""What is searched for: words and their sums, pictures, clips; among which videos; and what counts as the same."""

import itertools
import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch.nn.functional as F
from PIL import Image

from search_case import WINDOWS
from video_files import decode_all, moving_texture, write_video
from vitaclip.backbones.tokenizer import Tokenizer, read_vocabulary
from vitaclip.data.config import ViewsConfig
from vitaclip.data.reading.container import VideoError
from vitaclip.predictor import Predictor
from vitaclip.search.archive import Archive
from vitaclip.search.hits import SearchFilter
from vitaclip.search.query import file_vector, text_vector, unread_words


@pytest.fixture(scope="module")
def archive(predictor: Predictor, video_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    made = Archive.open(tmp_path_factory.mktemp("made") / "archive")
    labels = {str(video_folder / "clip2.mp4"): ("a door", "a dog")}
    day = 1767268800  # noon of the first of January 2026
    os.utime(video_folder / "clip4.mp4", (day, day))
    made.add(predictor, [video_folder], WINDOWS, labels=labels)
    return made


def test_texts_are_added_and_subtracted(predictor: Predictor) -> None:
    whole = text_vector(predictor, "red heart - blue key + green fish")
    each = F.normalize(predictor.model.encode_text(["red heart", "blue key", "green fish"]).detach(), dim=-1)
    expected = F.normalize(each[0] - each[1] + each[2], dim=-1)
    assert whole == pytest.approx(expected.numpy(), abs=1e-6)
    assert text_vector(predictor, "t-shirt").shape == expected.shape


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "a text is missing"),
        ("a -  + b", "a text is missing"),
        ("red - red", "nothing is left of it"),
        ("word " * 80, "tokens, the text tower takes"),
    ],
)
def test_query_that_means_nothing_is_refused(predictor: Predictor, query: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        text_vector(predictor, query)


def test_script_that_the_vocabulary_lacks_is_said(predictor: Predictor) -> None:
    clip = Tokenizer(read_vocabulary())
    assert unread_words(clip, "a dog runs, una puerta se abre, eine Tür öffnet sich") == []
    assert unread_words(clip, "дверь 开门 문을") == ["дверь", "开门", "문을"]
    with pytest.warns(UserWarning, match="does not know the script of дверь, and spells it in bytes; ask in English"):
        text_vector(predictor, "дверь")


def test_a_picture_is_a_video_of_one_frame(predictor: Predictor, video_folder: Path, tmp_path: Path) -> None:
    frame, picture = decode_all(video_folder / "clip1.mp4")[3:4], tmp_path / "frame.png"
    Image.fromarray(frame[0]).save(picture)
    one = Predictor(predictor.model, views=ViewsConfig(temporal=1, frames=1), runtime=predictor.encoder.runtime)
    (expected,) = one.embed([frame])
    assert file_vector(predictor, picture, WINDOWS) == pytest.approx(expected.vector.numpy(), abs=1e-6)
    for wrong, message in (("none.png", "check the path"), ("bad.png", "cannot be read as a video")):
        (tmp_path / "bad.png").write_text("no picture")
        with pytest.raises(VideoError, match=message):
            file_vector(predictor, tmp_path / wrong, WINDOWS)


@pytest.mark.parametrize(
    ("only", "clips"),
    [
        (SearchFilter(path="*/clip[13].mp4"), {1, 3}),
        (SearchFilter(label="a dog"), {2}),
        (SearchFilter(longer_s=1.35), {7, 8, 9}),
        (SearchFilter(shorter_s=0.9), {0, 1}),
        (SearchFilter(since="2026-01-01", until="2026-01-01"), {4}),
        (SearchFilter(path="nowhere"), set()),
    ],
)
def test_filter_says_which_videos_are_searched(
    archive: Archive, predictor: Predictor, only: SearchFilter, clips: set[int]
) -> None:
    (found,) = archive.search(predictor, ["red heart"], 50, only)
    paths = {path for hit in found.hits for path in (hit.path, *hit.alike)}
    assert paths == {path for path in archive.store.files if int(path[-5]) in clips}


def test_windows_that_overlap_and_pictures_that_are_alike_are_one_hit(predictor: Predictor, tmp_path: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    for name, seed, crf in (("a", 1, 18), ("stored_anew", 1, 30), ("other", 2, 18)):
        # A coarse texture, as pictures have it: of fine noise no hash survives.
        pictures = list(moving_texture(40, 12, 16, seed))
        write_video(
            films / f"{name}.mp4", pictures=(p.repeat(4, 0).repeat(4, 1) for p in pictures), options={"crf": str(crf)}
        )
    shutil.copy(films / "a.mp4", films / "copy.mp4")
    archive = Archive.open(tmp_path / "archive")
    archive.add(predictor, [films], WINDOWS)
    (found,) = archive.search(predictor, [films / "a.mp4"], 100)
    groups = [{Path(path).stem for path in (hit.path, *hit.alike)} for hit in found.hits]
    assert {"a", "copy", "stored_anew"} in groups
    assert {"other"} in groups
    assert {"a", "other"} not in groups
    spans = sorted((hit.path, hit.start_s, hit.end_s) for hit in found.hits)
    assert all(a[0] != b[0] or a[2] <= b[1] for a, b in itertools.pairwise(spans))
    assert len(spans) > 4


def test_hits_are_lines_and_json(archive: Archive, predictor: Predictor) -> None:
    (found,) = archive.search(predictor, ["red heart"], 2)
    assert re.fullmatch(r"\[-?\d\.\d\d\] .*/clip\d\.mp4 @ 00:0\d-00:0\d", str(found.hits[0]))
    told = json.loads(json.dumps(found.to_dict()))
    assert told["query"] == "red heart"
    assert [each["score"] for each in told["hits"]] == sorted((hit.score for hit in found.hits), reverse=True)
