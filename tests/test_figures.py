"""Figures as SVG and PNG: text stays text, colours can follow the page."""

from xml.etree import ElementTree as ET

from vitaclip.figures import ACCENT, INK, bars, drawing, fraction_axis, shorten, to_svg

HOSTILE = ["</svg><script>x</script>", "$x_", "🏃 & 跑步", "_hidden"]


def test_svg_keeps_hostile_names_as_text() -> None:
    with drawing(4, 3) as figure:
        axes = figure.subplots()
        bars(axes, HOSTILE, [0.0, 0.25, 0.5, 1.0])
        svg = to_svg(figure, 'says "<b>"')
    root = ET.fromstring(svg)
    texts = [each.text for each in root.iter() if each.tag.endswith("text")]
    assert texts == [*HOSTILE, "0.0%", "25.0%", "50.0%", "100.0%"]
    assert root.attrib["aria-label"] == 'says "<b>"'
    assert not [each for each in root.iter() if "script" in each.tag]


def test_svg_names_the_colours_of_the_page() -> None:
    with drawing(4, 3) as figure:
        axes = figure.subplots()
        fraction_axis(axes)
        axes.plot([0, 1], color=ACCENT)
        axes.text(0, 0, "x")
        svg = to_svg(figure, "")
    assert f"stroke: var(--accent, {ACCENT})" in svg
    assert f"fill: var(--ink, {INK})" in svg


def test_parts_of_two_figures_share_no_id() -> None:
    found = []
    for values in ([0, 1], [0, 1, 1]):
        with drawing(4, 3) as figure:
            figure.subplots().plot(values, marker="o")
            svg = to_svg(figure, str(values))
        found.append({value for each in ET.fromstring(svg).iter() for key, value in each.attrib.items() if key == "id"})
        assert all(f"#{each}" in svg for each in found[-1])
    assert found[0]
    assert not found[0] & found[1]


def test_long_names_are_shortened() -> None:
    assert shorten("a" * 40, 10) == "a" * 9 + "…"
    assert shorten("opening\n a  door") == "opening a door"
