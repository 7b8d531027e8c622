"""Whether the catalogue's files fit together: every name in them is found where it is said to be."""

from collections import Counter
from collections.abc import Iterable, Iterator

from vitaclip.catalog import reader


def find_problems() -> list[str]:
    """What is wrong with the data files, a line each; none if the catalogue is sound.

    Class names and wordings of a data set are distinct (capitals make no difference), not blank and free of stray
    blanks; names in variants, renamings and splits are class names; numbers stand for nothing; each template has
    one place for the name.
    """
    return [*_class_problems(), *_variant_problems(), *_rename_problems(), *_split_problems(), *_template_problems()]


def _class_problems() -> Iterator[str]:
    for dataset in reader.dataset_names():
        classes = reader.load_dataset_classes(dataset)
        for what, texts in (("class", classes.names), ("wording", classes.prompts)):
            yield from _repeated(f"{dataset}: {what}", (text.casefold() for text in texts))
            for text in texts:
                if not text or text != " ".join(text.split()) or text.startswith("#"):
                    yield f"{dataset}: {what} {text!r} is blank, has stray blanks or begins with #"


def _variant_problems() -> Iterator[str]:
    for dataset, variants in reader.read_data("variants").items():
        for variant, entry in variants.items():
            named = [*entry.get("prompts", {}), *(name for pair in entry.get("swapped", []) for name in pair)]
            where = f"variant {variant} of {dataset}"
            yield from _unknown(where, named, dataset)
            yield from _repeated(where, named)
            if not named:
                yield f"{where}: changes nothing"


def _rename_problems() -> Iterator[str]:
    for pair, changed in reader.read_data("renames").items():
        old, new = pair.split(" to ")
        yield from _unknown(f"renames {pair}", changed, old)
        found = [name for name in reader.load_renames(old, new).values() if name is not None]
        yield from _unknown(f"renames {pair}", found, new)
        yield from _repeated(f"renames {pair}", found)


def _split_problems() -> Iterator[str]:
    for name in reader.split_names():
        split = reader.load_split(name)
        for subset, members in split.subsets.items():
            yield from _unknown(f"split {name}, {subset}", members, split.dataset)
            yield from _repeated(f"split {name}, {subset}", members)


def _template_problems() -> Iterator[str]:
    for name in reader.template_names():
        templates = reader.load_templates(name)
        yield from _repeated(f"templates {name}", templates)
        for template in templates:
            if template.count("{}") != 1:
                yield f"templates {name}: {template!r} does not hold {{}} exactly once"


def _unknown(where: str, names: Iterable[str], dataset: str) -> Iterator[str]:
    if dataset not in reader.dataset_names():
        yield f"{where}: no data set {dataset!r}"
        return
    known = set(reader.load_dataset_classes(dataset).names)
    yield from (f"{where}: {name!r} is no class of {dataset}" for name in names if name not in known)


def _repeated(where: str, names: Iterable[str]) -> Iterator[str]:
    yield from (f"{where}: {name!r} comes {times} times" for name, times in Counter(names).items() if times > 1)
