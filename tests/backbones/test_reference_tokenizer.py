"""Token for token OpenAI's tokenizer: on the catalogue, on odd texts, on any text."""

# ruff: noqa: RUF001 - odd characters are the point

import json
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as BPETokenizer

from reference_clip import reference_tokenizer
from tiny import tiny_tokenizer
from vitaclip.backbones.tokenizer import Tokenizer, read_vocabulary
from vitaclip.catalog import dataset_names, load_dataset_classes, load_templates, template_names

PIECES = (
    *("playing guitar", "Jump", "a", "schön", "schÃ¶n", "naïve", "e\u0301", "ΟΔΟΣ", "İstanbul", "ẞ", "ǅ", "ﬁ", "Ĳ"),
    *("日本語", "한국어", "ไทย", "שלום", "مرحبا", "हिन्दी", "👍🏽", "👨‍👩‍👧", "½", "²", "Ⅷ", "１２", "ｆｕｌｌ"),
    *("'s", "'T", "'RE", "'ve", "'m", "'LL", "'d", "’s", "â€™s", "'ſ", "''", '"'),
    *("&amp;", "&amp;amp;", "&amp;amp;amp;lt;", "&lt;", "<", "&#x27;s", "&eacute;", "e&#x301;", "<e&#x301;", "&nbsp;"),
    *("&", "&#", "&#x1c;", "&amp;#x1c;", "&#133;", "&#xd800;", "&#x110000;", "&notit;"),
    *("<|startoftext|>", "<|endoftext|>", "<|EndOfText|>", "!<|endoftext|>", "<|ſtartoftext|>", "</w>", "Ġ"),
    *("!!!", "...", "?!", "--", "2.5", "1", "100,000", "(not cat)", "+", "_", "/"),
    *(" ", "  ", "\t", "\n", "\r\n", "\u3000", "\u200b", "\ufeff", "\u00ad", "\x85", "\x1c", "\x1f"),
    *("\x00", "\x07", "\x1b[31m", "\x7f", "\ud800", "\uffff", "\u202e", "\u0558", "\u1c89", "\U00011de0", "\U000323b0"),
)


@cache
def ours() -> Tokenizer:
    return Tokenizer(read_vocabulary())


def assert_equal_ids(text: str) -> None:
    assert ours().encode(text) == reference_tokenizer().encode(text), repr(text)


def test_the_vocabulary_is_the_references() -> None:
    tokenizer, reference = ours(), reference_tokenizer()
    assert tokenizer.vocab_size == 49_408
    assert (tokenizer.start, tokenizer.end) == ((49_406,), (49_407,))
    model = json.loads(tokenizer.vocabulary.content())["model"]
    assert model["vocab"] == reference.encoder
    assert [tuple(pair) for pair in model["merges"]] == list(reference.bpe_ranks)


@pytest.mark.parametrize("name", template_names())
def test_templates_filled(name: str) -> None:
    wordings = [wording for dataset in dataset_names() for wording in load_dataset_classes(dataset).prompts]
    for number, template in enumerate(load_templates(name)):
        for wording in wordings[number::199]:
            assert_equal_ids(template.replace("{}", wording))


def test_pieces_alone_and_beside_each_other() -> None:
    for piece in PIECES:
        assert_equal_ids(piece)
        for other in PIECES:
            assert_equal_ids(piece + other)


def test_characters_of_all_of_unicode() -> None:
    """Every 97th of all there are; letters, digits and the rest are cut differently."""
    for number in range(0, 0x110000, 97):
        sign = chr(number)
        assert_equal_ids(f"a{sign}b 1{sign}2 !{sign}.")


@pytest.mark.parametrize("text", ["", " ", "\n\t ", "word " * 3000, "x" * 3000, "!" * 3000, "7" * 3000, "é日" * 1000])
def test_blank_and_very_long_texts(text: str) -> None:
    assert_equal_ids(text)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=6), max_size=8).map("".join))
@example("<e&#x301;")
@example("!<|endoftext|>")
@example("a\x07b")
def test_any_text(text: str) -> None:
    assert_equal_ids(text)


def test_written_json_serves_the_tokenizers_library() -> None:
    bpe = BPETokenizer.from_buffer(ours().vocabulary.content())
    for wording in load_dataset_classes("kinetics700").prompts:
        assert bpe.encode(wording).ids == [49_406, *reference_tokenizer().encode(wording), 49_407]


def test_tokenizer_json_of_transformers(tmp_path: Path) -> None:
    from transformers import CLIPTokenizer

    reference = reference_tokenizer()
    theirs = CLIPTokenizer(vocab=reference.encoder, merges=list(reference.bpe_ranks))
    theirs.save_pretrained(tmp_path / "theirs")
    from_theirs = Tokenizer(read_vocabulary(tmp_path / "theirs" / "tokenizer.json"))
    (tmp_path / "ours").mkdir()
    from_theirs.vocabulary.save(tmp_path / "ours")
    from_ours = CLIPTokenizer.from_pretrained(tmp_path / "ours")
    for piece in PIECES:
        assert from_theirs.encode(piece) == reference.encode(piece)
    # transformers does not mend texts, so it agrees on those that need no mending.
    for wording in load_dataset_classes("kinetics400").prompts:
        assert from_ours(wording)["input_ids"] == [49_406, *from_theirs.encode(wording), 49_407]


def test_batches_reach_the_longest_text() -> None:
    tokenizer = tiny_tokenizer()
    tokens = tokenizer(["jump", "a video of jump."])
    assert tokens.ids.shape == (2, 7)
    assert tokens.end.tolist() == [2, 6]
    assert torch.equal(tokens.ids[torch.arange(2), tokens.end], torch.full((2,), tokenizer.end[0]))
    assert tokens.ids[0, 3:].eq(0).all()
    assert tokens.ids[1, 1:6].tolist() == tokenizer.encode("a video of jump.")
