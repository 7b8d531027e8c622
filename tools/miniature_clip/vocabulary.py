"""The tiny CLIP's own byte-pair tokenizer, learned from the captions, in the layout of CLIP's `tokenizer.json`."""

import json
from collections.abc import Iterable

import numpy as np
from tokenizers import models, trainers

from miniature_clip import captions
from vitaclip.backbones.tokenizer import Tokenizer
from vitaclip.backbones.vocabulary import WORD_END, bpe_of_merges, lay_out_bpe
from vitaclip.miniature import world

# More merges than the captions hold: training stops by itself when every word is one token.
MOST_ENTRIES = 2000


def train_tokenizer(seed: int = 0, caption_count: int = 3000) -> Tokenizer:
    """Learn the merges from captions drawn with `seed`; every word of the world becomes one token."""
    return learn_tokenizer([*_sample_captions(seed, caption_count), *world.class_names()])


def learn_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Learn merges until every word of the texts is one token (or there are `MOST_ENTRIES`)."""
    learner = lay_out_bpe(models.BPE(end_of_word_suffix=WORD_END))
    trainer = trainers.BpeTrainer(vocab_size=MOST_ENTRIES, end_of_word_suffix=WORD_END, show_progress=False)
    learner.train_from_iterator(texts, trainer)
    # The trainer leaves out bytes that end no word it saw: without them an unseen text would lose signs.
    return Tokenizer(bpe_of_merges([(one, two) for one, two in json.loads(learner.to_str())["model"]["merges"]]))


def _sample_captions(seed: int, count: int) -> list[str]:
    rng = np.random.default_rng(seed)
    sizes = [len(values) for values in captions.ATTRIBUTES.values()]
    return [captions.draw_caption(rng, rng.integers(sizes).astype(np.int8)).text for _ in range(count)]
