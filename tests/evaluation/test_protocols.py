"""Every protocol of the package, end to end on a fake of its data set, against counting by hand."""

import csv
import hashlib
import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from fake_datasets import save_fake_model, write_fake_datasets
from small_world import Refusal
from vitaclip.catalog import load_dataset_classes, load_split, load_subset
from vitaclip.cli import main
from vitaclip.data.loading.clips import EvalViews
from vitaclip.data.sampling import frame_sampling
from vitaclip.evaluation.protocol import PROTOCOLS, load_protocol
from vitaclip.evaluation.protocol_run import TRAIN_LIST_FILE
from vitaclip.model import VideoModel


class Prediction(NamedTuple):
    """What is said of a video."""

    path: str
    label: str
    chosen: str
    probability: float


# Written out here, not read from the package: part, its lists, subset of the split.
ALL_DRAWS = [(f"draw{n}", ["train1", "test1"], f"draw{n}") for n in range(10)]
THREE_LISTS = [(f"list{n}", [f"test{n}"], "") for n in (1, 2, 3)]
BASE_NOVEL = [("base", ["TEST"], "base"), ("novel", ["TEST"], "novel")]
EXPECTED: dict[str, tuple[str, str, str, list[int], list[tuple[str, list[str], str]]]] = {
    # protocol: data set, split, what models go by, its values, parts
    "kinetics400_supervised": ("kinetics400", "", "", [], [("val", ["val"], "")]),
    "kinetics600_supervised": ("kinetics600", "", "", [], [("val", ["val"], "")]),
    "ssv2_supervised": ("ssv2", "", "", [], [("val", ["val"], "")]),
    "ucf101_supervised": ("ucf101", "", "split", [1, 2, 3], [("test", ["test{split}"], "")]),
    "hmdb51_supervised": ("hmdb51", "", "split", [1, 2, 3], [("test", ["test{split}"], "")]),
    "ucf101_zeroshot": ("ucf101", "", "", [], THREE_LISTS),
    "hmdb51_zeroshot": ("hmdb51", "", "", [], THREE_LISTS),
    "ucf101_ep1": ("ucf101", "ucf101_ep1", "", [], ALL_DRAWS),
    "hmdb51_ep1": ("hmdb51", "hmdb51_ep1", "", [], ALL_DRAWS),
    "ucf101_ep2": ("ucf101", "", "", [], [("all", ["train1", "test1"], "")]),
    "hmdb51_ep2": ("hmdb51", "", "", [], [("all", ["train1", "test1"], "")]),
    "kinetics600_zeroshot": (
        *("kinetics600", "k600_zeroshot", "", []),
        [(f"split{n}", ["val"], f"split{n}/test") for n in (1, 2, 3)],
    ),
    "kinetics600_zeroshot_lists": (
        *("kinetics600", "k600_zeroshot", "", []),
        [(f"split{n}", [f"zeroshot{n}"], f"split{n}/test") for n in (1, 2, 3)],
    ),
    "ucf101_fewshot": ("ucf101", "", "shots", [2, 4, 8, 16], [("test", ["test1"], "")]),
    "hmdb51_fewshot": ("hmdb51", "", "shots", [2, 4, 8, 16], [("test", ["test1"], "")]),
    "ssv2_fewshot": ("ssv2", "", "shots", [2, 4, 8, 16], [("val", ["val"], "")]),
    "kinetics400_base_to_novel": ("kinetics400", "kinetics400_base_novel", "seed", [1, 2, 3], BASE_NOVEL),
    "ssv2_base_to_novel": ("ssv2", "ssv2_base_novel", "seed", [1, 2, 3], BASE_NOVEL),
    "ucf101_base_to_novel": ("ucf101", "ucf101_base_novel", "seed", [1, 2, 3], BASE_NOVEL),
    "hmdb51_base_to_novel": ("hmdb51", "hmdb51_base_novel", "seed", [1, 2, 3], BASE_NOVEL),
}

