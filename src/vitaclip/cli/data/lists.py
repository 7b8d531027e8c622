"""How the commands on data are told to read a list."""

from jsonargparse import ArgumentParser


def add_list_arguments(parser: ArgumentParser) -> None:
    """`--root` and `--classes`."""
    parser.add_argument("--root", type=str, default="", help="folder that paths in the list are relative to")
    parser.add_argument(
        "--classes",
        type=str,
        default="",
        help="class names, where labels of the list are names: as `vitaclip eval` takes them",
    )
