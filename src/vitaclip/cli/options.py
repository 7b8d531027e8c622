"""The settings that say which model is used and how, shared by the commands that use one."""

import glob
import itertools
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Self

from rich.console import Console

from vitaclip.backbones.hub import DEFAULT_BACKBONE
from vitaclip.catalog import load_templates
from vitaclip.cli.command import Command, argument
from vitaclip.cli.screen import terminal
from vitaclip.data.config import DataConfig, ViewsConfig
from vitaclip.data.lists.sources import choose_classes, find_videos, read_videos
from vitaclip.data.lists.video_list import VideoList, VideoSample, content_lines, read_text
from vitaclip.data.reading.container import VIDEO_SUFFIXES
from vitaclip.data.reading.live import LiveVideo, is_live
from vitaclip.data.reading.path import VideoPath
from vitaclip.model import VideoModel
from vitaclip.predictor import Predictor
from vitaclip.runtime import RuntimeConfig
from vitaclip.saving.model_folder import find_model_folder

PLAIN_CLIP = (
    f"model: {DEFAULT_BACKBONE}, because neither --model nor --backbone is named: plain CLIP, which names things and"
    " scenes and hardly any motion; `vitaclip train` makes a model that does"
)
_LISTS = (".csv", ".txt", ".tsv", ".jsonl")
DATA_SETTINGS = (
    "classes",
    "workers",
    "time_limit_seconds",
    "live_seconds",
    "limits",
    "pixel_aspect",
    "eval_batch_size",
)
"""Settings of `DataConfig` that every command has which uses a model."""


@dataclass(frozen=True, kw_only=True)
class ModelCommand(Command):
    """A command that uses a model on videos."""

    kept: ClassVar[Mapping[str, Collection[str]]] = {"data": DATA_SETTINGS}
    model: str = ""
    """A trained model: a run's folder or a model folder (RUN/model), a repository of the Hugging Face hub, a published
    checkpoint of Vita-CLIP, X-CLIP, EVL or ViFi-CLIP (if it learned something for each class, --classes names these in
    the order of its training), or `miniature` (shipped; knows moving coloured shapes alone). Empty: plain CLIP."""
    backbone: str = ""
    """Instead of --model, plain CLIP without prompts: a repository such as openai/clip-vit-base-patch16 (the default),
    or the path of a CLIP in any format (see `vitaclip convert --help`). Beside --model, where the backbone of one is
    that lacks it (EVL's, ViFi-CLIP's) or whose backbone was moved."""
    template: tuple[str, ...] = argument((), action="append")
    """Text with one {} instead of the learned context, a file with one a line, or a set that `vitaclip list templates`
    shows; may be repeated."""
    views: ViewsConfig = field(default_factory=ViewsConfig)
    """Clips and crops of each video: a way of testing that `vitaclip list views` shows, or a YAML file."""
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    """Device and precision."""
    data: DataConfig = field(default_factory=DataConfig)
    """How videos are read."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Settings that may name a file, which no output may then be."""
        return (self.model, self.backbone, self.data.classes, *self.template)

    @property
    def model_name(self) -> str:
        """What the model is called where results are told."""
        return self.model or self.backbone or DEFAULT_BACKBONE

    def load_model(self) -> VideoModel:
        """The model that is named.

        Raises:
            ValueError: if there is no such model, or if a backbone is named that is not the model's.
        """
        names = choose_classes(self.data.classes) if self.data.classes else ()  # first: a mistake costs no download
        if not self.model:
            return VideoModel.from_backbone(self.model_name)
        return VideoModel.from_pretrained(self.model, backbone=self.backbone or None, class_names=names)

    def make_predictor(self, model: VideoModel | None = None) -> Predictor:
        """A predictor of this model, or of the one that is named, without candidates."""
        made = Predictor(model or self.load_model(), views=self.views, runtime=self.runtime, data=self.data)
        made.name = self.model_name
        return made

    def say_which(self, console: Console) -> None:
        """Print which model is used, and why, if none was named."""
        if not self.model and not self.backbone:
            console.print(PLAIN_CLIP)

    @property
    def templates(self) -> tuple[str, ...]:
        """The texts that names are put into; none: as the model decides.

        Raises:
            ValueError: if that is neither a text with {}, nor a file of such texts, nor a set of the catalogue.
        """
        texts = tuple(text for value in self.template for text in _templates(value))
        if wrong := next((text for text in texts if text.count("{}") != 1), None):
            raise ValueError(f"--template: template {wrong!r} must hold {{}} exactly once, where the class name goes")
        return texts

    def load_predictor(self) -> Predictor:
        """The model with the candidates that are named, or else its own; prints how their names are put into words.

        Raises:
            ValueError: as `load_model`, and if there are no candidates.
        """
        if not self.model and not self.data.classes:
            raise ValueError('name the candidates with --classes "a, b, c" or a file, or a trained model with --model')
        self.say_which(terminal())
        templates, names = self.templates, choose_classes(self.data.classes) if self.data.classes else ()
        predictor = self.make_predictor()
        if not names and not predictor.class_names:
            raise ValueError('this model has no classes of its own; name some with --classes "a, b, c" or a file')
        texts = predictor.set_classes(names or predictor.class_names, templates)
        terminal().print(f"text: {texts.note}")
        terminal().print(f"computed on {predictor.computed}")
        return predictor