TEST_LISTS = {"ucf101": "test1", "hmdb51": "test1"}
"""Of base to novel; `val` of the other data sets."""
BY_HAND = (
    *("kinetics600_zeroshot", "kinetics600_zeroshot_lists", "ucf101_supervised", "hmdb51_zeroshot", "hmdb51_ep1"),
    *("ucf101_ep2", "ssv2_fewshot", "ucf101_base_to_novel"),
)
"""One of each kind is run."""


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lists, videos, and models `runs/1` to `runs/16`."""
    return write_fake_datasets(tmp_path_factory.mktemp("fake"))


def evaluate(fake: Path, protocol: str, model: str, out: Path, *more: str, dataset: str = "") -> dict[str, Any]:
    root = fake / (dataset or EXPECTED[protocol.partition("@")[0]][0])
    arguments = ["eval", "--protocol", protocol, "--root", str(root), "--model", str(fake / "runs" / model / "model")]
    arguments += ["--workers", "0", "--runtime.precision", "float32", "--out", str(out), *more]
    assert main(arguments) == 0
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@cache
def read_clips(views: EvalViews, video: Path) -> Tensor:
    """Many parts have the same videos."""
    return views.read(video)


@torch.no_grad()
def predict_by_hand(
    root: Path, lists: list[str], names: list[str], texts: list[str], model: VideoModel, templates: list[str] | None
) -> list[Prediction]:
    """Every video of the lists, one view at a time; lists are read by Python's csv reader."""
    text = model.encode_text(texts, templates)
    sampling = frame_sampling(model.config.sampling, model.config.num_frames)
    predictions = []
    for list_name in lists:
        with (root / f"{list_name}.csv").open(newline="") as file:
            for path, label in csv.reader(file):
                if label in names:
                    clips = read_clips(EvalViews(sampling, 2, 1, model.image_size), root / path)
                    mean = torch.stack([model(clip[None], text)[0].softmax(dim=0) for clip in clips]).mean(dim=0)
                    best = int(mean.argmax())
                    predictions.append(Prediction(str(root / path), label, names[best], float(mean[best])))
    return predictions


def count_by_hand(*arguments: Any) -> tuple[int, int]:
    """Videos named right, and videos."""
    predictions = predict_by_hand(*arguments)
    return sum(each.chosen == each.label for each in predictions), len(predictions)


def test_every_protocol_is_expected_here() -> None:
    assert set(PROTOCOLS.names()) == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_protocol_says_lists_candidates_and_models(name: str) -> None:
    dataset, split, word, values, parts = EXPECTED[name]
    test, found = TEST_LISTS.get(dataset, "val"), load_protocol(name)
    lists = {part: tuple(f"{each.replace('TEST', test)}.csv" for each in given) for part, given, _ in parts}
    assert {part: each.lists for part, each in found.parts.items()} == lists
    assert {part: each.classes for part, each in found.parts.items()} == {part: of or "all" for part, _, of in parts}
    assert (found.dataset, found.split) == (dataset, split)
    assert found.models == ({word: tuple(values)} if word else {})
    several = len(parts) * max(1, len(values)) > 1 and word != "shots"
    assert found.summary == ("harmonic_mean" if "base" in lists else "mean" if several else "each")


