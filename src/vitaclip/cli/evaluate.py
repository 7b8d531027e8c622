"""`vitaclip eval`: a list, which is a protocol of one part, or a protocol."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from vitaclip.cli.command import argument
from vitaclip.cli.options import DATA_SETTINGS, ModelCommand
from vitaclip.cli.results import check_places, write_result
from vitaclip.cli.screen import counting_bar, progress_bars, terminal
from vitaclip.data.config import ViewsConfig
from vitaclip.data.lists.sources import find_videos
from vitaclip.data.lists.video_list import VideoSample
from vitaclip.data.reading.member import VideoPath
from vitaclip.distributed import DistEnv, init_distributed
from vitaclip.evaluation.class_texts import ClassPrompts
from vitaclip.evaluation.decision import DecisionConfig
from vitaclip.evaluation.evaluation import Evaluator, read_test_videos
from vitaclip.evaluation.predictions import check_predictions_file
from vitaclip.evaluation.protocol import Protocol, check_models, fill, load_protocol
from vitaclip.evaluation.protocol_lists import check_training, list_part, read_protocol_lists
from vitaclip.evaluation.protocol_run import PartResult, ProtocolResult, Round, score_rounds, summarize_parts
from vitaclip.model import VideoModel
from vitaclip.runtime import keep_freed_memory, pick_device
from vitaclip.strings import first_lines


@dataclass(frozen=True, kw_only=True)
class Evaluate(ModelCommand, DecisionConfig):
    """Score a model on labelled videos: top-1, top-5, mean per-class accuracy, best and worst classes. The candidates
    are the names in --classes, else the model's own, or those of the folders if the model does not know them: names
    that were never trained on make it a zero-shot evaluation. Folders and labels find their class by name, whatever its
    capitals, blanks and underscores. Several GPUs: torchrun --standalone --nproc-per-node 8 -m vitaclip eval ...

    With --protocol: a protocol of the literature (`vitaclip list protocols` shows them) or one's own YAML file, on the
    lists in --root. Where it needs several models, a word in braces stands for what tells them apart.

    examples:
      vitaclip eval val/ --model runs/own_videos/model
      vitaclip eval test.csv --classes new_names.txt --model runs/own_videos/model --out result.json
      vitaclip eval test.csv --classes names.txt --backbone miniature --report report/
      vitaclip eval UCF101/ --classes ucf101 --template clip48 --model runs/own_videos/model
      vitaclip eval val/ --model runs/doors --save_calibration doors.json
      vitaclip eval test_videos/ --model runs/doors --calibration doors.json --coverage 0.9 --unknown other/
      vitaclip eval runs/k400 --protocol ucf101_zeroshot --root lists/ucf101 --out ucf101.json
      vitaclip eval --protocol hmdb51_fewshot --root lists/hmdb51 --model "runs/hmdb51_{shots}/model" --views vificlip
    """

    shown: ClassVar[tuple[str, ...]] = (
        *("model", "backbone", "data.classes", "template", "protocol", "data.root", "views"),
        *("out", "report", "predictions", "data.workers"),
    )
    kept: ClassVar[Mapping[str, Collection[str]]] = {"data": (*DATA_SETTINGS, "root", "on_error", "feature_cache")}
    videos: str = argument("", positional=True, nargs="?")
    """A list file, a folder with one folder of videos per class, or tar files; with --protocol, which has its own
    lists: the model, as --model takes it."""
    protocol: str = ""
    """In place of videos: a protocol's name, or a YAML file."""
    out: str = ""
    """Write the whole result to this .json file."""
    report: str = ""
    """Folder for a page (index.html, one file that needs no network), result.json and predictions.csv."""
    predictions: str = ""
    """Write a row a video to this .csv, .jsonl or .parquet file; the last needs the `parquet` extra and has the
    probabilities of all classes. Of a protocol: a file for each part."""

    unknown: str = ""
    """A folder of videos that show none of the candidates, to measure by how well they are told."""
    save_calibration: str = ""
    """Write to this .json file what --calibration takes: thresholds and sets fitted on these videos."""

    @property
    def decision(self) -> DecisionConfig | None:
        """Of the decisions that are asked for; None if none is."""
        config = self.as_config(DecisionConfig)
        return config if config != DecisionConfig() or self.unknown or self.save_calibration else None

    def run(self) -> int:
        """Evaluate and print."""
        keep_freed_memory()
        command = self
        if self.protocol and not self.model and not self.backbone:
            command = replace(self, model=self.videos, videos="")
        if bool(command.videos) == bool(command.protocol):
            raise ValueError("give either videos (a list file or a folder) or --protocol NAME")
        if self.predictions:
            check_predictions_file(self.predictions)
        with init_distributed() as dist:
            command.say_which(terminal(quiet=not dist.is_rank0))
            evaluation = Evaluation(command, dist)
            result = evaluation.run_protocol() if self.protocol else evaluation.run_list()
            if dist.is_rank0:
                write_result(command, result)
        return 0


