"""What labelled videos say about class names: the part of `vitaclip classes check` that `--videos` asks for."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from vitaclip.cli.models import add_looking_arguments, add_reading_arguments, reading_config
from vitaclip.cli.screen import counting_bar, print_left_out, print_table, progress_bars, terminal

if TYPE_CHECKING:
    from vitaclip.evaluate.wording import Wording
    from vitaclip.evaluate.wording_trials import Trial, WordingTrials
    from vitaclip.model import VitaCLIP

SHOWN = 12


def add_trial_arguments(parser: ArgumentParser) -> None:
    """The labelled videos, and how they are read and looked at."""
    parser.add_argument(
        "--videos",
        type=str,
        default="",
        help="labelled videos to try wordings and texts on: a list file, or a folder with one folder per class",
    )
    parser.add_argument("--root", type=str, default="", help="folder that paths of the list are relative to")
    add_reading_arguments(parser)
    add_looking_arguments(parser)


def run_trials(arguments: Namespace, model: "VitaCLIP", names: Sequence[str], wording: "Wording") -> "WordingTrials":
    """Embed the videos once, then score them with every wording."""
    from vitaclip.data import read_videos
    from vitaclip.evaluate.evaluation import Evaluation
    from vitaclip.evaluate.wording_trials import count_texts, try_wordings
    from vitaclip.runtime import autocast

    data = reading_config(arguments)
    found = read_videos(
        arguments.videos,
        "--videos",
        root=arguments.root,
        class_names=names,
        keep_absent=data.on_error == "skip",
    )
    evaluation = Evaluation(model, found.rows, names, arguments.views, arguments.runtime, data)
    console = terminal(stderr=True)
    with progress_bars(console) as progress:
        videos = evaluation.encode(counting_bar(progress, "embedding videos", evaluation.num_videos))
        print_left_out(console, list(videos.left_out.values()))
        return try_wordings(
            model,
            names,
            videos,
            wording,
            arguments.views.average,
            partial(autocast, arguments.runtime, model.device),
            counting_bar(progress, "trying texts", count_texts(model, names, wording)),
        )


def print_trials(trials: "WordingTrials") -> None:
    """The best candidates and the present choice, the verdict, and what the best still confuses."""
    console = terminal()
    shown = list(trials.trials[:SHOWN])
    shown += [trials.present] if trials.present not in shown else []
    rows = [_row(trial, trial == trials.present) for trial in shown]
    count = f"{trials.num_videos} videos of {trials.num_classes} classes"
    more = f", the best {SHOWN} and the present choice" if len(trials.trials) > len(shown) else ""
    headings = ("text", "names", "top-1", "± s.e.", "points from present", "p")
    print_table(console, f"{len(trials.trials)} candidates on {count}{more}", headings, rows)
    console.print(trials.verdict, style="bold", soft_wrap=True)
    notes = [
        "s.e.: standard error; that of points from the present choice is paired. p: McNemar's test, adjusted for"
        f" looking at {len(trials.trials)} candidates.",
        "What comes first was picked on these very videos, so it looks better than it is. Picked on one half of them,"
        f" the best has a top-1 of {trials.held_out_top1:.1%} on the other half (mean over random halves); the present"
        f" choice has {trials.present.top1:.1%}.",
    ]
    if not trials.suggestions_differ:
        notes.append(
            "The suggested names read the same to the text tower: capitals and underscores make no difference."
        )
    if trials.not_tried:
        notes.append(f"Not tried, since a name does not fit: {', '.join(trials.not_tried)}.")
    for note in notes:
        console.print(note, soft_wrap=True)
    if trials.names:
        gains = [(each.name, each.suggestion, _points(each.compared.difference)) for each in trials.names]
        title = "names whose suggestion alone is better by more than chance, in the best text"
        print_table(console, title, ("name", "better", "points of top-1"), gains)
    elif trials.suggestions_differ:
        console.print("No single name's suggestion is better by more than chance.")
    if trials.pairs:
        pairs = [(f"{pair.truth}  for  {pair.chosen}", f"{pair.count} of {pair.videos}") for pair in trials.pairs]
        print_table(console, "most frequent mistakes of the best", ("taken", "videos"), pairs)


def _row(trial: "Trial", present: bool) -> tuple[str, ...]:
    figures = (f"{trial.top1:.1%}", f"{100 * trial.standard_error:.1f}")
    if present:
        return (f"{trial.text}  (present)", trial.wording, *figures, "", "")
    compared = trial.compared
    points = f"{_points(compared.difference)} ± {100 * compared.standard_error:.1f}"
    return (trial.text, trial.wording, *figures, points, f"{compared.p_value:.4f}")


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f}"
