"""`vitaclip data classes`."""

from jsonargparse import ArgumentParser, Namespace

HELP = "class names of the standard data sets"
DESCRIPTION = """\
Without a name: list the data sets. With one: print its classes, one a line, in the order of the class numbers (from 0);
the output can be saved and given to --classes. Wherever classes are asked for, the data set's name does the same.

examples:
  vitaclip data classes
  vitaclip data classes kinetics400
  vitaclip data classes ucf101 --prompts --ids"""


def add_arguments(parser: ArgumentParser) -> None:
    """The data set, and what is printed of a class."""
    parser.add_argument("dataset", nargs="?", default="", help="a data set's name")
    parser.add_argument("--prompts", action="store_true", help="print the wording for texts instead of the name")
    parser.add_argument("--ids", action="store_true", help="print number, tab, name")
    parser.add_argument("--variant", type=str, default="", help="another order or wording that is in circulation")


def run(arguments: Namespace) -> int:
    """Print."""
    from vitaclip.catalog import load_dataset_classes

    if not arguments.dataset:
        if arguments.prompts or arguments.ids or arguments.variant:
            raise ValueError("name a data set: --prompts, --ids and --variant say how its classes are printed")
        _list_datasets()
        return 0
    classes = load_dataset_classes(arguments.dataset, arguments.variant)
    for number, text in enumerate(classes.prompts if arguments.prompts else classes.names):
        print(f"{number}\t{text}" if arguments.ids else text)
    return 0


def _list_datasets() -> None:
    """A line for each data set, and one below it for each variant."""
    from vitaclip.catalog import class_variants, dataset_names, load_dataset_classes

    for name in dataset_names():
        classes = load_dataset_classes(name)
        print(f"{name:15} {len(classes.names):4}  {classes.about}")
        for variant, about in class_variants(name).items():
            print(f"{'':22}--variant {variant}: {about}")