@pytest.mark.parametrize("protocol", BY_HAND)
def test_protocol_equals_counting_by_hand(protocol: str, fake: Path, tmp_path: Path) -> None:
    dataset, split, word, values, parts = EXPECTED[protocol]
    root, test = fake / dataset, TEST_LISTS.get(dataset, "val")
    model_name, out = f"{{{word}}}" if word else "1", tmp_path / "out.json"
    found = evaluate(fake, protocol, model_name, out, "--views.temporal", "2", "--predictions", str(tmp_path / "p.csv"))
    expected: dict[str, list[float]] = {}
    records = iter(found["parts"])
    for value in values or [1]:
        model = VideoModel.from_pretrained(fake / "runs" / str(value) / "model")
        for part, lists, subset in parts:
            lists = [name.replace("TEST", test).replace("{split}", str(value)) for name in lists]
            classes = load_subset(split, subset) if subset else load_dataset_classes(dataset)
            predictions = predict_by_hand(root, lists, list(classes.names), list(classes.prompts), model, None)
            total, right = len(predictions), sum(each.chosen == each.label for each in predictions)
            assert total, "the fake holds no video for this part"
            one_of_several = f"_{part}_{word}{value}" if word else f"_{part}"
            file = tmp_path / f"p{one_of_several if len(found['parts']) > 1 else ''}.csv"
            with file.open(newline="") as lines:
                rows = [
                    (row["path"], row["class"], row["name1"], float(row["probability1"]))
                    for row in csv.DictReader(lines)
                ]
            assert [row[:3] for row in rows] == [each[:3] for each in predictions]
            assert [row[3] for row in rows] == pytest.approx([each.probability for each in predictions], abs=1e-5)
            record = next(records)
            assert (record["part"], record["values"]) == (part, {word: value} if word else {})
            assert (record["videos_listed"], record["videos_scored"], record["skipped"]) == (total, total, [])
            assert record["top1"] == pytest.approx(right / total)
            assert (record["class_names"], record["class_texts"]) == (list(classes.names), list(classes.prompts))
            confusion = Counter((each.label, each.chosen) for each in predictions)
            for true, row in zip(record["class_names"], record["confusion"], strict=True):
                for chosen, count in zip(record["class_names"], row, strict=True):
                    assert count == confusion[true, chosen]
            hashes = {f"{name}.csv": hashlib.sha256((root / f"{name}.csv").read_bytes()).hexdigest() for name in lists}
            assert record["sha256"]["lists"] == hashes
            names = "".join(f"{name}\n" for name in classes.names).encode()
            assert record["sha256"]["candidates"] == hashlib.sha256(names).hexdigest()
            expected.setdefault(part, []).append(right / total)
    assert list(records) == []
    each = [share for shares in expected.values() for share in shares]
    if "base" in expected:
        base, novel = np.mean(expected["base"]), np.mean(expected["novel"])
        harmonic = 2 * base * novel / (base + novel) if base + novel else 0
        assert found["summary"] == pytest.approx({"base": base, "novel": novel, "harmonic_mean": harmonic})
    elif len(each) > 1 and word != "shots":
        assert found["summary"] == pytest.approx({"mean": np.mean(each), "std": np.std(each)})
    else:
        assert found["summary"] == {}


