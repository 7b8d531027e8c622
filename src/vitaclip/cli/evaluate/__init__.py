"""`vitaclip eval`."""

from jsonargparse import ArgumentParser, Namespace

from vitaclip.cli.evaluate.results import tell
from vitaclip.cli.evaluate.runs import Evaluation
from vitaclip.cli.models import add_data_arguments, add_model_arguments
from vitaclip.distributed import init_distributed
from vitaclip.evaluate.predictions import check_predictions_file
from vitaclip.interpolation import InterpolateConfig
from vitaclip.runtime import keep_freed_memory

DESCRIPTION = """\
Score a model on labelled videos: top-1, top-5, mean per-class accuracy, best and worst classes. The candidates are the
names in --classes, else the model's own, or those of the folders if the model does not know them: names that were
never trained on make it a zero-shot evaluation. Folders and labels find their class by name, whatever its capitals,
blanks and underscores. Several GPUs: torchrun --standalone --nproc-per-node 8 -m vitaclip eval ...

With --protocol: a protocol of the literature (`vitaclip list protocols` shows them) or one's own YAML file, on the
lists in --root. Where it needs several models, a word in braces stands for what tells them apart.

examples:
  vitaclip eval val/ --model runs/own_videos/model
  vitaclip eval test.csv --classes new_names.txt --model runs/own_videos/model --out result.json
  vitaclip eval test.csv --classes names.txt --backbone miniature --report report/
  vitaclip eval UCF101/ --classes ucf101 --template clip48 --model runs/own_videos/model
  vitaclip eval test.csv --model runs/tuned/model --interpolate.space weights --interpolate.alpha 0.5
  vitaclip eval runs/k400 --protocol ucf101_zeroshot --root lists/ucf101 --out ucf101.json
  vitaclip eval --protocol hmdb51_fewshot --root lists/hmdb51 --model "runs/hmdb51_{shots}/model" --views vificlip"""
SHOWN_SETTINGS = (
    "model",
    "backbone",
    "data.classes",
    "template",
    "protocol",
    "data.root",
    "views",
    "out",
    "report",
    "predictions",
    "data.workers",
)


def add_arguments(parser: ArgumentParser) -> None:
    """Videos or protocol, model, classes, views."""
    parser.add_argument(
        "videos",
        nargs="?",
        default="",
        help="a list file, a folder with one folder of videos per class, or tar files; with --protocol, which has its"
        " own lists: the model, as --model takes it",
    )
    parser.add_argument(
        "--protocol", type=str, default="", help="in place of videos: a protocol's name, or a YAML file"
    )
    add_model_arguments(parser)
    parser.add_class_arguments(
        InterpolateConfig,
        "interpolate",
        help="between frozen CLIP (alpha 0) and the model (alpha 1), in the towers' weights or in scores",
    )
    parser.add_argument("--out", type=str, default="", help="write the whole result to this .json file")
    parser.add_argument(
        "--report",
        type=str,
        default="",
        help="folder for a page (index.html, one file that needs no network), result.json and predictions.csv",
    )
    parser.add_argument(
        "--predictions",
        type=str,
        default="",
        help="write a row a video to this .csv, .jsonl or .parquet file; the last needs the `parquet` extra and has the"
        " probabilities of all classes. Of a protocol: a file for each part",
    )
    kept = ("root", "workers", "eval_batch_size", "on_error", "feature_cache")
    add_data_arguments(parser, *kept)


def run(arguments: Namespace) -> int:
    """Evaluate and print."""
    keep_freed_memory()
    if arguments.protocol and not arguments.model and not arguments.backbone:
        arguments.model, arguments.videos = arguments.videos, ""
    if bool(arguments.videos) == bool(arguments.protocol):
        raise ValueError("give either videos (a list file or a folder) or --protocol NAME")
    if arguments.predictions:
        check_predictions_file(arguments.predictions)
    with init_distributed() as dist:
        evaluation = Evaluation(arguments, dist)
        result = evaluation.run_protocol() if arguments.protocol else evaluation.run_list()
        if dist.is_rank0:
            tell(arguments, result, evaluation.load_model)
    return 0
