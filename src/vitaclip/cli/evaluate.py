"""`vitaclip eval`."""

from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from vitaclip.cli.models import add_model_arguments, load_model
from vitaclip.cli.screen import counting_bar, print_table, progress_bars, terminal
from vitaclip.config import DataConfig

if TYPE_CHECKING:
    from vitaclip.data import NamedVideos

HELP = "accuracy on a list of videos, on trained or never-trained classes"
DESCRIPTION = """\
Score a model on labelled videos: top-1, top-5, mean per-class accuracy, best and worst classes. The candidates are the
names in --classes, else the model's own, or those of the folders if the model does not know them: names that were
never trained on make it a zero-shot evaluation.

examples:
  vitaclip eval val/ --model runs/own_videos/model
  vitaclip eval test.csv --classes new_names.txt --model runs/own_videos/model --out result.json
  vitaclip eval test.csv --classes names.txt --backbone miniature --views.temporal 3"""


def add_arguments(parser: ArgumentParser) -> None:
    """Videos, model, classes, views."""
    parser.add_argument("videos", help="a list file, or a folder with one folder of videos per class")
    add_model_arguments(parser)
    parser.add_argument("--classes", type=str, default="", help="file with one class name a line")
    parser.add_argument("--root", type=str, default="", help="folder that paths in the list are relative to")
    parser.add_argument("--out", type=str, default="", help="write the whole result to this .json file")
    parser.add_argument("--workers", type=int, default=2, help="processes that read videos")
    parser.add_argument("--batch_size", type=int, default=8, help="videos that go through the model at a time")
    parser.add_argument("--index_cache", type=str, default="", help="folder that keeps where the videos' frames are")
    parser.add_argument(
        "--on_error",
        choices=("skip", "raise"),
        default="skip",
        help="a video that cannot be read: leave out, or stop",
    )


def _read(arguments: Namespace, known: tuple[str, ...]) -> "NamedVideos":
    """The videos; candidates are the names given, else the model's, else, where a folder shows others, the folder's."""
    from vitaclip.data import read_videos

    def read(class_names: tuple[str, ...] | None) -> "NamedVideos":
        return read_videos(
            arguments.videos,
            "the list of videos",
            root=arguments.root,
            classes=arguments.classes,
            class_names=class_names,
        )

    if Path(arguments.videos).is_dir() and not arguments.classes:
        videos = read(None)
        return read(known) if set(videos.class_names) <= set(known) else videos
    return read(known or None)


def run(arguments: Namespace) -> int:
    """Evaluate and print."""
    from vitaclip.evaluate.evaluation import Evaluation
    from vitaclip.files import write_json
    from vitaclip.runtime import pick_device

    model = load_model(arguments).to(pick_device(arguments.runtime.device))
    videos = _read(arguments, model.class_names)
    data = DataConfig(
        workers=arguments.workers,
        eval_batch_size=arguments.batch_size,
        on_error=arguments.on_error,
        index_cache=arguments.index_cache,
    )
    evaluation = Evaluation(
        model, videos.rows, videos.class_names, arguments.views, arguments.runtime, data, arguments.template
    )
    with progress_bars(terminal(stderr=True)) as progress:
        evaluated = evaluation.run(counting_bar(progress, "evaluating", evaluation.num_videos))
    result = evaluated.result
    console = terminal()
    unseen = sum(name not in model.class_names for name in videos.class_names)
    kind = f"{unseen} of {len(videos.class_names)} classes never trained on"
    rows = [
        ("top-1", f"{result.top1:.2%}"),
        ("top-5", f"{result.top5:.2%}"),
        ("mean per-class", f"{result.mean_class_accuracy:.2%}"),
        ("videos scored", str(result.num_videos)),
        ("videos left out", str(len(result.left_out))),
    ]
    print_table(console, f"{arguments.videos}: {kind}", ("accuracy", ""), rows)
    ranked = sorted(result.class_accuracy.items(), key=lambda item: (-item[1], item[0]))
    shown = ranked if len(ranked) <= 10 else [*ranked[:5], *ranked[-5:]]
    heading = "class" if shown is ranked else "class (five best, five worst)"
    print_table(console, "", (heading, "accuracy"), [(name, f"{share:.1%}") for name, share in shown])
    for line in result.left_out:
        console.print(f"left out: {line}", style="yellow")
    if arguments.out:
        write_json(arguments.out, result.to_dict())
    return 0