def test_as_published_variant_swaps_wording_of_candidates(
    fake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The published label file of HMDB51 gives kick the text of kick ball, and sword exercise that of sword."""
    found = evaluate(fake, "hmdb51_ep2@as-published", "1", tmp_path / "out.json", "--views.temporal", "2")
    assert "variant: as-published" in capsys.readouterr().out
    assert (found["protocol"], found["variant"]) == ("hmdb51_ep2@as-published", "as-published")
    classes = load_dataset_classes("hmdb51")
    swap = {"kick": "kick ball", "kick ball": "kick", "sword": "sword exercise", "sword exercise": "sword"}
    texts = [swap.get(prompt, prompt) for prompt in classes.prompts]
    assert sum(a != b for a, b in zip(texts, classes.prompts, strict=True)) == 4
    model = VideoModel.from_pretrained(fake / "runs" / "1" / "model")
    lists = ["train1", "test1"]
    right, total = count_by_hand(fake / "hmdb51", lists, list(classes.names), texts, model, None)
    assert found["parts"][0]["top1"] == pytest.approx(right / total)
    fixed = evaluate(fake, "hmdb51_ep2", "1", tmp_path / "fixed.json", "--views.temporal", "2")
    assert fixed["parts"][0]["sha256"]["candidates"] == found["parts"][0]["sha256"]["candidates"]
    assert fixed["parts"][0]["sha256"]["texts"] != found["parts"][0]["sha256"]["texts"]


def test_own_protocol_file(fake: Path, tmp_path: Path, refusal: Refusal) -> None:
    names = sorted({"archery", "kick ball", "apply eye makeup"})
    (tmp_path / "names.txt").write_text("\n".join(names))
    clips = [fake / f"clip{n}.mp4" for n in range(4)]
    (tmp_path / "mine.csv").write_text("".join(f"{clip},{names[n % 3]}\n" for n, clip in enumerate(clips)))
    own = tmp_path / "mine.yaml"
    own.write_text("about: three names\nclasses: names.txt\nparts:\n  test: {lists: [mine.csv]}\n")
    arguments = ["eval", "--protocol", str(own), "--root", str(tmp_path), "--workers", "0"]
    arguments += ["--runtime.precision", "float32"]
    arguments += ["--backbone", str(fake / "backbone"), "--template", "a video of {}.", "--template", "a {}"]
    arguments += ["--views.temporal", "2", "--views.frames", "4", "--views.sampling", "segments"]
    assert main([*arguments, "--out", str(tmp_path / "out.json")]) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["parts"][0]["text"] == "2 templates given, frozen text tower"
    expected = hashlib.sha256(b"a video of {}.\na {}\n").hexdigest()
    assert found["parts"][0]["sha256"]["templates"] == expected
    model = VideoModel.from_backbone(str(fake / "backbone"), num_frames=4)
    right, total = count_by_hand(tmp_path, ["mine"], names, names, model, ["a video of {}.", "a {}"])
    assert (found["parts"][0]["top1"], total) == (pytest.approx(right / total), 4)
    assert "leave --classes out" in refusal(*arguments, "--classes", "ucf101")
    (tmp_path / "mine.csv").write_text(f"{clips[0]},archer\n")
    assert "no class is called 'archer' (did you mean 'archery'?)" in refusal(*arguments)


def test_each_part_has_its_report(fake: Path, tmp_path: Path) -> None:
    report, predictions = ("--report", str(tmp_path / "report")), ("--predictions", str(tmp_path / "p.csv"))
    found = evaluate(
        fake, "hmdb51_zeroshot", "1", tmp_path / "out.json", "--views.temporal", "1", *report, *predictions
    )
    assert json.loads((tmp_path / "report" / "protocol.json").read_text()) == found
    for part in ("list1", "list2", "list3"):
        folder = tmp_path / "report" / part
        assert (tmp_path / f"p_{part}.csv").read_bytes() == (folder / "predictions.csv").read_bytes()
        assert (folder / "index.html").exists()


def test_missing_lists_and_videos_are_named_first(
    fake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], refusal: Refusal
) -> None:
    arguments = ["eval", "--protocol", "ucf101_zeroshot", "--workers", "0", "--views.temporal", "1"]
    arguments += ["--model", str(fake / "runs" / "1" / "model"), "--runtime.precision", "float32"]
    for split in (1, 2):
        rows = list(csv.reader((fake / "ucf101" / f"test{split}.csv").open(newline="")))
        with (tmp_path / f"test{split}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([(fake / "ucf101" / path, label) for path, label in rows])
    assert "needs test1.csv, test2.csv, test3.csv below" in refusal(*arguments, "--root", str(tmp_path))
    message = refusal(*arguments, "--root", str(tmp_path))
    assert "test3.csv is not there; write them with `vitaclip data prepare`, or lines" in message
    assert "--root is not set; give the folder that holds test1.csv" in refusal(*arguments)
    names = load_dataset_classes("ucf101").names
    (tmp_path / "broken.avi").write_text("text")
    good = (tmp_path / "test1.csv").read_text()
    (tmp_path / "test3.csv").write_text(f"gone.avi,{names[3]}\nbroken.avi,{names[4]}\n{good}")
    out = tmp_path / "out.json"
    assert main([*arguments, "--root", str(tmp_path), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "not there" in printed
    assert "gone.avi cannot be read (No such file" in printed
    third = json.loads(out.read_text())["parts"][2]
    assert (third["videos_listed"], third["videos_scored"], len(third["skipped"])) == (8, 6, 2)
    assert third["skipped"][0].startswith("test3.csv:1: ")
    assert third["skipped"][1].startswith("test3.csv:2: ")
    assert "not there: 1 of the videos; copy" in refusal(
        *arguments, "--root", str(tmp_path), "--data.on-error", "raise"
    )
    for split in (1, 2, 3):
        (tmp_path / f"test{split}.csv").write_text(f"gone{split}.avi,{names[3]}\n")
    message = refusal(*arguments, "--root", str(tmp_path))
    assert "test1.csv: none of the 1 videos of list1 is there, such as" in message
    assert "gone1.avi; check --root" in message
    (tmp_path / "test1.csv").write_text(good)  # what is there of another part does not help the second
    assert "test2.csv: none of the 1 videos of list2 is there" in refusal(*arguments, "--root", str(tmp_path))


def test_class_numbers_are_refused_for_known_datasets(fake: Path, tmp_path: Path, refusal: Refusal) -> None:
    for split in (1, 2, 3):
        (tmp_path / f"test{split}.csv").write_text(f"{fake / 'clip0.mp4'},20\n")
    arguments = ("eval", "--protocol", "hmdb51_zeroshot", "--root", str(tmp_path), "--backbone", str(fake / "backbone"))
    assert "write the class's name, whatever the order of numbers" in refusal(*arguments)


def test_part_without_videos_is_named(fake: Path, tmp_path: Path, refusal: Refusal) -> None:
    base = load_split("ucf101_base_novel")["base"]
    (tmp_path / "test1.csv").write_text(f"{fake / 'clip0.mp4'},{base[0]}\n")
    arguments = ("eval", "--protocol", "ucf101_base_to_novel", "--root", str(tmp_path), "--workers", "0")
    message = refusal(*arguments, "--backbone", str(fake / "backbone"))
    assert "test1.csv: no video is of one of the 50 candidate classes of novel" in message


def test_training_on_tested_videos_is_refused(
    fake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], refusal: Refusal
) -> None:
    """Test list 2 holds training videos of list 1, so a few-shot model may not be tested on it."""
    for source, target in (("test2", "test1"), ("train1", "train1")):
        rows = list(csv.reader((fake / "ucf101" / f"{source}.csv").open(newline="")))
        with (tmp_path / f"{target}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([(fake / "ucf101" / path, label) for path, label in rows])
    arguments = ["eval", "--protocol", "ucf101_fewshot", "--backbone", str(fake / "backbone"), "--workers", "0"]
    assert "6 of the tested videos are in the training list train1.csv" in refusal(*arguments, "--root", str(tmp_path))
    # What the run itself says it was trained on.
    for value in (2, 4, 8, 16):
        save_fake_model(tmp_path / "runs" / str(value) / "model", fake / "backbone", value)
        lines = [f"a{n}.mp4,{n % 2}\n" for n in range(2 * value)]
        (tmp_path / "runs" / str(value) / TRAIN_LIST_FILE).write_text("".join(lines))
    arguments = ["eval", "--protocol", "ucf101_fewshot", "--root", str(fake / "ucf101"), "--workers", "0"]
    arguments += ["--model", str(tmp_path / "runs" / "{shots}" / "model"), "--views.temporal", "1"]
    assert main(arguments) == 0
    assert "no tested video is in train1.csv" in " ".join(capsys.readouterr().out.split())
    last = tmp_path / "runs" / "16" / TRAIN_LIST_FILE
    last.write_text("a.mp4,0\n")
    assert "class 0 has 1 videos, ucf101_fewshot asks for 16" in refusal(*arguments)
    tested = next(csv.reader((fake / "ucf101" / "test1.csv").open(newline="")))[0]
    last.write_text(f'"{fake / "ucf101" / tested}",0\n')
    assert "1 of the tested videos are in the training list" in refusal(*arguments)


def test_several_models_or_one_plain_clip(fake: Path, tmp_path: Path, refusal: Refusal) -> None:
    arguments = ["eval", "--protocol", "ucf101_base_to_novel", "--root", str(fake / "ucf101"), "--workers", "0"]
    message = refusal(*arguments, "--model", str(fake / "runs" / "1" / "model"))
    assert 'needs a model for each seed; write {seed} in --model, such as "runs/{seed}/model"' in message
    message = refusal(*arguments, "--model", str(fake / "runs" / "{shots}" / "model"))
    assert "{shots} stands for nothing; protocol ucf101_base_to_novel knows {seed}" in message
    (tmp_path / "runs" / "2").mkdir(parents=True)  # only one of three
    message = refusal(*arguments, "--model", str(tmp_path / "runs" / "{seed}"))
    assert f"{tmp_path / 'runs' / '1'}, {tmp_path / 'runs' / '3'} not there" in message
    out = tmp_path / "out.json"
    assert main([*arguments, "--backbone", str(fake / "backbone"), "--out", str(out)]) == 0
    parts = json.loads(out.read_text())["parts"]
    assert len({part["top1"] for part in parts if part["part"] == "base"}) == 1
    assert len(parts) == 6


PARTS = "parts: {a: {lists: [x.csv]}}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("about: [", "is not YAML"),
        ("just text", "holds no settings"),
        ("dataset: ucf101", "parts = {}: give at least one"),
        (f"{PARTS}", "give either dataset or classes"),
        (f"dataset: ucf10\n{PARTS}", "did you mean 'ucf101'?"),
        ("dataset: ucf101\nparts: {a: {list: [x.csv]}}", "Part has no field 'list'"),
        ("dataset: ucf101\nparts: {a: {lists: x.csv}}", "must be a list"),
        ("dataset: ucf101\nparts: {a: {lists: ['x{seed}.csv']}}", "gives no values for seed"),
        ("dataset: ucf101\nsplit: ucf101_ep1\nparts: {a: {lists: [x.csv], classes: draw10}}", "no part of the split"),
        ("dataset: ucf101\nparts: {a: {lists: [x.csv], classes: base}}", "split = '': name the one that has 'base'"),
        (f"dataset: ucf101\nsummary: harmonic_mean\n{PARTS}", "exactly two parts"),
        (f"classes: [a, A]\n{PARTS}", "the same as 'a'"),
        (f"classes: [a]\nmodels: {{seed: [a]}}\n{PARTS}", "models.seed = 'a': must be a whole number"),
        ("classes: [a]\nparts: {../../esc: {lists: [x.csv]}}", "'../../esc': names files; write letters"),
        ("classes: [a]\nparts: {..: {lists: [x.csv]}}", "'..': names files; write letters"),
        (f"classes: [a]\nmodels: {{../n: [1]}}\n{PARTS}", "tell models apart by one word"),
        (f"classes: [a]\nshots: many\n{PARTS}", "shots = 'many': give a number"),
        (f"classes: [a]\nvariants: {{x: y}}\n{PARTS}", "no wording of a protocol without `dataset`"),
        (f"dataset: ucf101\nvariants: {{x: y}}\n{PARTS}", "'ucf101'; there is openai, open_vclip"),
    ],
)
def test_wrong_protocols_are_one_line(content: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(content)
    with pytest.raises(ValueError) as error:  # noqa: PT011 - each case has its message
        load_protocol(str(file))
    assert message in str(error.value)
    assert str(file) in str(error.value)


def test_path_may_hold_at_sign(tmp_path: Path) -> None:
    file = tmp_path / "me@work" / "own.yaml"
    file.parent.mkdir()
    file.write_text("dataset: hmdb51\nvariants: {swapped: vificlip_csv}\nparts: {a: {lists: [x.csv]}}")
    assert load_protocol(str(file)).variant == ""
    found = load_protocol(f"{file}@swapped")
    assert (found.name, found.variant) == ("own@swapped", "swapped")


def test_unknown_protocols_and_variants_are_named(refusal: Refusal) -> None:
    assert "did you mean 'ucf101_zeroshot'?" in refusal("eval", "--protocol", "ucf101_zero", "--root", "x")
    message = refusal("eval", "--protocol", "ucf101_zeroshot@as-published", "--root", "x")
    assert "variant = 'as-published': is no variant; there is none" in message
    assert "give either videos" in refusal("eval")
    both = ("eval", "x.csv", "--protocol", "ucf101_zeroshot", "--model", "m")
    assert "give either videos" in refusal(*both)


def test_protocols_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "protocols"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in EXPECTED)
    assert "hmdb51_zeroshot@as-published" in printed
    assert main(["list", "protocols", "ucf101_zeroshot"]) == 0
    assert "list3: {lists: [test3.csv]}" in capsys.readouterr().out