@dataclass(frozen=True, kw_only=True)
class VideosCommand(ModelCommand):
    """A command that uses a model on each of several videos."""

    videos: tuple[str, ...] = argument(positional=True, nargs="+")
    """Video files, folders that are searched for them, patterns such as "clips/*.mp4", lists as `vitaclip eval` takes
    them or of paths alone, addresses (https, or a stream such as rtsp://...), a camera (0), or - for paths on standard
    input; a run may come first."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Those of every command that uses a model, and the lists of videos."""
        return (*super().inputs, *self.videos)

    def with_model_first(self) -> Self:
        """`RUN VIDEO ...`: the folder of a run or of a model before the videos is the model, if none is named."""
        first, *others = self.videos
        if others and not self.model and find_model_folder(Path(first)):
            return replace(self, model=first, videos=tuple(others))
        return self

    def find_videos(self) -> list[VideoPath]:
        """The videos, one of which exists at least: that is found wrong before a model is loaded.

        Raises:
            ValueError: if there is none.
        """
        live = {word: LiveVideo(word, self.data.live_seconds) for word in self.videos if is_live(word)}
        paths = [path for word in self.videos for path in ([live[word]] if word in live else _find_of_word(word))]
        if not any(not isinstance(path, Path) or path.exists() for path in paths):
            raise ValueError(f"{paths[0]}: does not exist; name video files, or folders of them")
        return paths


def _find_of_word(word: str) -> Sequence[VideoPath]:
    """The videos that one word of the command line means."""
    if word == "-":
        return find_videos([line for line in sys.stdin.read().splitlines() if line])
    if listed := read_listed(word):
        return [each.path for each in listed.samples]
    matching = [] if Path(word).exists() else sorted(glob.glob(word, recursive=True))  # noqa: PTH207 - may be absolute
    return find_videos(matching or [word])


def read_listed(word: str) -> VideoList | None:
    """The videos of a list file, which may have no labels; None if it is no list."""
    if Path(word).suffix.lower() not in _LISTS or not Path(word).is_file():
        return None
    lines = [line for _, line in content_lines(Path(word), read_text(Path(word)))]
    if lines and all(Path(line).suffix.lower() in VIDEO_SUFFIXES for line in lines):
        paths = find_videos([str(Path(word).parent / line) for line in lines])
        return VideoList(tuple(VideoSample(path, (), str(path)) for path in paths))
    return read_videos(word, "videos", keep_absent=True, may_be_numbers=True)


def distinct_stems(paths: Sequence[VideoPath]) -> dict[VideoPath, str]:
    """A name for the files of each video: its own, with a number behind if another has it already.

    Names are compared without case, because some file systems do so.
    """
    stems, taken = dict[VideoPath, str](), set[str]()
    for path in paths:
        stem = Path(path.parts[-1]).stem
        numbered = (f"{stem}_{number}" for number in itertools.count(2))
        stems[path] = next(name for name in itertools.chain([stem], numbered) if name.casefold() not in taken)
        taken.add(stems[path].casefold())
    return stems


def _templates(value: str) -> Sequence[str]:
    """The texts of one `--template`: itself, those of a file, or those of a set."""
    if "{}" in value:
        return [value]
    if Path(value).is_file():
        return [line.strip() for line in read_text(Path(value)).split("\n") if line.strip()] or [""]
    try:
        return load_templates(value)
    except ValueError as error:
        raise ValueError(f"--template: {error}; a text needs {{}} where the class name goes") from error
