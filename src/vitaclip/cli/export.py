"""`vitaclip export`."""

from dataclasses import dataclass

from vitaclip.cli.command import Command, argument
from vitaclip.cli.screen import print_table, terminal
from vitaclip.data.lists.sources import choose_classes
from vitaclip.export.exporter import Format, export_model
from vitaclip.files import check_no_input
from vitaclip.model import VideoModel


@dataclass(frozen=True, kw_only=True)
class Export(Command):
    """Write a model as files that other programs run, its prompts baked in: functions of videos, of texts and of both,
    each compared with the model on the spot, and a description of pixels, sampling and tokens (export.json).
    vitaclip.export.Predictor uses such a folder without torch.

    examples:
      vitaclip export runs/doors --to onnx --out doors_onnx/
      vitaclip export miniature --to torch --out miniature_pt2/
      vitaclip export openai/clip-vit-base-patch16 --to openvino --classes "opening a door, closing a door" --out clip/
    """

    source: str
    """A run's folder, a model folder, a repository of the Hugging Face hub, a published checkpoint, or `miniature`."""
    out: str = argument(positional=False, required=True)
    """Folder to write."""
    to: Format = "onnx"
    """onnx: for onnxruntime and others; torch: .pt2 files of torch.export; openvino: for Intel's CPUs."""
    classes: str = ""
    """Classes whose scores a video alone gives: a file, a data set that `vitaclip list classes` lists, or names with
    commas between. Empty: those that the model was trained on."""

    def run(self) -> int:
        """Write the files and print how far each is from the model."""
        check_no_input(self.out, [self.source])
        names = choose_classes(self.classes) if self.classes else ()
        about = export_model(VideoModel.from_pretrained(self.source), self.out, to=self.to, class_names=names)
        rows = [(name, out, f"{error:.1e}") for name, outs in about["errors"].items() for out, error in outs.items()]
        print_table(terminal(), "", ("function", "output", "difference from the model"), rows)
        terminal().print(f"{self.out}: {self.to}, {len(about['classes'])} classes baked in")
        return 0
