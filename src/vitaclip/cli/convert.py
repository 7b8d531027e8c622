"""`vitaclip convert`."""

from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser, Namespace

from vitaclip.backbones.families.family import CONFIG_FILE
from vitaclip.backbones.loading import save_backbone
from vitaclip.cli.models import check_outputs
from vitaclip.cli.screen import terminal
from vitaclip.data.lists.class_names import choose_classes
from vitaclip.files import check_no_input, check_place
from vitaclip.model import VideoModel
from vitaclip.saving.model_folder import check_folder

DESCRIPTION = """\
Write a folder that holds all one needs: a backbone folder for a CLIP; a model folder with its backbone inside for a
trained model. Or write a trained model under the key names of the published Vita-CLIP code.

examples:
  vitaclip convert ViT-B-16.pt clip_b16/                                   OpenAI's file, as a backbone folder
  vitaclip convert laion/CLIP-ViT-B-16-laion2B-s34B-b88K clip_b16/         from the Hugging Face hub
  vitaclip convert open_clip.pt clip/ --activation gelu                    weights that do not tell their activation
  vitaclip convert vitaclip_k400.pth model/ --classes kinetics400          a published checkpoint, as a model folder
  vitaclip convert runs/doors/model doors.pth --to published               and the other way
  vitaclip convert runs/doors/model doors/                                 a model, with its backbone put in"""


def add_arguments(parser: ArgumentParser) -> None:
    """From where, to where."""
    parser.add_argument(
        "source",
        type=str,
        help="model folder, run's model, hub repository, or weights of OpenAI, open_clip, transformers or Vita-CLIP",
    )
    parser.add_argument("out", type=str, help="folder to write; with --to published, the file")
    parser.add_argument(
        "--to", type=Literal["vitaclip", "published"], default="vitaclip", help="whose format (default: ours)"
    )
    parser.add_argument(
        "--activation",
        type=Literal["quick_gelu", "gelu"] | None,
        help="of weights that do not tell it: quick_gelu (OpenAI, MetaCLIP, DFN) or gelu (LAION, DataComp)",
    )
    parser.add_argument(
        "--backbone", type=str, help="of a checkpoint that lacks it (EVL's, ViFi-CLIP's): what --model.backbone takes"
    )
    parser.add_argument(
        "--classes",
        type=str,
        default="",
        help="class names of a published checkpoint, in the order of its training: a file, a data set that"
        " `vitaclip list classes` lists, or names with commas between",
    )


def run(arguments: Namespace) -> int:
    """Read, write, and say what it was."""
    if arguments.to == "published":
        check_outputs(arguments, arguments.out)
    else:
        check_no_input(arguments.out, [arguments.source])
        check_folder(Path(arguments.out))
        check_place(Path(arguments.out) / CONFIG_FILE)
    names = choose_classes(arguments.classes) if arguments.classes else ()
    model = VideoModel.from_pretrained(
        arguments.source, backbone=arguments.backbone, class_names=names, activation=arguments.activation
    )
    if arguments.to == "published":
        model.save_published(arguments.out)
        what = "a checkpoint under the published names"
    elif model.is_zero_shot:
        save_backbone(model.backbone, model.backbone.tokenizer, arguments.out)
        what = "a backbone folder"
    else:
        model.save_pretrained(arguments.out, embed_backbone=True)
        what = "a model folder with its backbone inside"
    vision = model.backbone.config.vision
    terminal().print(
        f"{arguments.out}: {what}; ViT of {vision.depth} layers, width {vision.width}, {vision.image_size} px in"
        f" patches of {vision.patch_size}, {vision.activation}; fingerprint {model.fingerprint}"
    )
    return 0
