"""Which names are one, and how labels and folders find their class."""

import pytest

from reference_clip import reference_tokenizer
from vitaclip.catalog import dataset_names, load_dataset_classes
from vitaclip.names import ClassIndex, check_class_names, quoted, text_key


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


def test_ambiguous_spellings_find_no_class() -> None:
    index = ClassIndex(["push up", "pushup", "tai chi"])
    assert [index.find(label) for label in ("push up", "pushup", "push_up")] == [0, 1, 0]
    assert index.find("PushUp") is None
    assert index.find("TaiChi") == 2


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("red key", "red  key"),
        ("red key", "RED key"),
        ("red key", "red\u00a0key"),
        ("red key", "\uff52\uff45\uff44 key"),
        ("red key", "red&nbsp;key"),
        ("red key", "re\u200bd key"),
        ("red key", "re\u00add key"),
        ("red key", "red\x01 key"),
        ("café", "cafe\u0301"),
        ("a & b", "a &amp; b"),
    ],
)
def test_names_of_one_text_are_refused_together(name: str, other: str) -> None:
    with pytest.raises(ValueError, match="the same as") as caught:
        check_class_names(["sit", name, other], "names")
    assert repr(name) in str(caught.value)
    assert repr(other) in str(caught.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        *((["sit", blank], "names, class 1: blank class name") for blank in ("\u200b", "&nbsp;", "\x01", " ", "")),
        ("abc", "'abc' is one text"),
        ("red, green", r"give a list, \['red', 'green'\]"),
        ([], "names: no class names"),
    ],
)
def test_what_is_no_list_of_names_is_refused(names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_class_names(names, "names")


def test_underscores_and_blanks_are_two_names() -> None:
    assert check_class_names(["red_key", "red key"], "names") == ("red_key", "red key")


def test_equal_token_ids_mean_equal_names() -> None:
    """OpenAI's tokenizer decides: names whose ids are equal are duplicates, and those whose ids differ are not."""
    names = ["red key", "Red  Key", "red-key", "café", "cafe\u0301", "cafe", "&lt;", "<", "ǅ", "full", "\uff46ull"]
    ids = [reference_tokenizer().encode(name) for name in names]
    keys = [text_key(name) for name in names]
    assert [keys.index(each) for each in keys] == [ids.index(each) for each in ids]


def test_accents_are_found_in_either_form() -> None:
    index = ClassIndex(["café crème", "cafe\u0301 noir"])
    found = [index.find(label) for label in ("cafe\u0301 cre\u0300me", "Cafe\u0301_cre\u0300me", "café noir")]
    assert found == [0, 0, 1]


def test_long_names_are_quoted_short() -> None:
    assert quoted("run") == "'run'"
    assert quoted("word " * 400) == repr(("word " * 400)[:56] + " ...")
