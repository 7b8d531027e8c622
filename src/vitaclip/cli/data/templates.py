"""`vitaclip data templates`."""

from jsonargparse import ArgumentParser, Namespace

HELP = "text templates of the literature"
DESCRIPTION = """\
Without a name: list the sets of templates. With one: print its texts, one a line; {} is where the class name goes.
--template takes a set by its name.

examples:
  vitaclip data templates
  vitaclip data templates clip48"""


def add_arguments(parser: ArgumentParser) -> None:
    """The set."""
    parser.add_argument("name", nargs="?", default="", help="a set's name")


def run(arguments: Namespace) -> int:
    """Print."""
    from vitaclip.catalog import load_templates, template_names

    if arguments.name:
        print("\n".join(load_templates(arguments.name)))
        return 0
    for name, about in template_names().items():
        print(f"{name:15} {len(load_templates(name)):4}  {about}")
    return 0
