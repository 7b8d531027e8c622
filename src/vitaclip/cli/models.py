"""The options that say which model is used and how, shared by the commands that use one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from vitaclip.config import RuntimeConfig, ViewsConfig

if TYPE_CHECKING:
    from vitaclip.model import VitaCLIP


def add_model_arguments(parser: ArgumentParser) -> None:
    """`--model` or `--backbone`, candidates and their wording, how videos are looked at, and where to compute."""
    parser.add_argument(
        "--model",
        type=str,
        default="",
        help="a trained model: `miniature` (shipped; the default), a model folder such as RUN/model, a repository of"
        " the Hugging Face hub, or a published Vita-CLIP checkpoint",
    )
    parser.add_argument(
        "--backbone",
        type=str,
        default="",
        help="instead of --model, plain CLIP without prompts: `miniature`, a repository such as"
        " openai/clip-vit-base-patch16, or the path of a CLIP in any format (see `vitaclip convert --help`)",
    )
    parser.add_argument(
        "--classes",
        type=str,
        default="",
        help="candidates: a file with one name a line; if there is no such file, a data set that"
        " `vitaclip data classes` lists; else names with commas between",
    )
    parser.add_argument(
        "--template",
        type=str,
        action="append",
        help="text with one {} instead of the learned context, or a set that `vitaclip data templates` lists; may be"
        " repeated",
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


def read_templates(given: Sequence[str] | None) -> list[str] | None:
    """The texts of `--template`, with the texts of a set in the place of its name; None if there are none.

    Raises:
        ValueError: for what is neither a text with {} nor a set of the catalogue.
    """
    from vitaclip.catalog import load_templates

    if not given:
        return None
    return [text for value in given for text in ([value] if "{}" in value else load_templates(value))]
