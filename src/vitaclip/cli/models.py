"""The options that say which model is used and how, shared by the commands that use one."""

from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from vitaclip.config import RuntimeConfig, ViewsConfig

if TYPE_CHECKING:
    from vitaclip.model import VitaCLIP


def add_model_arguments(parser: ArgumentParser) -> None:
    """`--model` or `--backbone`, how names are worded, how videos are looked at, and where to compute."""
    parser.add_argument(
        "--model",
        type=str,
        default="",
        help="a trained model: `miniature` (shipped; the default) or a model folder, such as RUN/model",
    )
    parser.add_argument(
        "--backbone",
        type=str,
        default="",
        help="instead of --model, plain CLIP without prompts: `miniature` or a backbone folder",
    )
    parser.add_argument(
        "--template", type=str, action="append", help="text with one {} instead of the learned context; may be repeated"
    )
    parser.add_class_arguments(ViewsConfig, "views", help="clips and crops of each video")
    parser.add_class_arguments(RuntimeConfig, "runtime", help="device and precision")


def load_model(arguments: Namespace) -> "VitaCLIP":
    """The model that the options name.

    Raises:
        ValueError: if both options are given, or there is no such model.
    """
    from vitaclip.model import VitaCLIP

    if arguments.model and arguments.backbone:
        raise ValueError("--model and --backbone exclude each other; give one")
    if arguments.backbone:
        return VitaCLIP.from_backbone(arguments.backbone)
    return VitaCLIP.from_pretrained(arguments.model or "miniature")


def read_names(classes: str) -> tuple[str, ...]:
    """Class names from a file with one a line, or from a comma-separated list.

    Raises:
        ValueError: if there is none, or one comes twice.
    """
    from pathlib import Path

    from vitaclip.data import check_class_names, read_class_names

    if Path(classes).is_file():
        return read_class_names(classes)
    return check_class_names([name.strip() for name in classes.split(",")], "--classes")
