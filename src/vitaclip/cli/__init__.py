"""The command line. torch is imported inside the commands, so that `--help` answers at once."""

from vitaclip.cli.main import main

__all__ = ["main"]
