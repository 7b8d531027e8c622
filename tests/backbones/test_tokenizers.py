"""Tokenizers of all families, token for token their peers: names in six languages, and texts that no one writes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tiny import tiny_backbone
from tokenizer_peers import LENGTH, Family, english, families, five_languages, hostile
from vitaclip.backbones.config import TextConfig, TextLayoutConfig
from vitaclip.backbones.loading import find_tokenizer, save_backbone
from vitaclip.backbones.tokenizer import read_vocabulary
from vitaclip.parts.heads.learned_text import lay_out
from vitaclip.parts.heads.prompt_layout import LearnedTextConfig

NAMES = (
    *("CLIP: merges", "SigLIP: spiece.model", "SigLIP 2: tokenizer.json", "SigLIP 2: tokenizer.model"),
    *("MetaCLIP 2: tokenizer.json", "mT5: tokenizer.json", "CLIPA: tokenizer.json", "OpenVision: tokenizer.json"),
)


@pytest.fixture(scope="module")
def all_families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Family]:
    return families(tmp_path_factory.mktemp("tokenizers"))


@pytest.fixture(params=NAMES)
def family(request: pytest.FixtureRequest, all_families: dict[str, Family]) -> Family:
    return all_families[request.param]


def test_ids_are_the_peers(family: Family) -> None:
    """Start, end, padding and all; benchmarks/token_for_token.py asks for ten thousand hostile texts."""
    texts = [text for text in (*english(), *five_languages(), *hostile(500)) if family.asked(text)]
    for text, ours, theirs in zip(texts, family.ours(texts, LENGTH).ids.tolist(), family.theirs(texts), strict=True):
        assert ours == theirs, text


def test_saved_vocabulary_gives_the_same_ids(family: Family, tmp_path: Path) -> None:
    vocabulary, texts = family.ours.vocabulary, [*five_languages(), *hostile(100)]
    vocabulary.save(tmp_path)
    again = read_vocabulary(tmp_path / vocabulary.file_name)
    assert [again.cut(text) for text in texts] == [vocabulary.cut(text) for text in texts]


@pytest.mark.parametrize("position", ["end", "middle", "front"])
def test_learned_context_joins_every_layout(family: Family, position: str) -> None:
    """Without the places of the context, a prompt is the name's whole text."""
    names, context = ["Playing_the Guitar", "dog", "開ける"], 4
    config = LearnedTextConfig(num_context=context, class_token_position=position)  # type: ignore[arg-type]
    ids, slots, end = lay_out(names, family.ours, config, LENGTH)
    plain = family.ours([f"{name.replace('_', ' ')}." for name in names], LENGTH - context)
    learned = torch.zeros_like(ids, dtype=torch.bool).scatter(1, slots, True)
    assert torch.equal(ids[~learned].view(len(names), -1), plain.ids)
    assert torch.equal(end, plain.end + context)


def test_last_id_stands_behind_the_padding(all_families: dict[str, Family]) -> None:
    batch = all_families["OpenVision: tokenizer.json"].ours(["dog"], 8)
    assert batch.ids[0, 0].item() == 1
    assert batch.ids[0, -3:].tolist() == [0, 0, 101]
    assert batch.end.tolist() == [7]


LONG = ["playing the guitar in a long long line of other players", "dog", "dancing on and on and on and on and on"]


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("CLIP:", "MetaCLIP", "mT5"))])
def test_texts_too_long_are_refused(all_families: dict[str, Family], name: str) -> None:
    with pytest.raises(ValueError, match="the text tower takes 8; shorten it"):
        all_families[name].ours(LONG, 8)


@pytest.mark.parametrize("name", ["SigLIP: spiece.model", "SigLIP 2: tokenizer.json", "CLIPA: tokenizer.json"])
def test_texts_of_full_length_are_cut_as_transformers_does(all_families: dict[str, Family], name: str) -> None:
    """SigLIP's so400m-patch14-224 takes 16 tokens."""
    with pytest.warns(UserWarning, match="takes 16, so its end is cut off, as of 2 texts in all"):
        batch = all_families[name].ours([f"{text} {text} {text}" for text in LONG], 16)
    assert batch.ids.tolist() == all_families[name].theirs([f"{text} {text} {text}" for text in LONG], 16)
    assert batch.end.tolist() == [15] * 3


def test_another_tokenizer_in_the_folder_is_an_error(all_families: dict[str, Family], tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"holds a tokenizer\.json, which would be read in place of .* spiece\.model"):
        save_backbone(tiny_backbone().clip, all_families["SigLIP: spiece.model"].ours, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["tokenizer.json"]


def test_layout_and_vocabulary_must_fit_the_tower(all_families: dict[str, Family], tmp_path: Path) -> None:
    """A start token that the vocabulary lacks, ids beyond the tower's entries, no vocabulary at all."""
    text = TextConfig(vocab_size=5000, context_length=64, width=64, depth=1, heads=1)
    with pytest.raises(ValueError, match=r"no tokenizer in it \(tokenizer.json, spiece.model, .*of 5000 entries"):
        find_tokenizer(tmp_path, text)
    all_families["SigLIP: spiece.model"].ours.vocabulary.save(tmp_path)
    with pytest.raises(ValueError, match=r"spiece\.model: the tokenizer has no <\|startoftext\|>, and the config"):
        find_tokenizer(tmp_path, text)
    siglip = replace(text, layout=TextLayoutConfig(start=(), end=(1,), pad=1, feature="last", clean="canonicalize"))
    tokenizer = find_tokenizer(tmp_path, replace(siglip, order="all"))
    assert tokenizer(["A_dog!"], 64).ids[0].tolist() == [*tokenizer.encode("a dog"), *[1] * (64 - 2)]
    for wrong in (replace(siglip, vocab_size=1000), replace(siglip, layout=replace(siglip.layout, pad=5000))):
        with pytest.raises(ValueError, match=f"entries, the text tower {wrong.vocab_size}"):
            find_tokenizer(tmp_path, wrong)
