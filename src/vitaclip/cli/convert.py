"""`vitaclip convert`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vitaclip.backbones.families.family import CONFIG_FILE
from vitaclip.backbones.loading import save_backbone
from vitaclip.cli.command import Command
from vitaclip.cli.screen import terminal
from vitaclip.data.lists.sources import choose_classes
from vitaclip.files import check_no_input, check_place
from vitaclip.model import VideoModel
from vitaclip.saving.model_folder import check_folder


@dataclass(frozen=True, kw_only=True)
class Convert(Command):
    """Write a folder that holds all one needs: a backbone folder for a CLIP; a model folder with its backbone inside
    for a trained model. Or write a trained model under the key names of the published Vita-CLIP code.

    examples:
      vitaclip convert ViT-B-16.pt clip_b16/                                   OpenAI's file, as a backbone folder
      vitaclip convert laion/CLIP-ViT-B-16-laion2B-s34B-b88K clip_b16/         from the Hugging Face hub
      vitaclip convert open_clip.pt clip/ --activation gelu                    weights that do not tell their activation
      vitaclip convert vitaclip_k400.pth model/ --classes kinetics400          a published checkpoint, as a model folder
      vitaclip convert runs/doors/model doors.pth --to published               and the other way
      vitaclip convert runs/doors/model doors/                                 a model, with its backbone put in
    """

    source: str
    """Model folder, run's model, hub repository, or weights of OpenAI, open_clip, transformers or Vita-CLIP."""
    out: str
    """Folder to write; with --to published, the file."""
    to: Literal["vitaclip", "published"] = "vitaclip"
    """Whose format; vitaclip is ours."""
    activation: Literal["", "quick_gelu", "gelu"] = ""
    """Of weights that do not tell it: quick_gelu (OpenAI, MetaCLIP, DFN) or gelu (LAION, DataComp)."""
    backbone: str = ""
    """Of a checkpoint that lacks it (EVL's, ViFi-CLIP's): what --model.backbone takes."""
    classes: str = ""
    """Class names of a published checkpoint, in the order of its training: a file, a data set that `vitaclip list
    classes` lists, or names with commas between."""

    def run(self) -> int:
        """Read, write, and say what it was."""
        if self.to == "published":
            check_place(self.out, [self.source, self.backbone, self.classes])
        else:
            check_no_input(self.out, [self.source])
            folder = Path(self.out)
            check_folder(folder)
            if folder.is_dir() and any(folder.iterdir()) and not (folder / CONFIG_FILE).exists():
                raise ValueError(f"{folder}: holds other things; name a new or empty folder")
            check_place(folder / CONFIG_FILE)
        names = choose_classes(self.classes) if self.classes else ()
        model = VideoModel.from_pretrained(
            self.source, backbone=self.backbone or None, class_names=names, activation=self.activation or None
        )
        _, _, size = model.in_words["backbone"].rpartition(": ")
        terminal().print(f"{self.out}: {self._write(model)}; {size}; fingerprint {model.fingerprint}")
        return 0

    def _write(self, model: VideoModel) -> str:
        """Write the model, and say as what."""
        if self.to == "published":
            model.save_published(self.out)
            return "a checkpoint under the published names"
        if model.is_zero_shot:
            save_backbone(model.backbone, model.backbone.tokenizer, self.out)
            return "a backbone folder"
        model.save_pretrained(self.out, embed_backbone=True)
        return "a model folder with its backbone inside"
