"""Captions say nothing but the truth about a still, and say enough of it."""

import re

import numpy as np
import pytest

from vitaclip.miniature import captions, world

POSE_LOW, POSE_HIGH = world.COORDINATE_LOW, world.COORDINATE_HIGH


def some_codes(rng: np.random.Generator) -> captions.Codes:
    sizes = [len(values) for values in captions.ATTRIBUTES.values()]
    sizes[captions.MOTION] += 1
    return rng.integers(sizes).astype(np.int8)


def words_in(text: str) -> dict[str, set[str]]:
    """What a caption claims, read back by patterns that know nothing of how it was made."""
    text = text.rstrip(".")
    for template in sorted(captions.TEMPLATES, key=len, reverse=True):
        text = text.removeprefix(template.rstrip(".").removesuffix("{}"))
    motion = re.findall("|".join(sorted(world.MOTIONS, key=len, reverse=True)), text)
    for found in motion:
        text = text.replace(found, "")
    direction = re.findall(r"pointing ((?:up|down)(?: left| right)?|left|right)", text)
    text = re.sub(r"pointing ((?:up|down)(?: left| right)?|left|right)", "", text)
    second = "left|right|middle|row|column"
    place = re.findall(rf"(?:at|in|on) the ((?:top|bottom|middle|left|right)(?: (?:{second}))?)", text)
    tokens = text.split()
    return {
        "colour": set(tokens) & set(world.COLOURS),
        "shape": set(tokens) & set(world.SHAPES),
        "size": set(tokens) & set(captions.SIZES),
        "motion": set(motion),
        "direction": set(direction),
        "place": set(place),
    }


def true_places(codes: captions.Codes) -> set[str]:
    row, column = captions.ROWS[codes[captions.ROW]], captions.COLUMNS[codes[captions.COLUMN]]
    row_words = {"middle row"} if row == "middle" else {row}
    column_words = {"middle column"} if column == "middle" else {column}
    both = {"middle" if row == column else f"{row} {column}" if row != "middle" else column}
    # "at the left" says the middle row, "on the left" any row: both are true of a still in the middle row.
    return row_words | column_words | both


def test_captions_tell_only_the_truth() -> None:
    rng = np.random.default_rng(0)
    for _ in range(4000):
        codes = some_codes(rng)
        caption = captions.draw_caption(rng, codes)
        claimed = words_in(caption.text)
        truth = {
            name: {values[codes[index]]} if codes[index] < len(values) else set()
            for index, (name, values) in enumerate(captions.ATTRIBUTES.items())
        }
        truth["place"] = true_places(codes)
        for name, words in claimed.items():
            assert words <= truth[name], caption.text
        for index, name in enumerate(("colour", "shape", "motion")):
            assert bool(claimed[name]) == (caption.codes[index] != captions.UNSAID), caption.text
        assert captions.caption_matches(codes[None], np.array([caption.codes], np.int8)).all()


def test_captions_are_varied_and_class_names_occur_bare() -> None:
    rng = np.random.default_rng(0)
    codes = np.array([0, 0, 0, 1, 1, 2, 3], dtype=np.int8)
    texts = [captions.draw_caption(rng, codes).text for _ in range(1000)]
    assert texts.count("red arrow moving left") > 20
    assert "a red arrow" in " ".join(texts)
    assert len(set(texts)) > 200
    assert sum("moving left" in text for text in texts) > 600


def test_equal_texts_state_equal_things() -> None:
    rng = np.random.default_rng(1)
    stated: dict[str, tuple[int, ...]] = {}
    for _ in range(20000):
        caption = captions.draw_caption(rng, some_codes(rng))
        assert stated.setdefault(caption.text, caption.codes) == caption.codes, caption.text


def test_codes_match_the_pose() -> None:
    def codes(x: float, y: float, radius: float, angle: float) -> list[int]:
        return captions.scene_codes(0, 0, None, np.array([x, y, np.log(radius), angle])).tolist()[3:]

    small, large = world.RADIUS_RANGE
    assert codes(0.27, 0.72, small, 0.0) == [0, 2, 0, 2]
    assert codes(0.73, 0.27, large, 90.0) == [2, 0, 4, 4]
    assert codes(0.5, 0.5, float(np.sqrt(small * large)), -90.0) == [1, 1, 2, 0]
    assert codes(0.5, 0.5, 0.2, -46.0)[3] == captions.DIRECTIONS.index("up left")
    assert codes(0.5, 0.5, 0.2, 40.0)[3] == captions.DIRECTIONS.index("up right")


@pytest.mark.parametrize("attribute", range(7))
def test_every_value_occurs_about_as_often_as_its_share(attribute: int) -> None:
    rng = np.random.default_rng(attribute)
    found = []
    for _ in range(3000):
        scene = world.draw_scene(rng, 0, 0, image_size=2)
        found.append(captions.scene_codes(0, 0, None, scene.rest)[attribute])
    if attribute > captions.MOTION:
        count = len(list(captions.ATTRIBUTES.values())[attribute])
        shares = np.bincount(found, minlength=count) / len(found)
        assert shares.min() > 0.3 / count
        assert shares.max() < 2.0 / count


def test_matches_by_brute_force() -> None:
    rng = np.random.default_rng(2)
    stills = np.stack([some_codes(rng) for _ in range(40)])
    said = np.array([captions.draw_caption(rng, row).codes for row in stills], dtype=np.int8)
    matches = captions.caption_matches(stills, said)
    for still, row in zip(stills, matches, strict=True):
        for caption, found in zip(said, row, strict=True):
            assert found == all(word in (captions.UNSAID, fact) for word, fact in zip(caption, still, strict=True))
    assert matches.diagonal().all()
    assert not matches.all()


def test_phrases_and_class_captions() -> None:
    rng = np.random.default_rng(0)
    phrases = captions.attribute_phrases(rng)
    assert [len(texts) for texts in phrases] == [len(values) for values in captions.ATTRIBUTES.values()]
    assert all("shape moving left" in captions.attribute_phrases(rng)[captions.MOTION][0] for _ in range(10))
    assert captions.class_caption(0) == captions.Caption("red arrow moving left", (0, 0, 0, -1, -1, -1, -1))
