"""Videos read in their tar file: the same bytes and frames as from a file of their own."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest

from shard_files import tar_of
from video_files import decode_all, write_video
from video_kinds import KINDS
from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.decode import open_video
from vitaclip.data.reading.path import ShardMember
from vitaclip.data.reading.tar import read_shard, to_video_path


def member_of(address: str) -> ShardMember:
    (video,) = read_shard(address)[0]
    return video


@pytest.mark.parametrize(
    "name", ["h264_b_frames.mp4", "hevc.ts", "h264_open_gop.avi", "wmv2.wmv", "mpeg2.mpg", "vp9_hidden_frames.webm"]
)
def test_tar_member_gives_same_frames_as_file(name: str, tmp_path: Path) -> None:
    KINDS[name].make(tmp_path / name)
    everything = decode_all(tmp_path / name)
    suffix = Path(name).suffix
    alone = (tmp_path / name).read_bytes()
    members = {f"0{suffix}": b"not asked for", "0.cls": b"0", f"1{suffix}": alone, "1.cls": b"0", "2.txt": b"more"}
    tar = tar_of(tmp_path / "x.tar", members)
    path = [*read_shard(str(tar))[0]][1]
    assert path.open().read() == alone
    for chosen in ([0], [len(everything) - 1, len(everything) // 3], range(len(everything))):
        with open_video(path) as video:
            assert video.num_frames == len(everything)
            np.testing.assert_array_equal(video.frames(list(chosen)).permute(0, 2, 3, 1), everything[list(chosen)])


def test_member_reads_within_its_bounds(tmp_path: Path) -> None:
    member = member_of(str(tar_of(tmp_path / "x.tar", {"a.mp4": b"0123456789", "a.cls": b"0"})))
    with member.open() as file:
        assert (file.read(3), file.tell(), file.read()) == (b"012", 3, b"3456789")
        assert (file.seek(-2, io.SEEK_END), file.read(100), file.read()) == (8, b"89", b"")
        assert (file.seek(2), file.seek(3, io.SEEK_CUR), file.read(1)) == (2, 5, b"5")
        assert (file.seek(99), file.read()) == (99, b"")
    assert file.closed


def test_a_member_has_what_is_asked_of_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tar_of(tmp_path / "x.tar", {"sub/a.mp4": b"0", "sub/a.cls": b"0"})
    Path("link.tar").symlink_to("x.tar")
    member = member_of("link.tar")
    assert str(member) == "link.tar::sub/a.mp4"
    assert member.parts == ("link.tar", "sub", "a.mp4")
    assert str(member.absolute()) == f"{tmp_path}/link.tar::sub/a.mp4"
    assert str(member.resolve()) == f"{tmp_path.resolve()}/x.tar::sub/a.mp4"
    assert pickle.loads(pickle.dumps(member)) == member
    assert to_video_path("link.tar::sub/a.mp4") == member
    assert to_video_path("x.tar::sub/a.mp4", tmp_path) == member.resolve()
    assert to_video_path("some.mp4", tmp_path) == tmp_path / "some.mp4"


def test_missing_or_shrunken_tar_is_an_error(tmp_path: Path) -> None:
    tar = tar_of(tmp_path / "x.tar", {"a.mp4": write_video(tmp_path / "a.mp4").read_bytes(), "a.cls": b"0"})
    member = member_of(str(tar))
    tar.write_bytes(tar.read_bytes()[: member.offset + member.size // 2])
    with pytest.raises(VideoError, match=r"::a\.mp4 cannot be read as a video \(the tar file has become shorter\)"):
        open_video(member).__enter__()
    tar.unlink()
    with pytest.raises(VideoError, match=r"::a\.mp4 cannot be read as a video \(No such file or directory\)"):
        open_video(member).__enter__()


def test_what_is_no_video_is_a_named_error(tmp_path: Path) -> None:
    tar = tar_of(tmp_path / "x.tar", {"a.mp4": b"text", "a.cls": b"0", "b.mp4": b"", "b.cls": b"0"})
    bad, empty = read_shard(str(tar))[0]
    with pytest.raises(VideoError, match=r"x\.tar::a\.mp4 cannot be read as a video \(Invalid data"):
        open_video(bad).__enter__()
    with pytest.raises(VideoError, match=r"x\.tar::b\.mp4 is empty \(0 bytes\)"):
        open_video(empty).__enter__()
