"""The commands, and how they end."""

import os
import sys
from collections.abc import Sequence

from jsonargparse import ArgumentParser

from vitaclip.cli import ablate, classes, config, convert, data, demo, evaluate, explain, predict, train
from vitaclip.cli.parser import CommandParser, HelpFormatter, add_commands, name_recipes
from vitaclip.version import __version__

DESCRIPTION = """\
Recognise what happens in video with words: a frozen CLIP and a handful of learned prompts (Vita-CLIP).

start here:
  vitaclip demo                                        the whole method on a small offline world, in minutes
  vitaclip predict demo/videos/test_novel              what is in videos
  vitaclip train --config own_videos --data.train my_videos/         teach it yours: a folder per class
  vitaclip COMMAND --help                              every setting of a command, with examples"""

COMMANDS = {
    "demo": demo,
    "train": train,
    "eval": evaluate,
    "predict": predict,
    "explain": explain,
    "ablate": ablate,
    "data": data,
    "classes": classes,
    "convert": convert,
    "config": config,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit status: 0 done, 1 some of the files failed, 2 a mistake in what was asked for, 130 interrupted,
        141 nobody reads the output, 143 training was asked to stop (SIGTERM) and saved its state.
    """
    # OpenMP's busy waiting stalls many-fold when another process computes on the same cores; read before torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        parser = build_parser()
        parsed = parser.parse_args(name_recipes(sys.argv[1:] if arguments is None else arguments))
        name = parsed.command
        return COMMANDS[name].run(parser.instantiate(parsed)[name])
    except ValueError as error:
        return _mistake(str(error))
    except BrokenPipeError:
        # Whoever reads our output has seen enough (`| head`). What is still in the buffer goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _mistake(f"{where}{error.strerror or error}; check the path, its rights and the disk")
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        lines = str(error).splitlines() or ["out of memory."]
        return _mistake(
            f"{lines[0]} Take fewer at a time: in training a smaller optim.micro_batch_size (the step"
            " stays the same) or runtime.checkpoint_activations = true, else a smaller batch_size"
        )
    except KeyboardInterrupt:
        print("vitaclip: interrupted", file=sys.stderr)
        return 130


def _is_out_of_memory(error: Exception) -> bool:
    """Whether an error is torch's, on a GPU or a CPU, or Python's. A mere --help does not import torch."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or "can't allocate memory" in str(error)


def _mistake(message: str) -> int:
    """Print what is wrong, of several processes with the one that speaks, if not the first; returns the status."""
    rank = os.environ.get("RANK", "0")
    process = "" if rank == "0" else f"process {rank}: "
    print(f"vitaclip: error: {process}{message}", file=sys.stderr)
    return 2


def build_parser() -> ArgumentParser:
    """The parser of all commands."""
    parser = CommandParser(prog="vitaclip", description=DESCRIPTION, formatter_class=HelpFormatter, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"vitaclip {__version__}")
    add_commands(parser, COMMANDS)
    return parser
