"""Scanning a data set: what is bad is named, everything else goes on the clean list."""

import csv
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from misbehaving import open_or_misbehave
from video_files import write_video
from vitaclip.cli import main
from vitaclip.data.lists.sources import read_videos
from vitaclip.data.lists.video_list import read_list
from vitaclip.data.reading.container import VideoError
from vitaclip.data.tools import ScanConfig, check_video, find_targets, scan_videos, write_scan

CONFIG = ScanConfig(workers=2, time_limit_seconds=60)


@pytest.fixture
def mixed(video_folder: Path, tmp_path: Path) -> Path:
    """Good files and bad ones of several kinds, and their list with names as labels."""
    good = (video_folder / "clip0.mp4").read_bytes()
    for name in ("a.mp4", "b, c.mp4"):
        (tmp_path / name).write_bytes(good)
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "cut.mp4").write_bytes(good[: len(good) // 2])
    (tmp_path / "empty.mp4").touch()
    lines = ["a.mp4,tai chi", '"b, c.mp4","swimming, indoors"', "text.mp4,tai chi", "cut.mp4,tai chi"]
    lines += ["empty.mp4,tai chi", "none.mp4,tai chi", "a.mp4,tai chi", "a.mp4,taichix"]
    (tmp_path / "list.csv").write_text("path,label\n" + "\n".join(lines) + "\n", "utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        (".mp4", "libx264", {"movflags": "faststart"}),
        (".mkv", "libx264", {}),
        (".webm", "libvpx-vp9", {}),
        (".avi", "mpeg4", {}),
        (".mov", "mpeg4", {"movflags": "faststart"}),
        (".gif", "gif", {}),
        (".mpg", "mpeg2video", {}),
    ],
)
def test_broken_off_download_is_bad(tmp_path: Path, suffix: str, codec: str, options: dict[str, str]) -> None:
    pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
    whole = write_video(tmp_path / f"a{suffix}", codec, frames=60, pix_fmt=pix_fmt, container_options=options)
    assert check_video(whole) == 60
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    if suffix in (".gif", ".mpg"):  # these state no length: what is there is all there is
        assert check_video(cut) < 60
    else:
        with pytest.raises(VideoError, match=r"is cut off|cannot be read as a video|is damaged"):
            check_video(cut)


def test_cut_file_is_found_by_frame_count(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.avi", "mpeg4", frames=50, width=320, height=240, b_frames=0)
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(VideoError, match=r"cut\.avi is cut off \([\d.]+ of \d+ seconds\): copy it again"):
        check_video(cut)


def test_frames_hidden_by_edit_list_are_allowed(tmp_path: Path) -> None:
    source, path = write_video(tmp_path / "a.mp4"), tmp_path / "b.mp4"
    options = {"avoid_negative_ts": "disabled"}
    with av.open(str(source)) as reader, av.open(str(path), "w", options=options) as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        for packet in reader.demux(video=0):
            if packet.dts is not None and packet.pts is not None:
                packet.pts, packet.dts = packet.pts - 15 * 512, packet.dts - 15 * 512
                packet.stream = stream
                writer.mux(packet)
    assert check_video(path) == 25


def test_scan_names_problems_and_writes_clean_list(mixed: Path) -> None:
    names = ("swimming, indoors", "tai chi")
    targets = find_targets(str(mixed / "list.csv"), class_names=names)
    bad = [each for each in scan_videos(targets, CONFIG) if each]
    problems = {(entry.path.name if entry.path else "", entry.kind): entry.problem for entry in bad}
    assert set(problems) == {
        ("", "list"),  # no such class, and listed twice
        ("empty.mp4", "list"),
        ("none.mp4", "list"),
        ("text.mp4", "refused"),
        ("cut.mp4", "refused"),
    }
    unread = [entry.problem for entry in bad if entry.path is None]
    assert any(problem.startswith("list.csv:9: no class is called 'taichix'") for problem in unread)
    assert sum("is listed already at list.csv:" in problem for problem in unread) == 1
    assert all(name in problem for (name, _), problem in problems.items())
    write_scan(targets, bad, mixed / "out")
    clean = read_list(mixed / "out" / "clean.csv", class_names=names)
    assert [(row.path.name, row.label) for row in clean.samples] == [("a.mp4", 1), ("b, c.mp4", 0)]
    with (mixed / "out" / "bad.csv").open(newline="") as file:
        assert {(Path(row["path"]).name, row["kind"]) for row in csv.DictReader(file)} == set(problems)


def test_scan_survives_hangs_and_crashes(
    video_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forked_workers: None
) -> None:
    monkeypatch.setattr("vitaclip.data.tools.open_video", open_or_misbehave)
    for name in ("a", "hang", "b", "segfault", "c"):
        (tmp_path / f"{name}.mp4").write_bytes((video_folder / "clip1.mp4").read_bytes())
    found = list(scan_videos(find_targets(str(tmp_path)), ScanConfig(workers=2, time_limit_seconds=1)))
    bad = {each.path: (each.kind, each.problem) for each in found if each}
    hanging = tmp_path / "hang.mp4"
    late = f"{hanging}: took longer than the time limit: leave it out, or raise time_limit_seconds"
    assert bad.pop(hanging) == ("timed out", late)
    assert [(path, kind) for path, (kind, _) in bad.items()] == [(tmp_path / "segfault.mp4", "died")]
    assert found.count(None) == 3


def test_labels_of_folders(video_folder: Path, tmp_path: Path) -> None:
    video = (video_folder / "clip1.mp4").read_bytes()
    for name in ("tai_chi/a.mp4", "yoga/a.webm"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(video)
    (tmp_path / "yoga" / "b").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "yoga" / "b" / "img_001.jpg")
    targets = find_targets(str(tmp_path))
    assert list(scan_videos(targets, CONFIG)) == [None] * 3
    assert {sample.labels for sample in find_targets(str(tmp_path / "yoga")).samples} == {()}
    write_scan(targets, [], tmp_path / "out")
    trained = read_videos(str(tmp_path / "out" / "clean.csv"), "data.train")
    assert trained.class_names == ("tai chi", "yoga")
    named = [(sample.path.parts[-1], trained.class_names[sample.label]) for sample in trained.samples]
    assert named == [("a.mp4", "tai chi"), ("a.webm", "yoga"), ("b", "yoga")]


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no video in this folder"):
        find_targets(str(tmp_path))
    with pytest.raises(ValueError, match=r"none\.csv: cannot be read \(No such file"):
        find_targets(str(tmp_path / "none.csv"))


def test_command_writes_lists_and_tells(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["data", "scan", str(mixed / "list.csv"), "--classes", "tai chi,swimming", "--workers", "2"]
    (mixed / "list.csv").write_text("a.mp4,tai chi\ntext.mp4,0\n")
    assert main([*arguments, "--out", str(mixed / "out")]) == 1
    printed = capsys.readouterr()
    assert printed.err.count("bad: ") == 1
    assert f"bad: {mixed / 'text.mp4'} cannot be read as a video" in printed.err
    assert (mixed / "out" / "clean.csv").read_text() == f'"{mixed / "a.mp4"}","tai chi"\n'
    (mixed / "list.csv").write_text("a.mp4,0\n")
    assert main(arguments) == 0
    assert main([*arguments, "--time_limit_seconds", "0"]) == 2
    assert "must be above 0" in capsys.readouterr().err
