"""The picture of an explanation shows its numbers."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from vitaclip.explain.attention import ClsAttention, label_and_color
from vitaclip.explain.explanation import Candidate, Explanation, Neighbour
from vitaclip.explain.occlusion import Occlusion
from vitaclip.explain.picture import draw_explanation, film_strip
from vitaclip.figures import to_png

MASS = {"patches": 0.4, "itself": 0.05, "global": 0.1, "local": 0.25, "memory": 0.2}


def explanation(frames: int = 4, **changes: Any) -> Explanation:
    generator = torch.Generator().manual_seed(0)
    counts = {"patches": 4, "itself": 1, "global": 2, "local": frames, "memory": 1}
    made = Explanation(
        path=Path("folder/video.mp4"),
        name="run",
        clip=(0, 1),
        frames=torch.randint(256, (frames, 3, 16, 16), dtype=torch.uint8, generator=generator),
        frame_numbers=tuple(range(frames)),
        attention=ClsAttention({kind: torch.full((2, frames, n), MASS[kind] / n) for kind, n in counts.items()}),
        occlusion=Occlusion(
            (0.25, 0.875) * (frames // 2) + (0.5,) * (frames % 2), tuple(range(frames)), (0.75,) * frames
        ),
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
    return [each.get_text() for axes in figure.axes for each in axes.texts] + [each.get_text() for each in figure.texts]


def bars(figure: Figure, color: str) -> list[float]:
    from matplotlib.colors import to_rgb

    patches = [each for axes in figure.axes for each in axes.patches if isinstance(each, Rectangle)]
    return [each.get_height() for each in patches if each.get_facecolor()[:3] == to_rgb(color)]


def test_columns_are_as_high_as_their_mass(drawn: list[Figure]) -> None:
    draw_explanation(explanation())
    for kind, mass in MASS.items():
        label, color = label_and_color(kind)
        assert bars(drawn[0], color) == pytest.approx([mass] * 4)
        assert label in texts(drawn[0])
    assert texts(drawn[0]).count("40%") == 4


def test_lost_probability_is_marked(drawn: list[Figure]) -> None:
    draw_explanation(explanation())
    assert bars(drawn[0], "#c2394b") == pytest.approx([0.5, 0, 0.5, 0])
    assert texts(drawn[0]).count("25.0%\n-50.0 points") == texts(drawn[0]).count("87.5%\n+12.5 points") == 2


def test_title_tells_name_prediction_and_warning(drawn: list[Figure]) -> None:
    draw_explanation(explanation(frame_numbers=(0, 0, 1, 1), name="$jump_", clip=(1, 3)))
    assert "25.0%  $jump_" in texts(drawn[0])
    (about,) = [text for text in texts(drawn[0]) if "clip 2 of 3" in text]
    assert "25.0% alone" in about
    assert "predicted: run, 75.0%" in about
    assert any("clip of 4 frames" in text for text in texts(drawn[0]))
    assert "-0.80" in texts(drawn[0])


def test_more_frames_go_on_in_rows(drawn: list[Figure]) -> None:
    few, many = (Image.open(BytesIO(draw_explanation(explanation(count)))) for count in (8, 9))
    assert many.height > few.height
    assert many.width == few.width
    assert sum(text.startswith("frame ") for text in texts(drawn[1])) == 9


def test_film_strip_puts_frames_side_by_side() -> None:
    frames = explanation().frames
    strip = film_strip(frames, gap=0.25)
    assert strip.shape == (16, 4 * 20, 3)
    assert torch.equal(torch.from_numpy(strip[:, 20:36]), frames[1].permute(1, 2, 0))
    assert (strip[:, 16:20] == 255).all()
