"""`vitaclip index` and `vitaclip search`."""

import io
import json
import re
from pathlib import Path

import pytest

from small_world import NAMES, Refusal, write_list
from vitaclip.cli import main


@pytest.fixture
def words(model_folder: Path) -> list[str]:
    return f"--model {model_folder} --lengths_s 0.4 0.8 --workers 0 --runtime.precision float32".split()


def test_archive_is_made_updated_and_searched(
    words: list[str], video_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], refusal: Refusal
) -> None:
    out, bad = str(tmp_path / "archive"), tmp_path / "bad.mp4"
    bad.write_text("no video")
    assert main(["index", str(video_folder), str(bad), *words, "--out", out]) == 1
    told = capsys.readouterr()
    assert "10 videos embedded" in told.out
    assert "10 files, and 1 damaged" in told.out
    assert "bad.mp4 cannot be read" in told.err
    assert main(["index", str(video_folder), str(bad), *words, "--out", out]) == 0
    assert "0 videos embedded, 11 as before" in capsys.readouterr().out
    clip = video_folder / "clip3.mp4"
    search = ["search", out, "red heart - blue key", "red heart", "--like", str(clip), "--workers", "0", "--top_k", "3"]
    assert main(search) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["red heart - blue key", "red heart", str(clip)]
    assert sum(line.startswith("#1 [") for line in lines) == 3
    assert main([*search, "--json", "--path", "*/clip3.mp4"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {hit["path"] for each in found for hit in each["hits"]} == {str(clip)}
    page, clips = tmp_path / "found" / "page.html", tmp_path / "clips"
    assert main([*search, "--page", str(page), "--clips", str(clips)]) == 0
    text, lines = page.read_text(), capsys.readouterr().out.splitlines()
    hits = [line for line in lines if line.startswith("#")]
    assert text.count("<img ") == 6 * len(hits)
    (link, *_) = re.findall(r'href="([^"#]*)#t=', text)
    assert (page.parent / link).resolve().parent == video_folder.resolve()
    assert len(list(clips.iterdir())) == len(hits)
    assert "would be written over" in refusal(*search, "--clips", str(clips))
    assert main(["search", out, "red heart", "--path", "nothing", "--workers", "0"]) == 0
    assert "no video fits the filters" in capsys.readouterr().out


def test_paths_on_standard_input_are_indexed(
    words: list[str],
    video_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{video_folder / 'clip1.mp4'}\n{video_folder / 'clip2.mp4'}\n"))
    assert main(["index", "-", *words, "--out", str(tmp_path / "archive")]) == 0
    assert "2 videos embedded" in capsys.readouterr().out


def test_parts_are_merged_and_labels_are_those_of_lists(
    words: list[str], world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    videos = sorted((world / "videos").rglob("*.mp4"))
    listed = write_list(tmp_path / "list.csv", [(path, NAMES[n % 2]) for n, path in enumerate(videos)])
    parts = [str(tmp_path / f"part{n}") for n in range(2)]
    for n, part in enumerate(parts):
        assert main(["index", listed, *words, "--shard", f"{n}/2", "--out", part]) == 0
    assert main(["index", *parts, "--out", str(tmp_path / "archive")]) == 0
    assert f"archive has {len(videos)} files" in capsys.readouterr().out
    search = ["search", str(tmp_path / "archive"), "red heart", "--label", NAMES[1], "--json", "--workers", "0"]
    assert main([*search, "--top_k", "100"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert {hit["path"] for hit in found["hits"]} <= {str(path) for path in videos[1::2]}


def test_mistakes_are_told_before_the_work(
    words: list[str], video_folder: Path, tmp_path: Path, refusal: Refusal
) -> None:
    archive, empty = tmp_path / "archive", tmp_path / "empty"
    empty.mkdir()
    assert "no video in this folder" in refusal("index", empty, *words, "--out", archive)
    assert "write i/n with i from 0" in refusal("index", video_folder, *words, "--shard", "2/2", "--out", archive)
    assert "holds something else than an archive" in refusal("index", video_folder, *words, "--out", tmp_path)
    assert "no archive; make one with `vitaclip index" in refusal("search", archive, "red heart")
    assert "name video files" in refusal("index", tmp_path / "none", *words, "--out", archive)
    (tmp_path / "empty").rmdir()
    assert "nothing to search for" in refusal("search", archive)


def test_archive_of_two_models_asks_for_one(
    words: list[str], world: Path, video_folder: Path, tmp_path: Path, refusal: Refusal
) -> None:
    archive, clip = tmp_path / "archive", video_folder / "clip0.mp4"
    plain = ["--backbone", str(world / "backbone"), *words[2:]]
    for model in (words, plain):
        assert main(["index", str(clip), *model, "--out", str(archive)]) == 0
    assert "rows of several models; name one of them with --model" in refusal("search", archive, "red heart")
    assert main(["search", str(archive), "red heart", "--backbone", str(world / "backbone")]) == 0
    said = refusal("search", archive, "red heart", "--model", "miniature")
    assert "no rows of miniature" in said
