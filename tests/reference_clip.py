"""OpenAI's own tokenizer (openai/CLIP), from the package `openai-clip`. The package itself needs torchvision to be
imported; its tokenizer does not."""

import importlib.util
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

FOLDER = Path(str(distribution("openai-clip").locate_file("clip")))
VOCABULARY_FILE = FOLDER / "bpe_simple_vocab_16e6.txt.gz"


@cache
def reference_tokenizer() -> Any:
    """A SimpleTokenizer: `encode`, `encoder`, `bpe_ranks`."""
    spec = importlib.util.spec_from_file_location("openai_simple_tokenizer", FOLDER / "simple_tokenizer.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SimpleTokenizer()
