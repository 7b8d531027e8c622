"""What cuts texts into tokens, whatever its kind: byte pairs, sentencepiece's pieces, WordPiece."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tokenizers

from vitaclip.files import atomic_write
from vitaclip.strings import one_line


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer of the tokenizers library, and what it leaves to us. Start, end and padding are no part of it."""

    library: tokenizers.Tokenizer
    """Cuts a text and knows the ids."""
    spell: Callable[[str], str]
    """What is done to a text before the library sees it: that part of the cutting in which the library differs from
    what the model was trained with."""
    file_name: str
    """The name of the file that holds it, in a folder of ours and elsewhere."""
    content: Callable[[], bytes]
    """The content of that file."""

    @property
    def size(self) -> int:
        """One more than the highest id."""
        return 1 + max(self.library.get_vocab().values(), default=-1)

    def cut(self, text: str) -> list[int]:
        """The ids of a text, without start and end."""
        with library_errors():
            return list(self.library.encode(self.spell(text), add_special_tokens=False).ids)

    def save(self, folder: Path) -> None:
        """Write the file into a folder."""
        with atomic_write(folder / self.file_name) as temporary:
            temporary.write_bytes(self.content())


@contextmanager
def library_errors() -> Iterator[None]:
    """Make a ValueError of what the tokenizers library raises: a plain Exception, and where it has not thought of a
    case a panic, which is not even that."""
    try:
        yield
    except BaseException as error:
        if type(error) is not Exception and type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"the tokenizers library says: {one_line(error)[:200]}") from error
