"""The border at which files that others wrote are read: whatever is wrong with one becomes one line with its name.

Sizes, nesting and aliases are judged before memory is taken for them. Nothing here imports torch, because the command
line reads its recipes before it needs it.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitaclip.strings import did_you_mean, one_line

if TYPE_CHECKING:
    import yaml

MAX_TEXT_BYTES = 32 * 2**20
"""The largest JSON file that is read."""
MAX_YAML_BYTES = 2**20
"""The largest YAML file that is read; its parser needs a second for a megabyte."""
MAX_YAML_NODES = 100_000
"""Values that a YAML file may stand for once its aliases are written out."""


@contextmanager
def reading(path: str | Path, remedy: str = "fetch it again") -> Iterator[None]:
    """Turn whatever goes wrong while a file is read into one line that names the file.

    Readers of foreign formats raise nearly anything on a crafted or damaged file: KeyError, struct.error,
    RecursionError, MemoryError. Listing the exceptions at each reader always misses some.

    Args:
        path: the file, or the folder that the files lie in.
        remedy: what the user can do about a damaged file.

    Raises:
        ValueError: for everything but what the operating system refuses. A ValueError that names the file already is
            passed on.
        OSError: if the operating system refuses, with the name of the file.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:  # gzip and others use it for damage
            raise ValueError(f"{path}: damaged ({one_line(error)}); {remedy}") from error
        raise type(error)(error.errno, error.strerror, error.filename or str(path)) from error
    except MemoryError as error:
        raise ValueError(f"{path}: reading it takes more memory than there is") from error
    except RecursionError as error:
        raise ValueError(f"{path}: nested too deeply; {remedy}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({one_line(error)}); {remedy}") from error
    except ValueError as error:
        message = one_line(error)
        raise ValueError(message if str(path) in message else f"{path}: {message}") from error
    except Exception as error:
        raise ValueError(f"{path}: damaged ({type(error).__name__}: {one_line(error)}); {remedy}") from error


@dataclass(frozen=True)
class YamlFolder:
    """YAML files of the package that are asked for by name; the path of a file of one's own does as well."""

    folder: Path
    what: str
    """What one of the files is, such as "recipe"."""

    def names(self) -> tuple[str, ...]:
        """The names in alphabetical order."""
        return tuple(sorted(file.stem for file in self.folder.glob("*.yaml")))

    def find(self, name_or_file: str) -> Path:
        """The file at a path, or else the one of that name.

        Raises:
            ValueError: if there is neither.
        """
        if Path(name_or_file).is_file():
            return Path(name_or_file)
        names = self.names()
        if name_or_file not in names:
            hint = did_you_mean(name_or_file, names)
            raise ValueError(f"{name_or_file!r} is neither a file nor a {self.what}{hint}; there is {', '.join(names)}")
        return self.folder / f"{name_or_file}.yaml"

    def read(self, name_or_file: str) -> str:
        """The text of that file."""
        return self.find(name_or_file).read_text(encoding="utf-8")


def read_bytes(path: str | Path, max_bytes: int = MAX_TEXT_BYTES) -> bytes:
    """The content of a regular file of at most `max_bytes`.

    Raises:
        ValueError: if it is larger, or no regular file (reading a pipe would wait for ever).
        OSError: if the operating system refuses.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: is no regular file; name a file")
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"{path}: larger than {max_bytes / 2**20:g} MiB, the most that is read of such a file")
    return content


def read_json(path: str | Path, remedy: str = "fetch it again") -> dict[str, Any]:
    """A JSON object in a file.

    Raises:
        ValueError: if it is damaged, too large, too deep or no object.
        OSError: if the operating system refuses.
    """
    with reading(path, remedy):
        text = read_bytes(path).decode("utf-8")
        try:
            content = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{path}: not JSON ({error}); {remedy}") from error
        if not isinstance(content, dict):
            raise ValueError(f"{path}: no JSON object ({{...}}) in it; {remedy}")
        return content


def read_yaml(path: str | Path, remedy: str = "mend it") -> dict[str, Any]:
    """The mapping that a YAML file holds, in plain Python values.

    Raises:
        ValueError: if it is no YAML, no mapping, too large, too deep, or stands for too many values by its aliases.
        OSError: if the operating system refuses.
    """
    import yaml

    with reading(path, remedy):
        loader = yaml.SafeLoader(read_bytes(path, MAX_YAML_BYTES).decode("utf-8"))
        try:
            root = loader.get_single_node()
            if not isinstance(root, yaml.MappingNode):
                raise ValueError(f"{path} holds no settings; {remedy}")
            if _count_nodes(root, {}) > MAX_YAML_NODES:
                raise ValueError(f"{path}: its aliases stand for more than {MAX_YAML_NODES:,} values; write them out")
            settings: dict[str, Any] = loader.construct_document(root)
            return settings
        except yaml.YAMLError as error:
            raise ValueError(f"{path} is not YAML: {error}") from error
        finally:
            loader.dispose()


def _count_nodes(node: "yaml.Node", counts: dict[int, int]) -> int:
    """The number of values that a node stands for. Each node is visited once, however many aliases name it."""
    import yaml

    if id(node) not in counts:
        counts[id(node)] = MAX_YAML_NODES + 1  # what a node counts as inside itself
        children = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        nested = children if isinstance(node, yaml.CollectionNode) else ()
        counts[id(node)] = 1 + sum(_count_nodes(child, counts) for child in nested)
    return counts[id(node)]
