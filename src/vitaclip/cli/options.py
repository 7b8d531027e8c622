"""The settings that say which model is used and how, shared by the commands that use one."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Self

from vitaclip.catalog import load_templates
from vitaclip.cli.command import Command, argument
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
DATA_SETTINGS = ("classes", "workers", "time_limit_seconds", "limits", "pixel_aspect", "eval_batch_size")
"""Settings of `DataConfig` that every command has which uses a model."""


@dataclass(frozen=True, kw_only=True)
class ModelCommand(Command):
    """A command that uses a model on videos."""

    kept: ClassVar[Mapping[str, Collection[str]]] = {"data": DATA_SETTINGS}
    model: str = ""
    """A trained model: `miniature` (shipped; the default), a run's folder or a model folder (RUN/model), a repository
    of the Hugging Face hub, or a published checkpoint of Vita-CLIP, X-CLIP, EVL or ViFi-CLIP (if it learned something
    for each class, --classes names these in the order of its training)."""
    backbone: str = ""
    """Instead of --model, plain CLIP without prompts: `miniature`, a repository such as openai/clip-vit-base-patch16,
    or the path of a CLIP in any format (see `vitaclip convert --help`). Beside --model, the backbone of one that lacks
    it (EVL's, ViFi-CLIP's) or whose backbone was moved."""
    template: tuple[str, ...] = argument((), action="append")
    """Text with one {} instead of the learned context, a file with one a line, or a set that `vitaclip list templates`
    shows; may be repeated."""
    descriptions: str = ""
    """JSON file: class name, then sentences about it."""
    views: ViewsConfig = field(default_factory=ViewsConfig)
    """Clips and crops of each video: a way of testing that `vitaclip list views` shows, or a YAML file."""
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    """Device and precision."""
    data: DataConfig = field(default_factory=DataConfig)
    """How videos are read."""

    @property
    def model_name(self) -> str:
        """What the model is called where results are told."""
        return self.model or self.backbone or "miniature"

    def load_model(self) -> VideoModel:
        """The model that is named.

        Raises:
            ValueError: if there is no such model, or if a backbone is named that is not the model's.
        """
        if not self.model and self.backbone:
            return VideoModel.from_backbone(self.backbone)
        names = choose_classes(self.data.classes) if self.data.classes else ()
        return VideoModel.from_pretrained(self.model_name, backbone=self.backbone or None, class_names=names)

    @property
    def prompts(self) -> ClassPrompts:
        """How names are put into words.

        Raises:
            ValueError: if that is neither a text with {}, nor a file of such texts, nor a set of the catalogue.
        """
        texts = tuple(text for value in self.template for text in _templates(value))
        for text in texts:
            if text.count("{}") != 1:
                raise ValueError(
                    f"--template: template {text!r} must hold {{}} exactly once, where the class name goes"
                )
        return ClassPrompts(texts, read_descriptions(self.descriptions) if self.descriptions else {})

    def load_predictor(self) -> Predictor:
        """The model with the candidates that are named, or else its own; prints how their names are put into words.

        Raises:
            ValueError: as `load_model`, and if there are no candidates.
        """
        if not self.model and not self.backbone:
            terminal().print(TOY)
        prompts, names = self.prompts, choose_classes(self.data.classes) if self.data.classes else ()
        predictor = Predictor(self.load_model(), views=self.views, runtime=self.runtime, data=self.data)
        if not names and not predictor.class_names:
            raise ValueError('this model has no classes of its own; name some with --classes "a, b, c" or a file')
        texts = predictor.set_classes(names or predictor.class_names, prompts.templates, prompts.descriptions)
        terminal().print(f"text: {texts.note}")
        terminal().print(f"computed on {predictor.computed}")
        return predictor


@dataclass(frozen=True, kw_only=True)
class VideosCommand(ModelCommand):
    """A command that uses a model on each of several videos."""

    videos: tuple[str, ...] = argument(positional=True, nargs="+")
    """Video files, or folders that are searched for them; a run may come first."""

    def with_model_first(self) -> Self:
        """`RUN VIDEO ...`: the folder of a run or of a model before the videos is the model, if none is named."""
        first, *others = self.videos
        if others and not self.model and not self.backbone and find_model_folder(Path(first)):
            return replace(self, model=first, videos=tuple(others))
        return self

    def find_videos(self) -> list[VideoPath]:
        """The videos, one of which exists at least: that is found wrong before a model is loaded.

        Raises:
            ValueError: if there is none.
        """
        paths = find_videos(self.videos)
        if not any(not isinstance(path, Path) or path.exists() for path in paths):
            raise ValueError(f"{paths[0]}: does not exist; name video files, or folders of them")
        return paths


def check_outputs(command: Command, *files: str, inputs: Sequence[str] = ()) -> None:
    """Make sure that files can be written, and that none of them is read, before the long work; see `check_place`.

    Args:
        command: each text of its settings, but for the places to write to, counts as read.
        files: what is to be written; empty ones are not asked for.
        inputs: what else is read.
    """
    read = [*inputs, *_texts([value for name, value in vars(command).items() if name not in _OUTPUTS])]
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


def _templates(value: str) -> Sequence[str]:
    """The texts of one `--template`: itself, those of a file, or those of a set."""
    if "{}" in value:
        return [value]
    if Path(value).is_file():
        lines = Path(value).read_text(encoding="utf-8-sig").splitlines()
        return [line.strip() for line in lines if line.strip()] or [""]
    try:
        return load_templates(value)
    except ValueError as error:
        raise ValueError(f"--template: {error}; a text needs {{}} where the class name goes") from error
