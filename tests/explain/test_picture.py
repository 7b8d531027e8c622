"""The picture is measured: pixels of a colour are counted against the figures they stand for."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFont

from vitaclip.explain import canvas
from vitaclip.explain.attention import ClsAttention
from vitaclip.explain.canvas import Canvas, heat_over_frames, ramp
from vitaclip.explain.explanation import Candidate, Explanation, Neighbour
from vitaclip.explain.hiding import Hiding
from vitaclip.explain.picture import KINDS, draw_explanation

SHARES = {"patches": 0.4, "itself": 0.05, "global": 0.1, "local": 0.25, "summary": 0.2}


def explanation(frames: int = 4) -> Explanation:
    generator = torch.Generator().manual_seed(0)
    counts = {"patches": 4, "itself": 1, "global": 2, "local": frames, "summary": 1}
    weights = {kind: torch.full((2, frames, n), SHARES[kind] / n) for kind, n in counts.items()}
    return Explanation(
        path=Path("folder/video.mp4"),
        name="run",
        clip=(0, 1),
        frames=torch.randint(256, (frames, 3, 16, 16), dtype=torch.uint8, generator=generator),
        frame_numbers=tuple(range(frames)),
        attention=ClsAttention(weights),
        hiding=Hiding((0.25,) * frames, tuple(range(frames)), (0.75,) * frames),
        candidates=(Candidate("run", 0.75, 0.75, 0.5), Candidate("jump", 0.25, 0.25, 0.3)),
        neighbours=(Neighbour("jump", 0.8),),
    )


def pixels(explained: Explanation) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(draw_explanation(explained))))


def count(picture: np.ndarray, colour: str) -> int:
    return int((picture == [int(colour[i : i + 2], 16) for i in (1, 3, 5)]).all(axis=-1).sum())


def test_columns_are_as_high_as_the_shares_they_show() -> None:
    picture = pixels(explanation())
    counts = {kind: count(picture, colour) for kind, (_, colour) in KINDS.items()}
    for kind, share in SHARES.items():
        # The key's square adds to a colour, and the figures written on a column take from it.
        assert counts[kind] / sum(counts.values()) == pytest.approx(share, rel=0.12)


def test_what_hiding_loses_is_marked() -> None:
    lost = "#c2394b"
    picture, twice = (
        pixels(replace(explanation(), hiding=Hiding((left,) * 4, (0, 1, 2, 3), (0.75,) * 4))) for left in (0.5, 0.25)
    )
    assert count(twice, lost) == pytest.approx(2 * count(picture, lost), rel=0.05)
    nothing = pixels(replace(explanation(), hiding=Hiding((0.9,) * 4, (0, 1, 2, 3), (0.75,) * 4)))
    assert count(nothing, lost) == 0


def test_a_video_too_short_for_its_clip_is_marked() -> None:
    lost = "#c2394b"
    nothing_lost = replace(explanation(), hiding=Hiding((0.75,) * 4, (0, 1, 2, 3), (0.75,) * 4))
    assert count(pixels(nothing_lost), lost) == 0
    twice = replace(nothing_lost, frame_numbers=(0, 0, 1, 1))
    assert "clip of 4 frames" in twice.warning
    head = pixels(twice)[: 2 * 104]
    assert count(head, lost) > 500


def test_more_frames_and_names_make_it_higher() -> None:
    few, many = pixels(explanation(8)), pixels(explanation(9))
    assert many.shape[0] > few.shape[0]
    assert many.shape[1] == few.shape[1]
    candidates = tuple(Candidate(f"name {n}", 0.1, 0.1, 0.1) for n in range(10))
    listed = pixels(replace(explanation(8), name="name 9", candidates=candidates))
    assert listed.shape[0] > few.shape[0]


def test_heat_is_brightest_where_attention_is_most() -> None:
    heat = torch.full((2, 2, 2), 0.1)
    heat[1, 0, 1] = 0.4
    heated = heat_over_frames(torch.full((2, 3, 8, 8), 90, dtype=torch.uint8), heat, side=32)
    assert heated.shape == (2, 3, 32, 32)
    assert heated.dtype == torch.uint8
    brightness = heated.float().mean(dim=1)
    frame, place = divmod(int(brightness.argmax()), 32 * 32)
    assert (frame, place // 32 < 16, place % 32 >= 16) == (1, True, True)
    assert float(brightness[0].max() - brightness[0].min()) < 1  # grey levels


def test_colours_get_brighter_all_the_way() -> None:
    colours = ramp(torch.linspace(0, 1, 50)[None, None])[0, :, 0]
    assert bool((colours.mean(dim=0).diff() > 0).all())
    assert float(colours.min()) >= 0
    assert float(colours.max()) <= 1


def test_a_font_of_the_system_serves_other_scripts_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    own, truetype = ImageFont.load_default(40), ImageFont.truetype
    asked: list[str] = []

    def only_arial(font: object, *arguments: Any, **options: Any) -> object:
        if not isinstance(font, str):  # Pillow's own, which comes as bytes
            return truetype(font, *arguments, **options)  # type: ignore[arg-type]
        asked.append(font)
        if font == "arial.ttf":
            return own
        raise OSError("cannot open resource")

    canvas._font.cache_clear()
    monkeypatch.setattr(ImageFont, "truetype", only_arial)
    page = Canvas(100, 30)
    page.text(0, 15, "ascii", size=7)
    assert asked == []
    page.text(0, 15, "日本", size=7)
    assert asked[-1] == "arial.ttf"
    canvas._font.cache_clear()


def test_text_stays_in_its_width() -> None:
    def inked(text: str, width: float | None) -> int:
        page = Canvas(400, 30)
        page.text(0, 15, text, width=width)
        return int(np.nonzero((np.array(page.image) < 255).any(axis=(0, 2)))[0].max())

    long = "a very long name of a class " * 3
    assert inked(long, None) > 2 * 150
    assert 2 * 120 < inked(long, 150) <= 2 * 150
    assert inked("short", 150) == inked("short", None)
