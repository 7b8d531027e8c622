"""The checks of class names, on names whose faults are known."""

from pathlib import Path

import pytest

from fake_datasets import write_words_backbone
from tiny import learned_text, tiny_model, tiny_tokenizer
from vitaclip.backbones import Tokenizer
from vitaclip.backbones.bpe import bpe_of_merges
from vitaclip.catalog import load_dataset_classes
from vitaclip.cli import main
from vitaclip.evaluate.class_names import check_classes, check_names, suggest
from vitaclip.evaluate.class_texts import ClassPrompts


def letters_tokenizer() -> Tokenizer:
    """Every letter is a token."""
    return Tokenizer(bpe_of_merges([]))


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("ApplyEyeMakeup", "apply eye makeup"),
        ("brush_hair", "brush hair"),
        ("TVShow", "tv show"),
        ("Playing_TheGuitar", "playing the guitar"),
        ("jump", "jump"),
        ("watching TV", "watching TV"),
        ("HTMLParsing3D", "html parsing 3d"),
        ("3DPrinting", "3d printing"),
        ("Top10Videos", "top 10 videos"),
        ("3D", "3D"),
        ("level3", "level3"),
    ],
)
def test_suggestions(name: str, better: str) -> None:
    assert suggest(name) == better


def test_suggestions_for_ucf101_equal_the_catalogue() -> None:
    classes = load_dataset_classes("ucf101")
    differ = {n: p for n, p in zip(classes.names, classes.prompts, strict=True) if suggest(n).lower() != p}
    assert differ == {}


def test_names_that_tokenize_badly_are_found() -> None:
    found = check_names(["jump up", "JumpUp", "jump_up", "a very long name up"], tiny_tokenizer(), 4, pieces_count=True)
    assert [(each.name, each.suggestion, each.fits) for each in found] == [
        ("JumpUp", "jump up", True),
        ("jump_up", "jump up", True),
        ("a very long name up", "", False),
    ]
    assert found[2].problem == "makes 5 tokens, 4 fit beside the rest of the text"
    broken = check_names(["kick", "a b", "abcdefghijklmn"], letters_tokenizer(), 20, pieces_count=True)
    assert [(each.name, each.problem) for each in broken] == [
        ("kick", "broken up: k | i | c | k"),
        ("abcdefghijklmn", "broken up: a | b | c | d | e | f | g | h | i | j | k | l | ..."),
    ]


def test_small_vocabulary_says_nothing_of_broken_words() -> None:
    found = check_names(["kick", "KickBall"], letters_tokenizer(), 20, pieces_count=False)
    assert [(each.name, each.problem) for each in found] == [("KickBall", "words run together")]
    assert check_classes(tiny_model(), ["kick"], ClassPrompts()) == []


def test_duplicate_names_are_found() -> None:
    findings = check_classes(tiny_model(), ["jump", "run", "Run", "sit", "jump "], ClassPrompts())
    assert [(each.name, each.problem) for each in findings] == [
        ("Run", "reads the same as 'run', class 1"),
        ("jump ", "reads the same as 'jump', class 0"),
    ]


def test_room_is_counted_beside_the_template() -> None:
    """A context for each class cannot serve a new name: a template does."""
    text = {"head": learned_text(20, per_class=True), "templates": ("a {}",)}
    model = tiny_model(("run", "sit"), **text)
    fitting = " ".join(["very"] * 74)  # 77 tokens: start, the template's word, end
    assert check_classes(model, [fitting], ClassPrompts()) == []
    assert [each.fits for each in check_classes(model, [fitting + " up"], ClassPrompts())] == [False]


def test_longest_name_that_fits_is_no_finding() -> None:
    model = tiny_model()  # 77 tokens: start, 3 of context, the full stop, end
    fitting = " ".join(["very"] * 71)
    assert check_classes(model, [fitting], ClassPrompts()) == []
    model.encode_text([fitting])
    findings = check_classes(model, [fitting + " long", "run", "Run!"], ClassPrompts())
    assert [each.fits for each in findings] == [False]
    with pytest.raises(ValueError, match="the text tower takes 77"):
        model.encode_text([fitting + " long"])


def test_command_prints_and_writes_suggestions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backbone = write_words_backbone(tmp_path / "backbone")
    (tmp_path / "names.txt").write_text("ApplyEyeMakeup\narchery\nbrush_hair\n")
    out = tmp_path / "better.txt"
    arguments = ["classes", str(tmp_path / "names.txt"), "--backbone", str(backbone)]
    assert main([*arguments, "--out", str(out)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "findings: 2; names: 3" in printed
    assert out.read_text() == "apply eye makeup\narchery\nbrush hair\n"
    assert main([arguments[0], str(out), *arguments[2:]]) == 0
    assert "findings: 0; names: 3" in capsys.readouterr().out
    assert main([arguments[0], "Archery, archery,archery", *arguments[2:]]) == 0
    assert "findings: 2; names: 3" in capsys.readouterr().out
    (tmp_path / "one.txt").write_text("jump_up")
    assert main([arguments[0], str(tmp_path / "one.txt"), *arguments[2:]]) == 0
    printed = capsys.readouterr().out
    assert "findings: 1; names: 1\n" in printed
    assert f"judged by {backbone}, whose tokenizer has " in printed
    assert "was not looked at" in printed
