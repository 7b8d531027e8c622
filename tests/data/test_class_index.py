"""How labels and folders find their class."""

import pytest

from vitaclip.catalog import dataset_names, load_dataset_classes
from vitaclip.data import ClassIndex


@pytest.mark.parametrize("dataset", dataset_names())
def test_names_of_the_catalogue_find_their_wording(dataset: str) -> None:
    """Files and folders spell the name (Kinetics folders with underscores); candidates are worded for the text."""
    classes = load_dataset_classes(dataset)
    index = ClassIndex(classes.prompts)
    everyone = list(range(len(classes.names)))
    assert [index.find(name) for name in classes.names] == everyone
    assert [index.find(name.replace(" ", "_")) for name in classes.names] == everyone
    assert [index.find(name.upper()) for name in classes.names] == everyone
    by_name = ClassIndex(classes.names)
    assert [by_name.find(prompt) for prompt in classes.prompts] == everyone


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("jump rope", "jump rope"),
        ("JumpRope", "jump rope"),
        ("jump_rope", "jump rope"),
        ("Jump-Rope", "jump rope"),
        ("jump+rope", "jump rope"),
        ("HandStandPushups", "handstand pushups"),
        ("c++", "c++"),
        ("C", "c"),
        ("C++", "c++"),
        ("-1", None),
        ("1", "1"),
        ("jump ropes", None),
        ("", None),
    ],
)
def test_spellings(label: str, name: str | None) -> None:
    index = ClassIndex(["jump rope", "handstand pushups", "c", "c++", "1"])
    assert index.find(label) == (None if name is None else index.names.index(name))


def test_two_classes_that_fit_alike_are_found_only_as_they_stand() -> None:
    index = ClassIndex(["push up", "pushup", "tai chi"])
    assert [index.find(label) for label in ("push up", "pushup", "push_up")] == [0, 1, 0]
    assert index.find("PushUp") is None
    assert index.find("TaiChi") == 2
    assert index.exact("TaiChi") is None