class Evaluation:
    """The evaluation that a command asks for, on this rank. What it names is checked before any video is read."""

    def __init__(self, command: Evaluate, dist: DistEnv) -> None:
        self._command, self._dist = command, dist
        self._loaded: dict[str, VideoModel] = {}  # the last one: it may serve all values of a protocol

    def load_model(self, values: Mapping[str, int]) -> tuple[str, VideoModel]:
        """The model for some values of a protocol, with its name."""
        given, dist = self._command, self._dist
        name = fill(given.model, values)
        if name not in self._loaded:
            device = pick_device(given.runtime.device, dist.local_rank, dist.world_size)
            self._loaded = {name: replace(given, model=name).load_model().to(device)}
        model = self._loaded[name]
        if values and name == given.model and not model.is_zero_shot:
            word = next(iter(values))
            raise ValueError(
                f"protocol {given.protocol} needs a model for each {word}; write {{{word}}} in --model,"
                f' such as "runs/{{{word}}}/model"'
            )
        return name or given.model_name, model

    def run_list(self) -> ProtocolResult:
        """Score the model on a list or a folder."""
        given = self._command
        with self._dist.shared_errors():  # before bars are drawn, so that an error is one line
            if self._dist.is_rank0:
                check_places(given)
            prompts, (name, model) = given.prompts, self.load_model({})
            videos = read_test_videos(given.videos, model.class_names, given.data)
            only = Round({}, name, model, [list_part(given.videos, videos)])
            unknown = find_videos([given.unknown]) if given.unknown else []
        parts = self._score([lambda: only], prompts, given.views, unknown)
        return ProtocolResult("", given.videos, "", given.views, {}, parts)

    def run_protocol(self) -> ProtocolResult:
        """Score the models that a protocol needs on its lists."""
        given, dist = self._command, self._dist
        console = terminal(quiet=not dist.is_rank0)
        with dist.shared_errors():
            protocol, prompts = load_protocol(given.protocol), given.prompts
            _check_settings(given, protocol)
            lists = read_protocol_lists(protocol, given.data.root)
            if dist.is_rank0:
                check_places(given, [str(lists.root / name) for name in lists.files])
            for line in first_lines([*lists.missing.values()]):
                console.print(f"not there: {line}", style="yellow", soft_wrap=True)
            if lists.missing and given.data.on_error == "raise":
                lacking = f"not there: {len(lists.missing)} of the videos"
                raise ValueError(f"{lacking}; copy what is lacking, or leave it out with --data.on_error skip")
        prompts = replace(prompts, templates=prompts.templates or protocol.templates)

        def load(values: Mapping[str, int]) -> Round:
            name, model = self.load_model(values)
            return Round(values, name, model, lists.parts(values), check_training(lists, values, name))

        views = protocol.views or given.views
        parts = self._score([partial(load, values) for values in protocol.values], prompts, views)
        summary = summarize_parts(protocol, parts)
        return ProtocolResult(protocol.name, protocol.about, protocol.variant, views, summary, parts)

    def _score(
        self,
        rounds: Sequence[Callable[[], Round]],
        prompts: ClassPrompts,
        views: ViewsConfig,
        unknown: Sequence[VideoPath] = (),
    ) -> tuple[PartResult, ...]:
        given, dist = self._command, self._dist
        others = [VideoSample(path, (0,), str(path)) for path in unknown]

        def make_evaluator(model: VideoModel) -> Evaluator:
            return Evaluator(model, given.runtime, given.data, prompts, dist, given.decision, others)

        with progress_bars(terminal(stderr=True, quiet=not dist.is_rank0)) as progress:
            return score_rounds(rounds, make_evaluator, views, dist, partial(counting_bar, progress))


def _check_settings(command: Evaluate, protocol: Protocol) -> None:
    if not command.data.root:
        raise ValueError(f"--root is not set; give the folder that holds {', '.join(protocol.test_lists)}")
    if command.data.classes:
        raise ValueError(f"protocol {protocol.name} says which classes are candidates; leave --classes out")
    if command.decision:
        raise ValueError(f"protocol {protocol.name} has no place for decisions; measure them on a list of videos")
    check_models(protocol, command.model)
    if protocol.views and command.views != ViewsConfig():
        raise ValueError(
            f"protocol {protocol.name} says how videos are looked at; leave --views out, or change it there"
        )
