"""What is known of the standard data sets: class names, their wording, templates and the classes of protocols.

Data files and one reader; nothing here knows videos or models. Everything is joined by name: numbers are only the
places of names in a list.
"""

from vitaclip.catalog.reader import (
    ClassList,
    Split,
    class_variants,
    dataset_names,
    load_dataset_classes,
    load_split,
    load_templates,
    register_dataset,
    split_names,
    template_names,
)

__all__ = [
    "ClassList",
    "Split",
    "class_variants",
    "dataset_names",
    "load_dataset_classes",
    "load_split",
    "load_templates",
    "register_dataset",
    "split_names",
    "template_names",
]
