"""The options that say which model is used and how, shared by the commands that use one."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from vitaclip.catalog import load_templates
from vitaclip.cli.screen import terminal
from vitaclip.data.config import DataConfig, ViewsConfig
from vitaclip.data.lists.class_names import choose_classes
from vitaclip.data.lists.sources import find_videos
from vitaclip.data.reading.member import VideoPath
from vitaclip.evaluate.class_texts import ClassPrompts, read_descriptions
from vitaclip.files import check_place
from vitaclip.model import VideoModel
from vitaclip.predictor import Predictor
from vitaclip.runtime import RuntimeConfig
from vitaclip.saving.model_folder import find_model_folder
from vitaclip.settings import Config

TOY = (
    "model: miniature, the default, a toy that knows moving coloured shapes only; for real videos name a model, such as"
    " --backbone openai/clip-vit-base-patch16"
)


def add_text_arguments(parser: ArgumentParser) -> None:
    """`--model` or `--backbone`, and what stands around a class name."""
    parser.add_argument(
        "--model",
        type=str,
        default="",
        help="a trained model: `miniature` (shipped; the default), a run's folder or a model folder (RUN/model), a"
        " repository of the Hugging Face hub, or a published checkpoint of Vita-CLIP, X-CLIP, EVL or ViFi-CLIP (if it"
        " learned something for each class, --classes names these in the order of its training)",
    )
    parser.add_argument(
        "--backbone",
        type=str,
        default="",
        help="instead of --model, plain CLIP without prompts: `miniature`, a repository such as"
        " openai/clip-vit-base-patch16, or the path of a CLIP in any format (see `vitaclip convert --help`); beside"
        " --model, the backbone of one that lacks it (EVL's, ViFi-CLIP's) or whose backbone was moved",
    )
    parser.add_argument(
        "--template",
        type=str,
        action="append",
        help="text with one {} instead of the learned context, a file with one a line, or a set that"
        " `vitaclip list templates` shows; may be repeated",
    )


def add_model_arguments(parser: ArgumentParser) -> None:
    """`--model` or `--backbone`, the wording of candidates, how videos are looked at, and where to compute."""
    add_text_arguments(parser)
    parser.add_argument("--descriptions", type=str, default="", help="JSON file: class name, then sentences about it")
    parser.add_class_arguments(
        ViewsConfig,
        "views",
        help="clips and crops of each video: --views takes a way of testing that `vitaclip list views` shows, or a YAML"
        " file; the options below change a part of it",
    )
    parser.add_class_arguments(RuntimeConfig, "runtime", help="device and precision")


def add_data_arguments(parser: ArgumentParser, *names: str) -> None:
    """Settings of `DataConfig` under their own names, such as `--data.workers`: these, and those of every command."""
    kept = {"classes", "time_limit_seconds", "limits", "pixel_aspect", *names}
    parser.add_class_arguments(DataConfig, "data", skip={each.name for each in fields(DataConfig)} - kept)


def check_outputs(arguments: Namespace, *files: str, inputs: Sequence[str] = ()) -> None:
    """Make sure that files can be written, and that none of them is read, before the long work; see `check_place`.

    Args:
        arguments: of the command; each text among them that names something on disk counts as read.
        files: what is to be written; empty ones are not asked for.
        inputs: what else is read.
    """
    read = [*inputs, *_texts([value for key, value in arguments.items() if key not in _OUTPUTS])]
    for file in filter(None, files):
        check_place(file, read)


_OUTPUTS = ("out", "predictions", "report")


def _texts(value: object) -> Iterator[str]:
    """The texts in a value, which may be a config or a list of others."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple | Config):
        for each in vars(value).values() if isinstance(value, Config) else value:
            yield from _texts(each)


def load_model(arguments: Namespace) -> VideoModel:
    """The model that the options name.

    Raises:
        ValueError: if there is no such model, or if both options are given and that is not its backbone.
    """
    if not arguments.model and arguments.backbone:
        return VideoModel.from_backbone(arguments.backbone)
    classes = getattr(arguments.get("data"), "classes", "")
    return VideoModel.from_pretrained(
        arguments.model or "miniature",
        backbone=arguments.backbone or None,
        class_names=choose_classes(classes) if classes else (),
    )


def model_name(arguments: Namespace) -> str:
    """What the model is called where results are told."""
    return arguments.model or arguments.backbone or "miniature"


def take_videos(arguments: Namespace) -> list[VideoPath]:
    """The videos that were asked for, one of which exists at least: that is found wrong before a model is loaded.

    `RUN VIDEO ...`: the folder of a run or of a model before the videos is the model, if none is named otherwise.

    Raises:
        ValueError: if there is none.
    """
    first, *others = arguments.videos
    if others and not arguments.model and not arguments.backbone and find_model_folder(Path(first)):
        arguments.model, arguments.videos = first, others
    paths = find_videos(arguments.videos)
    if not any(not isinstance(path, Path) or path.exists() for path in paths):
        raise ValueError(f"{paths[0]}: does not exist; name video files, or folders of them")
    return paths


def load_predictor(arguments: Namespace) -> Predictor:
    """The model that the options name, with the candidates that they name or else its own; prints how their names are
    put into words.

    Raises:
        ValueError: as `load_model`, and if there are no candidates.
    """
    if not arguments.model and not arguments.backbone:
        terminal().print(TOY)
    prompts, data = read_prompts(arguments), arguments.data
    names = choose_classes(data.classes) if data.classes else ()
    predictor = Predictor(load_model(arguments), views=arguments.views, runtime=arguments.runtime, data=data)
    if not names and not predictor.class_names:
        raise ValueError('this model has no classes of its own; name some with --classes "a, b, c" or a file')
    texts = predictor.set_classes(names or predictor.class_names, prompts.templates, prompts.descriptions)
    terminal().print(f"text: {texts.note}")
    terminal().print(f"computed on {predictor.computed}")
    return predictor


def read_prompts(arguments: Namespace) -> ClassPrompts:
    """How names are put into words, as the options say."""
    templates = read_templates(arguments.template)
    return ClassPrompts(templates, read_descriptions(arguments.descriptions) if arguments.descriptions else {})


def read_templates(given: Sequence[str] | None) -> tuple[str, ...]:
    """The texts of `--template`, with the texts of a file or of a set in the place of its name; none if not given.

    Raises:
        ValueError: for what is neither a text with {}, nor a file of such texts, nor a set of the catalogue.
    """
    texts = tuple(text for value in given or () for text in _templates(value))
    for text in texts:
        if text.count("{}") != 1:
            raise ValueError(f"--template: template {text!r} must hold {{}} exactly once, where the class name goes")
    return texts


def _templates(value: str) -> Sequence[str]:
    if "{}" in value:
        return [value]
    if Path(value).is_file():
        lines = Path(value).read_text(encoding="utf-8-sig").splitlines()
        return [line.strip() for line in lines if line.strip()] or [""]
    try:
        return load_templates(value)
    except ValueError as error:
        raise ValueError(f"--template: {error}; a text needs {{}} where the class name goes") from error
