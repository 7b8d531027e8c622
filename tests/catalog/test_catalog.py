"""The catalogue: counts, orders and wordings known from elsewhere, and that everything joins by name."""

import json
import random
import re
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from vitaclip import catalog
from vitaclip.catalog import (
    class_variants,
    dataset_names,
    load_dataset_classes,
    load_split,
    load_subset,
    load_templates,
    template_names,
)

SPLITS = [file.stem for file in Path(catalog.__file__).parent.glob("splits/*.json")]
COUNTS = {
    **{"activitynet200": 200, "diving48": 48, "gym99": 99, "hmdb51": 51, "jester": 27, "kinetics400": 400},
    **{"kinetics600": 600, "kinetics700": 700, "kinetics710": 710, "mit": 339, "mmit": 313, "ntu60": 60},
    **{"ssv1": 174, "ssv2": 174, "ucf101": 101},
}


def names(dataset: str) -> tuple[str, ...]:
    return load_dataset_classes(dataset).names


def test_all_data_sets_are_there() -> None:
    assert {dataset: len(names(dataset)) for dataset in dataset_names()} == COUNTS


def test_names_and_wordings_are_distinct() -> None:
    for dataset in dataset_names():
        classes = load_dataset_classes(dataset)
        for texts in (classes.names, classes.prompts):
            assert len({text.casefold() for text in texts}) == len(texts), dataset
            assert all(text and text == " ".join(text.split()) and not text.startswith("#") for text in texts)


def test_splits_and_variants_name_classes_once() -> None:
    for split in SPLITS:
        for subset in load_split(split):
            load_subset(split, subset)  # refuses an unknown name, and one that comes twice
    for dataset, variants in json.loads(Path(catalog.__file__).with_name("variants.json").read_text()).items():
        for variant in variants.values():
            named = [*variant.get("prompts", {}), *(name for pair in variant.get("swapped", []) for name in pair)]
            assert named
            load_dataset_classes(dataset).subset(named)


def test_orders_are_the_official_ones() -> None:
    for dataset in ("kinetics400", "kinetics600", "kinetics700", "hmdb51", "ssv2"):
        assert list(names(dataset)) == sorted(names(dataset)), dataset
    # UCF101's classInd.txt sorts without regard to capitals: plain sorting swaps two pairs.
    assert list(names("ucf101")) == sorted(names("ucf101"), key=str.casefold)
    assert (names("ucf101")[34:36], names("ucf101")[46]) == (("Hammering", "HammerThrow"), "JumpingJack")
    assert (names("kinetics400")[0], names("kinetics400")[399]) == ("abseiling", "zumba")
    assert names("ntu60")[0] == "drink water"


def test_fault_06_wording_of_ucf101_is_words() -> None:
    classes = load_dataset_classes("ucf101")
    for name, prompt in zip(classes.names, classes.prompts, strict=True):
        assert prompt == " ".join(re.findall("[A-Z][a-z]*", name)).lower()
    assert classes.prompts[0] == "apply eye makeup"


def test_wordings_are_names_with_blanks() -> None:
    for dataset in set(COUNTS) - {"ucf101"}:
        classes = load_dataset_classes(dataset)
        sign = {"hmdb51": "_", "mit": "+", "mmit": "+"}.get(dataset, "_")
        assert classes.prompts == tuple(name.replace(sign, " ") for name in classes.names), dataset


def test_names_with_commas_and_repeated_names_are_whole() -> None:
    with_comma = [name for name in names("ssv2") if "," in name]
    assert len(with_comma) == 12
    assert "Removing something, revealing something behind" in with_comma
    assert set(names("ssv1")) == set(names("ssv2"))
    repeated = [(i, name) for i, name in enumerate(names("gym99")) if name.startswith("(BB) salto backward tucked (")]
    assert repeated == [(i, f"(BB) salto backward tucked (class {i})") for i in (58, 70)]


def test_variants_change_only_what_they_say() -> None:
    ours, theirs = load_dataset_classes("hmdb51"), load_dataset_classes("hmdb51", "vificlip_csv")
    differing = [i for i in range(51) if ours.names[i] != theirs.names[i]]
    assert differing == [20, 21, 44, 45]
    assert theirs.names[20:22] == ("kick_ball", "kick")
    assert theirs.prompts[44:46] == ("sword exercise", "sword")
    froster = load_dataset_classes("kinetics400", "froster")
    assert froster.names == names("kinetics400")
    assert froster.prompts[14] == "barbecuing"
    assert sum(a != b for a, b in zip(froster.prompts, froster.names, strict=True)) == 8
    assert load_dataset_classes("ucf101", "open_vclip").prompts[100] == "yoyo"
    assert load_dataset_classes("ucf101", "openai").prompts[36] == "hand stand pushups"
    assert class_variants("ssv2") == {}


