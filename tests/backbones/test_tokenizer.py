"""The tokenizer: CLIP's cleaning, and batches as wide as their longest text."""

from pathlib import Path

import pytest
import torch

from tiny import tiny_tokenizer
from vitaclip.backbones import Tokenizer
from vitaclip.names import clean_text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  Jump\t UP \n", "jump up"),
        ("cats &amp;amp; dogs", "cats & dogs"),
        ("schÃ¶n", "schön"),
        ("ΟΔΟΣ", "οδος"[:-1] + "ς"),
        ("bell\x07 and &amp;amp;amp;lt;b>", "bell and <b>"),
        (" \t\n\u3000", ""),
    ],
)
def test_text_is_cleaned_as_clip_does(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned


def test_batches_reach_the_longest_text() -> None:
    tokenizer = tiny_tokenizer()
    tokens = tokenizer(["jump", "a video of jump."])
    assert tokens.ids.shape == (2, 7)
    assert tokens.end.tolist() == [2, 6]
    assert torch.equal(tokens.ids[torch.arange(2), tokens.end], torch.full((2,), tokenizer.end_id))
    assert tokens.ids[0, 3:].eq(0).all()
    assert tokens.ids[1, 1:6].tolist() == tokenizer.encode("a video of jump.")


def test_texts_too_long_are_refused() -> None:
    with pytest.raises(ValueError, match="makes 6 tokens, the text tower takes 5; shorten it"):
        tiny_tokenizer()(["jump", "a video of jump"], context_length=5)


def test_tokenizers_survive_being_written(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_json())
    loaded = Tokenizer.from_file(tmp_path / "tokenizer.json")
    assert loaded.encode("a video of jump.") == tokenizer.encode("a video of jump.")
    assert loaded.vocab_size == tokenizer.vocab_size
