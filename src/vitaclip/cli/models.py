"""The options that say which model is used and how, shared by the commands that use one."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from vitaclip.cli.screen import terminal
from vitaclip.config import DataConfig, RuntimeConfig, VideoLimits, ViewsConfig

if TYPE_CHECKING:
    from vitaclip.evaluate.class_texts import ClassPrompts
    from vitaclip.model import VideoModel
    from vitaclip.predictor import Predictor


def add_text_arguments(parser: ArgumentParser) -> None:
    """`--model` or `--backbone`, and what stands around a class name."""
    parser.add_argument(
        "--model",
        type=str,
        default="",
        help="a trained model: `miniature` (shipped; the default), a run's folder or a model folder (RUN/model), a"
        " repository of the Hugging Face hub, or a published Vita-CLIP checkpoint",
    )
    parser.add_argument(
        "--backbone",
        type=str,
        default="",
        help="instead of --model, plain CLIP without prompts: `miniature`, a repository such as"
        " openai/clip-vit-base-patch16, or the path of a CLIP in any format (see `vitaclip convert --help`)",
    )
    parser.add_argument(
        "--template",
        type=str,
        action="append",
        help="text with one {} instead of the learned context, a file with one a line, or a set that"
        " `vitaclip data templates` lists; may be repeated",
    )


def add_model_arguments(parser: ArgumentParser) -> None:
    """`--model` or `--backbone`, candidates and their wording, how videos are looked at, and where to compute."""
    add_text_arguments(parser)
    parser.add_argument(
        "--classes",
        type=str,
        default="",
        help="candidates: a file with one name a line; if there is no such file, a data set that"
        " `vitaclip data classes` lists; else names with commas between",
    )
    parser.add_argument("--descriptions", type=str, default="", help="JSON file: class name, then sentences about it")
    add_looking_arguments(parser)


def add_looking_arguments(parser: ArgumentParser) -> None:
    """How videos are looked at, and where to compute."""
    parser.add_class_arguments(
        ViewsConfig,
        "views",
        help="clips and crops of each video: --views takes a way of testing that `vitaclip config` lists, or a YAML"
        " file; the options below change a part of it",
    )
    parser.add_class_arguments(RuntimeConfig, "runtime", help="device and precision")


def add_reading_arguments(parser: ArgumentParser, labelled: bool = True) -> None:
    """How videos are read; `labelled` ones may stop the command, and have their features kept."""
    parser.add_argument("--workers", type=int, default=2, help="processes that read videos")
    parser.add_argument("--batch_size", type=int, default=8, help="videos that go through the model at a time")
    parser.add_argument("--index_cache", type=str, default="", help="folder that keeps where the videos' frames are")
    if labelled:
        parser.add_argument(
            "--feature_cache",
            type=str,
            default="",
            help="folder that keeps the videos' features, of models without prompts in the image tower",
        )
        parser.add_argument(
            "--on_error",
            choices=("skip", "raise"),
            default="skip",
            help="a video that is not there or cannot be read: leave out, or stop",
        )
    parser.add_argument(
        "--time_limit_seconds",
        type=float,
        default=DataConfig.time_limit_seconds,
        help="a video that takes a worker longer cannot be read; 0: no limit",
    )
    add_limits(parser)


def add_limits(parser: ArgumentParser) -> None:
    """`--limits.frames` and so on."""
    parser.add_class_arguments(VideoLimits, "limits", help="what a video may be at most")


def reading_config(arguments: Namespace) -> DataConfig:
    """What the options of `add_reading_arguments` say."""
    return DataConfig(
        workers=arguments.workers,
        eval_batch_size=arguments.batch_size,
        on_error=arguments.get("on_error", "skip"),
        index_cache=arguments.index_cache,
        feature_cache=arguments.get("feature_cache", ""),
        time_limit_seconds=arguments.time_limit_seconds,
        limits=arguments.limits,
    )


def check_outputs(arguments: Namespace, *files: str, inputs: Sequence[str] = ()) -> None:
    """Make sure that files can be written, and that none of them is read, before the long work; see `check_place`.

    Args:
        arguments: of the command; each text among them that names something on disk counts as read.
        files: what is to be written; empty ones are not asked for.
        inputs: what else is read.
    """
    from vitaclip.files import check_place

    given = [text for key, value in arguments.items() if key not in _OUTPUTS for text in _texts(value)]
    for file in filter(None, files):
        check_place(file, [*given, *inputs])


_OUTPUTS = ("out", "out_json", "predictions", "report")


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
    elif is_dataclass(value) and not isinstance(value, type):
        for each in fields(value):
            yield from _texts(getattr(value, each.name))


def load_model(arguments: Namespace) -> "VideoModel":
    """The model that the options name.

    Raises:
        ValueError: if both options are given, or there is no such model.
    """
    from vitaclip.model import VideoModel

    if arguments.model and arguments.backbone:
        raise ValueError("--model and --backbone exclude each other; give one")
    if arguments.backbone:
        return VideoModel.from_backbone(arguments.backbone)
    return VideoModel.from_pretrained(arguments.model or "miniature")


def model_name(arguments: Namespace) -> str:
    """What the model is called where results are told."""
    return arguments.backbone or arguments.model or "miniature"


def take_model_first(arguments: Namespace) -> None:
    """`RUN VIDEO ...`: the folder of a run or of a model before the videos is the model, if none is named otherwise."""
    from vitaclip.saving.model_folder import find_model_folder

    first, *others = arguments.videos
    if others and not arguments.model and not arguments.backbone and find_model_folder(Path(first)):
        arguments.model, arguments.videos = first, others


def load_predictor(arguments: Namespace) -> "Predictor":
    """The model that the options name, with the candidates that they name or else its own; says how their names are put
    into words.

    Raises:
        ValueError: as `load_model`, and if there are no candidates.
    """
    from vitaclip.data import choose_classes
    from vitaclip.predictor import Predictor

    prompts = read_prompts(arguments)
    predictor = Predictor(
        load_model(arguments), views=arguments.views, runtime=arguments.runtime, limits=arguments.limits
    )
    names = choose_classes(arguments.classes) if arguments.classes else predictor.class_names
    if not names:
        raise ValueError('this model has no classes of its own; name some with --classes "a, b, c" or a file')
    texts = predictor.set_classes(names, prompts.templates, prompts.descriptions)
    terminal().print(f"text: {texts.note}", soft_wrap=True)
    terminal().print(f"computed on {predictor.computed}", soft_wrap=True)
    return predictor


def read_prompts(arguments: Namespace) -> "ClassPrompts":
    """How names are put into words, as the options say."""
    from vitaclip.evaluate.class_texts import ClassPrompts, read_descriptions

    templates = read_templates(arguments.template)
    return ClassPrompts(templates, read_descriptions(arguments.descriptions) if arguments.descriptions else {})


def read_templates(given: Sequence[str] | None) -> tuple[str, ...]:
    """The texts of `--template`, with the texts of a file or of a set in the place of its name; none if not given.

    Raises:
        ValueError: for what is neither a text with {}, nor a file of such texts, nor a set of the catalogue.
    """
    return tuple(text for value in given or () for text in _templates(value))


def _templates(value: str) -> Sequence[str]:
    from vitaclip.catalog import load_templates

    if "{}" in value:
        return [_checked(value, "--template")]
    if Path(value).is_file():
        lines = Path(value).read_text(encoding="utf-8-sig").splitlines()
        texts = [_checked(line.strip(), value) for line in lines if line.strip()]
        if not texts:
            raise ValueError(f"{value}: holds no template; write one text with {{}} a line")
        return texts
    try:
        return load_templates(value)
    except ValueError as error:
        raise ValueError(f"--template: {error}; a text needs {{}} where the class name goes") from error


def _checked(text: str, where: str) -> str:
    if text.count("{}") != 1:
        raise ValueError(f"{where}: template {text!r} must hold {{}} exactly once, where the class name goes")
    return text