def test_kinetics_600_has_220_new_classes() -> None:
    unseen, renamed = set(load_split("k600_new220")["new"]), 12
    assert len(unseen) == 220
    assert unseen < set(names("kinetics600")) - set(names("kinetics400"))
    assert len(set(names("kinetics600")) - set(names("kinetics400")) - unseen) == renamed


def test_zero_shot_draws_of_kinetics_600() -> None:
    split, unseen = load_split("k600_zeroshot"), set(load_split("k600_new220")["new"])
    tested = set()
    for draw in ("split1", "split2", "split3"):
        test, rest = split[f"{draw}/test"], split[f"{draw}/rest"]
        assert (len(test), len(rest)) == (160, 60)
        assert set(test) | set(rest) == unseen
        assert list(test) == sorted(test)
        tested |= set(test)
    assert unseen - tested == set(load_split("k600_new220")["untested"])


@pytest.mark.parametrize(("dataset", "half"), [("hmdb51", 25), ("ucf101", 50)])
def test_ep1_draws_come_from_their_generator(dataset: str, half: int) -> None:
    split, generator = load_split(f"{dataset}_ep1"), random.Random(2023)
    for draw in range(10):
        numbers = list(range(COUNTS[dataset]))
        generator.shuffle(numbers)
        assert split[f"draw{draw}"] == tuple(names(dataset)[i] for i in sorted(numbers[:half]))


@pytest.mark.parametrize(
    ("dataset", "base", "novel"), [("kinetics400", 200, 200), ("hmdb51", 26, 25), ("ucf101", 51, 50), ("ssv2", 87, 87)]
)
def test_base_and_novel_part_the_classes(dataset: str, base: int, novel: int) -> None:
    split = load_split(f"{dataset}_base_novel")
    parts = split["base"], split["novel"]
    assert (len(parts[0]), len(parts[1])) == (base, novel)
    assert set(parts[0]) | set(parts[1]) == set(names(dataset))


def test_parts_carry_their_wording() -> None:
    part = load_subset("ucf101_ep1", "draw0")
    assert part.names[:2] == ("ApplyEyeMakeup", "ApplyLipstick")
    assert part.prompts[:2] == ("apply eye makeup", "apply lipstick")
    assert len(load_subset("ssv2_temporal_static", "temporal").names) == 18
    assert len(load_subset("kinetics400_temporal_static", "static").names) == 32
    assert len(SPLITS) == 10


def test_templates_follow_their_rules() -> None:
    media = ("photo", "video", "example", "demonstration")
    verbs = ("using", "doing", "during", "performing", "practicing")
    forms = ("", "a person ", *(f"a person {verb} " for verb in verbs))
    assert list(load_templates("clip28")) == [f"a {m} of {form}{{}}." for m in media for form in forms]
    rule = product(("", *(f"{verb} " for verb in verbs)), ("a", "the"), media)
    assert list(load_templates("clip48")) == [f"a {m} of {a} person {form}{{}}." for form, a, m in rule]
    assert len(load_templates("actionclip16")) == 16
    assert load_templates("actionclip16")[3] == "{}, an action"
    assert load_templates("vificlip") == ("a photo of a {}.",)
    assert load_templates("name") == ("{}",)
    assert all(text.count("{}") == 1 for name in template_names() for text in load_templates(name))
    assert set(template_names()) == {"clip28", "clip48", "actionclip16", "vificlip", "name"}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: load_dataset_classes("kinetic400"), r"'kinetic400' is no data set .*did you mean 'kinetics400'\?"),
        (lambda: load_dataset_classes("ssv2", "x"), r"'x' is no variant of ssv2; there is none"),
        (lambda: load_dataset_classes("hmdb51", "vifi"), "there is vificlip_csv"),
        (lambda: load_split("k600"), "no split of the catalogue"),
        (lambda: load_subset("k600_zeroshot", "test"), "no part of .*; there is split1/test, "),
        (lambda: load_templates("clip"), "no set of templates"),
        (lambda: load_dataset_classes("hmdb51").subset(["brush hair"]), r"no class 'brush hair' \(did you mean"),
        (lambda: load_dataset_classes("hmdb51").subset(["run", "run"]), "'run' of hmdb51 comes twice"),
    ],
)
def test_unknown_names_are_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
