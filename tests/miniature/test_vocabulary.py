"""The tiny tokenizer: world words are one token, and no text loses a sign."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as BPETokenizer
from tokenizers import decoders

from vitaclip.clip.tokenizer import Tokenizer, clean_text
from vitaclip.miniature import captions, world
from vitaclip.miniature.vocabulary import train_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer()


def test_every_word_of_the_world_is_one_token(tokenizer: Tokenizer) -> None:
    words = set(" ".join([*world.class_names(), *captions.SIZES, *captions.DIRECTIONS]).split())
    rng = np.random.default_rng(99)
    codes = np.array([0, 1, 2, 0, 2, 3, 1], dtype=np.int8)
    words |= {word for _ in range(300) for word in captions.draw_caption(rng, codes).text.rstrip(".").split()}
    for word in words:
        assert len(tokenizer.encode(word)) == 1, word
    assert len(tokenizer.encode("red arrow moving left")) == 4


def test_layout_is_clips(tokenizer: Tokenizer) -> None:
    size = tokenizer.vocab_size
    assert (tokenizer.start_id, tokenizer.end_id) == (size - 2, size - 1)
    assert 512 < size <= 1000
    batch = tokenizer(["red arrow", "a tiny blue fish pointing up."])
    assert batch.ids[0, 0] == tokenizer.start_id
    assert batch.ids[0, batch.end[0]] == tokenizer.end_id
    model = json.loads(tokenizer.to_json())["model"]
    assert model["end_of_word_suffix"] == "</w>"
    assert len(model["merges"]) == size - 514


def test_training_is_reproducible_and_survives_the_file(tokenizer: Tokenizer, tmp_path: Path) -> None:
    assert train_tokenizer().to_json() == tokenizer.to_json()
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
    again = Tokenizer.from_file(tmp_path / "tokenizer.json")
    text = "a photo of a huge green key spinning counterclockwise"
    assert again.encode(text) == tokenizer.encode(text)


@cache
def small_tokenizer() -> Tokenizer:
    return train_tokenizer(caption_count=50)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30))
def test_any_text_comes_back_whole(text: str) -> None:
    """No byte becomes the unknown token: decoding gives back the text without its spaces."""
    tokenizer = small_tokenizer()
    ids = tokenizer.encode(text)
    assert tokenizer.end_id not in ids or "<|endoftext|>" in clean_text(text)
    bpe = BPETokenizer.from_str(tokenizer.to_json())
    bpe.decoder = decoders.Sequence([decoders.Replace("</w>", ""), decoders.ByteLevel()])
    back = bpe.decode(ids, skip_special_tokens=False)
    lowered = bpe.normalizer.normalize_str(clean_text(text))
    assert "".join(back.split()) == "".join(lowered.split())
