"""The demo's page: every figure on it, well formed, closed in itself."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from vitaclip.miniature.report import render_report
from vitaclip.miniature.results import CurvePoint, DemoResult, Example, SplitResult, Stage

FRAME = "data:image/png;base64,AAAA"
VOID_TAGS = {"meta", "img", "br", "use", "path"}


class Page(HTMLParser):
    """Checks that tags are balanced, and collects text, tags and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open_tags: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.pieces: list[str] = []
        self.feed(html)
        self.close()
        assert self.open_tags == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID_TAGS:
            self.open_tags.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID_TAGS:
            assert self.open_tags.pop() == tag

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    @property
    def text(self) -> str:
        """All text with single blanks, no-break spaces included."""
        return " ".join("".join(self.pieces).split())


def split(top1: float, motion: float, classes: int = 216) -> SplitResult:
    confusion = np.full((8, 8), 2) + 50 * np.eye(8, dtype=int)
    return SplitResult(classes, 528, top1, top1 + 0.2, top1 + 0.3, motion, confusion.tolist())


def example(truth: str, trained: bool = True) -> Example:
    names = [(truth, 0.6125), ("blue moon growing", 0.2), ("white key moving up", 0.1)]
    return Example("test/a video.mp4", truth, trained, [FRAME] * 8, names[::-1], names)


RESULT = DemoResult(
    seed=11,
    steps=1300,
    batch_size=24,
    train_videos=1728,
    trainable_parameters=412_345,
    frozen_parameters=3_912_704,
    machine="a small machine",
    seconds={"writing videos": 21.44, "training": 214.6},
    before=Stage(split(0.0912, 0.1741), split(0.1183, 0.1604, 72)),
    after=Stage(split(0.6274, 0.6815), split(0.5076, 0.6117, 72)),
    shipped=Stage(split(0.6518, 0.9149), split(0.6019, 0.8331, 72)),
    curve=[CurvePoint(step, 5 / step, 1 - 1 / step) for step in range(1, 40)],
    examples=[example("red arrow moving left"), example("red heart shrinking", trained=False)],
)


def test_page_shows_every_figure() -> None:
    text = Page(render_report(RESULT)).text
    for share in (9.1, 11.8, 17.4, 16.0, 62.7, 50.8, 68.2, 61.2, 65.2, 91.5, 60.2, 83.3, 12.5, 0.5, 1.4):
        assert f"{share} %" in text, share
    for piece in ("412,345", "3,912,704", "1,728", "1,300 steps", "a small machine", "214.6 s", "never trained"):
        assert piece in text, piece
    assert "red heart shrinking" in text
    assert "vitaclip demo --seed 11 --steps 1300" in text
    assert "synthetic" in text
    assert text.count("Frozen CLIP wrong") == text.count("After training correct") == 2


def test_page_loads_nothing() -> None:
    html = render_report(RESULT)
    assert not re.search(r"https?://(?!www.w3.org)|@import|@font-face", html)
    page = Page(html)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 16
    assert all(image["src"] == FRAME and image["alt"] for image in images)
    charts = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(charts) == 2
    assert all(chart["aria-label"] and chart["role"] == "img" for chart in charts)


@pytest.mark.parametrize("name", ["<b>red</b> & <script>", '<i title="x">'])
def test_markup_in_names_stays_text(name: str) -> None:
    page = Page(render_report(replace(RESULT, examples=[example(name)], machine=name)))
    assert not {"b", "script", "i"} & {tag for tag, _ in page.tags}
    assert page.text.count(name) >= 2


def test_page_without_shipped_prompts() -> None:
    assert "Shipped prompts" in render_report(RESULT)
    assert "shipped prompts" not in render_report(replace(RESULT, shipped=None)).lower()
