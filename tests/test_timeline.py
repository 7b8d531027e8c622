"""The page of what happens when in a video."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from video_files import write_video
from vitaclip.moments.table import Moments, Segment
from vitaclip.report.timeline import MAX_ROWS, write_timeline

NAMES = ("a <b>heart</b> ❤ " + "very long " * 20, "key moving up")
SEGMENTS = (Segment(0.2, 1.5, NAMES[0], 0.9), Segment(1.0, 2.0, NAMES[1], 0.6))


def moments(path: Path, segments: tuple[Segment, ...] = SEGMENTS, error: str = "", steps: int = 4000) -> Moments:
    names = tuple(dict.fromkeys([*NAMES, *(each.label for each in segments)]))
    curves = np.zeros((steps, len(names)), np.float32)
    curves[steps // 2] = 0.75  # a peak of one step
    return Moments(path, 4.0, 25.0, names, segments, np.arange(steps) / steps * 4, curves, error)


class Page(HTMLParser):
    """The tags of a page with their attributes."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = file.read_text()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def values(self, tag: str, name: str) -> list[str]:
        return [value or "" for found, attributes in self.tags if found == tag and (value := attributes.get(name))]


def test_segments_link_into_the_video_beside(tmp_path: Path) -> None:
    film = write_video(tmp_path / "my film #1.mp4", frames=100)
    page = Page(write_timeline(tmp_path / "page", moments(film)))
    assert page.values("video", "src") == ["../my%20film%20%231.mp4"]
    links = [f"../my%20film%20%231.mp4#t={times}" for times in ("0.200,1.500", "1.000,2.000")]
    assert page.values("a", "href") == links * 2  # in the timeline and in the list
    assert page.values("a", "style") == [
        "left: 5.0000%; width: 32.5000%",
        "left: 25.0000%; width: 25.0000%",
    ]
    assert len(page.values("img", "src")) == 16
    assert "<b>heart" not in page.text


def test_peak_of_a_long_curve_is_drawn(tmp_path: Path) -> None:
    page = Page(write_timeline(tmp_path, moments(write_video(tmp_path / "film.mp4", frames=10))))
    points = [point.split(",") for point in page.values("polyline", "points")[0].split()]
    assert len(points) == 1000
    assert min(points, key=lambda point: float(point[1])) == ["0.5004", "0.250"]


def test_video_that_cannot_be_read_has_a_page_that_says_so(tmp_path: Path) -> None:
    page = Page(write_timeline(tmp_path, moments(tmp_path / "gone.mp4", error="it ends early")))
    assert "No film strip" in page.text
    assert "This is a part:" in page.text


def test_only_the_surest_classes_have_a_row(tmp_path: Path) -> None:
    many = tuple(Segment(0, 1, f"class {n}", n / 100) for n in range(MAX_ROWS + 6))
    page = Page(write_timeline(tmp_path, moments(tmp_path / "gone.mp4", many, steps=4)))
    assert len(page.values("polyline", "points")) == MAX_ROWS
    assert "6 more classes" in page.text


def test_page_of_others_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(ValueError, match="was not written by vitaclip"):
        write_timeline(tmp_path, moments(tmp_path / "film.mp4"))
