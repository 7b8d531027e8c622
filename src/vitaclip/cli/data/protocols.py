"""`vitaclip data protocols`."""

from jsonargparse import ArgumentParser, Namespace

HELP = "protocols of the literature, and the lists they need"
DESCRIPTION = """\
Without a name: list the protocols that `vitaclip eval --protocol` takes. With one: print its file, to be read, or to be
changed into one of one's own.

examples:
  vitaclip data protocols
  vitaclip data protocols ucf101_zeroshot"""


def add_arguments(parser: ArgumentParser) -> None:
    """The protocol."""
    parser.add_argument("name", nargs="?", default="", help="a protocol's name")


def run(arguments: Namespace) -> int:
    """Print."""
    from vitaclip.evaluate.protocol import find_protocol, load_protocol, protocol_names

    if arguments.name:
        print(find_protocol(arguments.name).read_text(encoding="utf-8"), end="")
        return 0
    for name in protocol_names():
        protocol = load_protocol(name)
        print(f"{name:26} {protocol.about}")
        print(f"{'':28}needs {', '.join(protocol.test_lists)}")
        for variant in protocol.variants:
            print(f"{'':28}{name}@{variant}: worded as {protocol.variants[variant]}")
    return 0
