"""The commands, and how they end."""

import os
import sys
import warnings
from collections.abc import Sequence

from jsonargparse import ArgumentParser, Namespace

from vitaclip.cli.command import Command
from vitaclip.cli.parser import (
    HELP_ALL,
    CommandParser,
    CommandTable,
    HelpFormatter,
    Helps,
    add_commands,
    find_command,
    normalize,
)
from vitaclip.cli.screen import print_error
from vitaclip.plugins import take_plugins, use_plugins
from vitaclip.version import __version__

DESCRIPTION = """\
Recognise what happens in video with words: an image-text model such as CLIP, and the few parts that teach it video.

start here:
  vitaclip predict my_videos/ --classes "opening a door, closing a door"    by plain CLIP, fetched once
  vitaclip train --config own_videos --data.train my_videos/ --out runs/doors    teach it yours: a folder per class
  vitaclip predict my_videos/ --model runs/doors       what the trained model says
  vitaclip demo                                        all of that on a small synthetic world, offline, in minutes
  vitaclip predict demo/videos/test_trained --model miniature    the shipped model of that world
  vitaclip COMMAND --help                              examples and the usual settings; --help-all shows every setting

Settings are written as in Python and in YAML files, such as --data.time_limit_seconds; hyphens do as well. Short names:
--classes, --root and --workers stand for --data.classes, --data.root and --data.workers."""

COMMANDS: CommandTable = {
    "demo": ("vitaclip.cli.demo:Demo", "the whole method on a small offline world, in minutes"),
    "train": ("vitaclip.cli.train:Train", "teach a model your videos"),
    "eval": ("vitaclip.cli.evaluate:Evaluate", "accuracy on a list of videos or by a protocol"),
    "predict": ("vitaclip.cli.predict:Predict", "what is in video files or folders"),
    "moments": ("vitaclip.cli.moments:FindMoments", "what happens when in long videos, or where a text describes them"),
    "embed": ("vitaclip.cli.embed:Embed", "a vector for each video or window, for search and other programs"),
    "index": ("vitaclip.cli.search:Index", "an archive of videos that words, pictures and clips are searched in"),
    "search": (
        "vitaclip.cli.search:Search",
        "moments of an archive that are like a text, a picture or a clip",
    ),
    "explain": ("vitaclip.cli.explain:Explain", "why a video is given its name: frames, attention, names nearby"),
    "mcp": ("vitaclip.cli.mcp:Mcp", "tools for an assistant: classify, find moments, explain, search"),
    "ablate": ("vitaclip.cli.ablate:Ablate", "a table of variants and baselines over seeds"),
    "data": (
        {
            "prepare": ("vitaclip.cli.data:Prepare", "lists of a standard data set, from its annotations"),
            "scan": ("vitaclip.cli.data:Scan", "which videos of a list or folder can be read"),
            "resize": ("vitaclip.cli.data:Resize", "a smaller copy of a folder of videos, quicker to train from"),
        },
        "from a downloaded data set to checked lists and small copies",
    ),
    "export": ("vitaclip.cli.export:Export", "a model as files that other programs run, without torch too"),
    "convert": ("vitaclip.cli.convert:Convert", "a CLIP or a trained model of any format, in ours or as published"),
    "list": (
        "vitaclip.cli.list:List",
        "recipes, views, class names, templates, protocols, parts and backbones by name",
    ),
}
TRACEBACK_VARIABLE = "VITACLIP_TRACEBACK"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit status: 0 done, 1 some of the files failed, 2 a mistake in what was asked for, 130 interrupted,
        141 nobody reads the output, 143 training was asked to stop (SIGTERM) and saved its state.
    """
    # OpenMP's busy waiting stalls many-fold when another process computes on the same cores; read before torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # numpy computes little here, and a process without threads can be forked: see `expect_processes`.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    warnings.showwarning = lambda message, *_: print_error(str(message), "warning")
    try:
        given, plugins = take_plugins(sys.argv[1:] if arguments is None else arguments)
        if plugins:
            use_plugins(plugins)
        words = normalize(given)
        helps: Helps = "all" if HELP_ALL in words else "short" if {"-h", "--help"} & {*words} else ""
        parser = build_parser(words[0] if words else "", helps)
        parsed = parser.parse_args(["--help" if word == HELP_ALL else word for word in words])
        return command_of(parser.instantiate(parsed)).run()
    except ValueError as error:
        return _mistake(str(error))
    except BrokenPipeError:
        # Whoever reads our output has seen enough (`| head`). What is still in the buffer goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _mistake(f"{where}{error.strerror or error}; check the path, its rights and the disk")
    except KeyboardInterrupt:
        print("vitaclip: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        return _mistake(_describe(error))


def command_of(parsed: Namespace) -> Command:
    """The command that was asked for, maybe one of a group."""
    names = list[str]()
    while "command" in parsed:
        names.append(parsed.command)
        parsed = parsed[names[-1]]
    return find_command(COMMANDS, names).from_arguments(parsed)


def _describe(error: Exception) -> str:
    """What an error that nobody expected has to say, in one line."""
    said = " ".join(str(error).split())
    first = (str(error).splitlines() or ["out of memory"])[0].rstrip(".")
    # torch's OutOfMemoryError is known by its name, because a mere --help does not import torch.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in said:
        return (
            f"{first}. Take fewer at a time: in training a smaller optim.micro_batch_size (the step"
            " stays the same) or runtime.checkpoint_activations = true, else a smaller batch_size"
        )
    if isinstance(error, RecursionError):
        return f"what was given is nested too deeply ({said}); give a flatter file"
    return f"{type(error).__name__}: {said} (set {TRACEBACK_VARIABLE}=1 to see where)"


def _mistake(message: str) -> int:
    """Print the error, prefixed by the rank if it is not 0, and return the exit status."""
    rank = os.environ.get("RANK", "0")
    process = "" if rank == "0" else f"process {rank}: "
    print_error(f"{process}{message}")
    return 2


def build_parser(wanted: str | None = None, helps: Helps = "short") -> ArgumentParser:
    """The parser of all commands, or of one; see `add_commands`."""
    parser = CommandParser(prog="vitaclip", description=DESCRIPTION, formatter_class=HelpFormatter, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"vitaclip {__version__}")
    add_commands(parser, COMMANDS, wanted, helps)
    return parser
