"""What is searched for, as vectors: words, sums and differences of them, pictures and clips."""

import re
import unicodedata
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from vitaclip.backbones.tokenizer import Tokenizer
from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.path import as_given
from vitaclip.data.reading.tar import to_video_path
from vitaclip.evaluation.class_texts import encode_classes
from vitaclip.moments.config import WindowsConfig
from vitaclip.moments.vectors import window_vectors
from vitaclip.predictor import Predictor

_SIGN = re.compile(r"\s([+-])\s")
_WIDE = 0x800
"""From here on UTF-8 takes three bytes a character; most of them stand for a syllable or a word."""


def text_vector(predictor: Predictor, query: str, templates: Sequence[str] = ()) -> np.ndarray:
    """(D,) of unit length, of a text, or of several with ` + ` or ` - ` between.

    Raises:
        ValueError: a text is empty or too long for the text tower, nothing is left, or the model reads no texts.

    >>> text_vector(Predictor("miniature"), "red heart growing - red heart").shape
    (128,)
    """
    first, *rest = _SIGN.split(query)
    terms, signs = [first.strip(), *(term.strip() for term in rest[1::2])], [1, *(int(f"{s}1") for s in rest[::2])]
    if not all(terms):
        raise ValueError(f"query {query!r}: a text is missing; write words, with ' + ' or ' - ' between them if at all")
    model = predictor.model
    if not (model.head.takes_templates and model.head.comparable):
        raise ValueError("this model reads no texts beyond its own classes; search with a picture or a clip (--like)")
    if strange := unread_words(model.backbone.tokenizer, query):
        words = ", ".join(strange)
        warnings.warn(
            f"query {query!r}: the text tower's vocabulary does not know the script of {words}, and spells it in bytes;"
            " ask in English, or index with a multilingual tower such as SigLIP 2",
            stacklevel=2,
        )
    with predictor.encoder.autocast():
        features = encode_classes(model, terms, templates).features
    return _sum(features, signs, query)


def _sum(features: Tensor, signs: Sequence[int], query: str) -> np.ndarray:
    total = (F.normalize(features, dim=-1).cpu() * features.new_tensor(signs, device="cpu")[:, None]).sum(dim=0)
    if total.norm() < 1e-4:
        raise ValueError(f"query {query!r}: nothing is left of it; take other words")
    return F.normalize(total, dim=-1).numpy()


def unread_words(tokenizer: Tokenizer, text: str) -> list[str]:
    """Words in a script that a vocabulary does not know: they fall into as many tokens as letters, or into its sign for
    what it does not know.

    >>> from vitaclip.backbones.tokenizer import read_vocabulary
    >>> unread_words(Tokenizer(read_vocabulary()), "eine Tür öffnet sich, дверь")
    ['дверь']
    """
    unknown, strange = tokenizer.vocabulary.library.token_to_id("<unk>"), []
    for word in re.findall(r"\w+", text):
        tokens = tokenizer.encode(word)
        letters = [sign for sign in word if sign.isalpha() and "LATIN" not in unicodedata.name(sign, "")]
        most = len(letters) + 1 if max(map(ord, word)) >= _WIDE else len(letters) - 1
        if letters and (len(tokens) > most or unknown in tokens):
            strange.append(word)
    return strange


def file_vector(predictor: Predictor, file: str | Path, windows: WindowsConfig) -> np.ndarray:
    """(D,) of unit length, of a picture, or of a clip: the mean of its windows.

    Raises:
        VideoError: it cannot be read.
    """
    try:
        with Image.open(file) as picture:
            video = to_video_path(as_given([picture.convert("RGB")], str(file)))
    except (UnidentifiedImageError, IsADirectoryError):
        video = to_video_path(file)
    except OSError as error:
        raise VideoError(f"{file} cannot be opened ({error.strerror or error}): check the path") from error
    (found,) = window_vectors([video], predictor.reader, predictor.encoder, windows, predictor.data)
    if not len(found.vectors):
        raise VideoError(found.error)
    return _sum(found.vectors, [1] * len(found.vectors), str(file))
