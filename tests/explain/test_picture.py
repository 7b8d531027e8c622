"""The picture of an explanation shows its numbers."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image

from vitaclip.explain.explanation import Candidate, ClsAttention, Explanation, Neighbour, Occlusion, label_and_color
from vitaclip.explain.picture import draw_explanation, overlay_heat
from vitaclip.figures import to_png

MASS = {"patches": 0.4, "itself": 0.05, "global": 0.1, "local": 0.25, "memory": 0.2}


def explanation(frames: int = 4, **changes: Any) -> Explanation:
    generator = torch.Generator().manual_seed(0)
    counts = {"patches": 4, "itself": 1, "global": 2, "local": frames, "memory": 1}
    single = (0.25, 0.875, *[0.5] * (frames - 2)) if frames > 1 else ()
    made = Explanation(
        path=Path("folder/video.mp4"),
        name="run",
        clip=(0, 1),
        frames=torch.randint(256, (frames, 3, 16, 16), dtype=torch.uint8, generator=generator),
        frame_numbers=tuple(range(frames)),
        attention=ClsAttention({kind: torch.full((2, frames, n), MASS[kind] / n) for kind, n in counts.items()}),
        occlusion=Occlusion(single, tuple(range(frames)), (0.75,) * frames),
        candidates=(Candidate("run", 0.75, 0.75, 0.5), Candidate("$jump_", 0.25, 0.25, 0.3)),
        neighbours=(Neighbour("$jump_", -0.8),),
    )
    return replace(made, **changes)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn from here on."""
    figures: list[Figure] = []

    def keep(figure: Figure) -> bytes:
        figures.append(figure)
        return to_png(figure, 40)

    monkeypatch.setattr("vitaclip.explain.picture.to_png", keep)
    return figures


def texts(figure: Figure) -> list[str]:
    return [each.get_text() for each in figure.findobj(Text)]


def bars(figure: Figure, color: str) -> list[float]:
    patches: list[Any] = [each for axes in figure.axes for each in axes.patches if isinstance(each, Rectangle)]
    return [each.get_height() for each in patches if each.get_facecolor()[:3] == to_rgb(color)]


def test_bars_are_as_high_as_their_values(drawn: list[Figure]) -> None:
    draw_explanation(explanation())
    for kind, mass in MASS.items():
        label, color = label_and_color(kind)
        assert bars(drawn[0], color) == pytest.approx([mass] * 4)
        assert label in texts(drawn[0])
    assert texts(drawn[0]).count("40%") == 4
    assert bars(drawn[0], "#c2394b") == pytest.approx([0.5, 0, 0.25, 0.25])
    assert {"25.0%\n-50.0 points", "87.5%\n+12.5 points"} <= set(texts(drawn[0]))


def test_titles_tell_name_prediction_and_warning(drawn: list[Figure]) -> None:
    draw_explanation(explanation(frame_numbers=(0, 0, 1, 1), name="$jump_", clip=(1, 3)))
    assert {"25.0%  $jump_", "-0.80"} <= set(texts(drawn[0]))
    (about,) = [text for text in texts(drawn[0]) if "clip 2 of 3" in text]
    for expected in ("25.0% alone", "predicted: run, 75.0%", "clip of 4 frames"):
        assert expected in about


def test_more_frames_go_on_in_rows(drawn: list[Figure]) -> None:
    few, many = (Image.open(BytesIO(draw_explanation(explanation(count)))) for count in (1, 9))
    assert many.height > few.height
    assert many.width == few.width
    assert {f"frame {n}" for n in range(9)} <= set(texts(drawn[1]))
    assert len(drawn[1].findobj(AxesImage)) == 2 * 9


def test_heat_is_brightest_where_attention_is_most() -> None:
    heat = torch.full((2, 2, 2), 0.1)
    heat[1, 0, 1] = 0.4
    heated = overlay_heat(torch.full((2, 3, 8, 8), 90, dtype=torch.uint8), heat, side=32)
    assert (heated.shape, heated.dtype) == ((2, 3, 32, 32), torch.uint8)
    brightness = heated.float().mean(dim=1)
    frame, place = divmod(int(brightness.argmax()), 32 * 32)
    assert (frame, place // 32 < 16, place % 32 >= 16) == (1, True, True)
    assert float(brightness[0].max() - brightness[0].min()) < 1
