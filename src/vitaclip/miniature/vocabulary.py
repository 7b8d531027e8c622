"""The tiny CLIP's own byte-pair tokenizer, learned from the captions, in the layout of CLIP's `tokenizer.json`."""

import json

import numpy as np
from tokenizers import Regex, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as BPETokenizer

from vitaclip.clip.tokenizer import END, START, Tokenizer
from vitaclip.miniature import captions, world

# CLIP's cut of a text into words, contractions, digits and runs of other signs.
WORD_PATTERN = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
WORD_END = "</w>"
# More merges than the captions hold: training stops by itself when every word is one token.
MOST_ENTRIES = 2000


def train_tokenizer(seed: int = 0, caption_count: int = 3000) -> Tokenizer:
    """Learn the merges from captions drawn with `seed`; every word of the world becomes one token."""
    learner = _bpe(models.BPE(end_of_word_suffix=WORD_END))
    trainer = trainers.BpeTrainer(vocab_size=MOST_ENTRIES, end_of_word_suffix=WORD_END, show_progress=False)
    learner.train_from_iterator([*_sample_captions(seed, caption_count), *world.class_names()], trainer)
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    # The trainer leaves out bytes that end no word it saw: without them an unseen text would lose signs.
    signs = sorted(pre_tokenizers.ByteLevel.alphabet())
    entries = signs + [sign + WORD_END for sign in signs] + ["".join(pair) for pair in merges] + [START, END]
    entries = list(dict.fromkeys(entries))
    vocabulary = {entry: index for index, entry in enumerate(entries)}
    bpe = _bpe(models.BPE(vocab=vocabulary, merges=merges, end_of_word_suffix=WORD_END, unk_token=END))
    bpe.add_special_tokens([START, END])
    return Tokenizer(bpe)


def _bpe(model: models.BPE) -> BPETokenizer:
    bpe = BPETokenizer(model)
    spaces = normalizers.Replace(Regex(r"\s+"), " ")
    bpe.normalizer = normalizers.Sequence([normalizers.NFC(), spaces, normalizers.Lowercase()])
    words = pre_tokenizers.Split(Regex(WORD_PATTERN), behavior="removed", invert=True)
    signs = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([words, signs])
    return bpe


def _sample_captions(seed: int, count: int) -> list[str]:
    rng = np.random.default_rng(seed)
    sizes = [len(values) for values in captions.ATTRIBUTES.values()]
    return [captions.draw_caption(rng, rng.integers(sizes).astype(np.int8)).text for _ in range(count)]
