"""The demo's page: complete, closed in itself, well formed."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from vitaclip.evaluate.report.page import HEAT_LEVELS, frame_to_png_uri, heat_table
from vitaclip.miniature import world
from vitaclip.miniature.report import guesses, render_report
from vitaclip.miniature.results import CurvePoint, DemoResult, Example, SplitResult, Stage

VOID_TAGS = {"meta", "img", "br", "link", "input", "hr", "source"}


class Page(HTMLParser):
    """Checks that tags are balanced, and gathers text, tags and attributes."""

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
        assert self.open_tags.pop() == tag

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    @property
    def text(self) -> str:
        """All text with single blanks, no-break spaces included."""
        return " ".join("".join(self.pieces).split())

    def count(self, tag: str, **attributes: str) -> int:
        return sum(tag == name and attributes.items() <= found.items() for name, found in self.tags)


def split(top1: float, motion: float, classes: int = 216) -> SplitResult:
    confusion = np.full((8, 8), 2) + 50 * np.eye(8, dtype=int)
    return SplitResult(classes, 528, top1, top1 + 0.2, top1 + 0.3, motion, confusion.tolist())


def example(truth: str, trained: bool = True) -> Example:
    names = [
        (truth, 0.6125),
        ("blue moon growing", 0.2),
        ("white key moving up", 0.1),
        ("green flag shrinking", 0.05),
    ]
    frames = world.render_video(0, 5, 0, image_size=32, frame_count=8)
    uris = [frame_to_png_uri(frame.transpose(2, 0, 1)) for frame in frames]
    return Example("test/a video.mp4", truth, trained, uris, [*names[1:3], names[0], names[3]], names)


def result() -> DemoResult:
    return DemoResult(
        seed=11,
        steps=1300,
        batch_size=24,
        train_videos=1728,
        trainable_parameters=412_345,
        frozen_parameters=3_912_704,
        machine="a small machine",
        seconds={"write the videos": 21.44, "train the prompts": 214.6},
        before=Stage(split(0.0912, 0.1741), split(0.1183, 0.1604, 72)),
        after=Stage(split(0.6274, 0.6815), split(0.5076, 0.6117, 72)),
        shipped=Stage(split(0.6518, 0.9149), split(0.6019, 0.8331, 72)),
        curve=[CurvePoint(step, 5 / step, 1 - 1 / step) for step in range(1, 40)],
        examples=[example("red arrow moving left"), example("red heart shrinking", trained=False)],
    )


def test_the_page_tells_every_name_and_figure() -> None:
    text = Page(render_report(result())).text
    for figure in (
        "9.1",
        "11.8",
        "17.4",
        "16.0",
        "62.7",
        "50.8",
        "68.2",
        "61.2",
        "65.2",
        "91.5",
        "60.2",
        "83.3",
    ):
        assert f"{figure} %" in text, figure
    for figure in ("12.5 %", "0.5 %", "1.4 %"):
        assert f"chance {figure}" in text, figure
    for name in (
        "red arrow moving left",
        "red heart shrinking",
        "blue moon growing",
        "white key moving up",
        "61.2 %",
    ):
        assert name in text, name
    assert "green flag shrinking" not in text  # the fourth best of both models
    for piece in ("412,345", "3,912,704", "1,728", "1,300 steps", "a small machine", "214.6 s", "236.0 s"):
        assert piece in text, piece
    assert "vitaclip demo --seed 11 --steps 1300" in text
    assert "synthetic" in text


def test_the_page_says_which_examples_were_named_right() -> None:
    html = render_report(result())
    page = Page(html)
    assert "Frozen CLIP names 0 of these 2 right, the trained model 2" in page.text
    assert page.count("span", **{"class": "verdict right"}) == 2
    assert page.count("span", **{"class": "verdict wrong"}) == 2
    assert page.count("span", **{"class": "tag"}) == 1
    assert page.count("span", **{"class": "tag novel"}) == 1


def test_nothing_is_loaded_from_anywhere() -> None:
    html = render_report(result())
    assert not re.search(r"https?://|//www|@import|@font-face", html)
    page = Page(html)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    sources = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")]
    assert len(sources) == 16
    assert all(source is not None and source.startswith("data:image/png;base64,") for source in sources)


def test_the_page_can_be_read_aloud() -> None:
    page = Page(render_report(result()))
    assert page.tags[0] == ("html", {"lang": "en"})
    assert page.count("h1") == page.count("title") == 1
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    charts = [attributes for tag, attributes in page.tags if tag == "svg" and attributes.get("class") == "chart"]
    assert len(charts) == 4
    assert all(chart["aria-label"] and chart["role"] == "img" for chart in charts)


def test_markup_in_names_stays_text() -> None:
    sly = "<b>red</b> & <script>"
    html = render_report(replace(result(), examples=[example(sly)], machine='<i title="x">', seconds={"<u>": 1.0}))
    page = Page(html)
    assert not {"b", "script", "i", "u"} & {tag for tag, _ in page.tags}
    assert sly in page.text


def test_a_probability_that_is_no_number_has_no_bar() -> None:
    video = replace(example("red heart growing"), after=[("red heart growing", float("nan"))])
    html = render_report(replace(result(), examples=[video]))
    assert 'class="after" style="width:0%"' in html
    assert 'class="before" style="width:20.0%"' in html


def test_shipped_prompts_are_left_out_where_there_are_none() -> None:
    with_them, without = render_report(result()), render_report(replace(result(), shipped=None))
    assert "Shipped prompts" in Page(with_them).text
    assert "shipped prompts" not in Page(without).text.lower()
    assert with_them.count('class="shipped"') == 8


def test_a_run_with_hardly_anything_in_it_makes_a_page() -> None:
    empty = SplitResult(0, 0, 0.0, 0.0, 0.0, float("nan"), [[0] * 8 for _ in range(8)])
    stage = Stage(empty, empty)
    poor = replace(
        result(),
        steps=1,
        before=stage,
        after=stage,
        shipped=stage,
        curve=[CurvePoint(1, float("nan"), 0.0)],
        examples=[],
        seconds={},
        trainable_parameters=0,
        frozen_parameters=0,
    )
    html = render_report(poor)
    text = Page(html).text
    assert "1 step of prompt training" in text
    assert "Some test videos" not in text
    assert not re.search(r"\bnan\b", html)


def test_twelve_examples_stay_below_a_megabyte() -> None:
    busy = [
        Example("a.mp4", name, True, pictures(class_id), [(name, 1.0)], [(name, 1.0)])
        for class_id, name in enumerate(world.class_names()[:12])
    ]
    assert len(render_report(replace(result(), examples=busy)).encode()) < 1_000_000


def pictures(class_id: int) -> list[str]:
    frames = world.render_video(1, class_id, 0, frame_count=8)
    return [frame_to_png_uri(frame.transpose(2, 0, 1)) for frame in frames]


def test_heat_cells_are_shares_of_their_row() -> None:
    cells = heat_table([[3, 1], [0, 0]])
    assert [[cell.text for cell in row] for row in cells] == [["75", "25"], ["\u2013", "\u2013"]]
    assert [[cell.right for cell in row] for row in cells] == [[True, False], [False, True]]
    assert heat_table([[5, 0], [0, 1]])[0][0].level == HEAT_LEVELS - 1
    assert heat_table([[5, 0], [0, 1]])[0][1].level == 0


def test_every_heat_level_has_a_colour() -> None:
    html = render_report(result())
    assert all(f".h{level} {{" in html and f"--h{level}:" in html for level in range(HEAT_LEVELS))
    assert f"--h{HEAT_LEVELS}:" not in html


def test_guesses_are_compared_word_by_word() -> None:
    video = example("red arrow moving left")
    first, *_ = guesses(video, [("red moon moving right", 0.5)])
    assert first.words == [("red", True), ("moon", False), ("moving", True), ("right", False)]
    assert not first.right
    assert guesses(video, [("red arrow moving left", 0.5)])[0].right


def decoded(uri: str) -> np.ndarray:
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def test_a_frame_with_few_colours_comes_back_exactly() -> None:
    frame = np.zeros((3, 5, 7), dtype=np.uint8)
    frame[0, 1, 2] = 255
    frame[2, 4, 6] = 200
    for given in (frame, torch.from_numpy(frame)):
        np.testing.assert_array_equal(decoded(frame_to_png_uri(given)), frame.transpose(1, 2, 0))


def test_a_rendered_frame_stays_close_and_a_large_one_is_made_smaller() -> None:
    frame = world.render_video(0, 30, 0)[0]
    difference = decoded(frame_to_png_uri(frame.transpose(2, 0, 1))).astype(int) - frame
    assert np.abs(difference).mean() < 4
    large = np.zeros((3, 100, 200), dtype=np.uint8)
    assert decoded(frame_to_png_uri(large)).shape == (48, 96, 3)


@pytest.mark.parametrize("frame", [np.zeros((3, 4, 4)), np.zeros((4, 4, 3), np.uint8), torch.zeros(3, 4)])
def test_what_is_no_frame_is_refused(frame: np.ndarray) -> None:
    with pytest.raises(ValueError, match="pass uint8 of shape"):
        frame_to_png_uri(frame)
