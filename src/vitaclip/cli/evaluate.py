"""`vitaclip eval`: a list, which is a protocol of one part, or a protocol; what it prints and writes of the result."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from vitaclip.cli.command import argument
from vitaclip.cli.options import DATA_SETTINGS, ModelCommand, check_outputs
from vitaclip.cli.screen import counting_bar, print_table, progress_bars, terminal
from vitaclip.data.config import ViewsConfig
from vitaclip.data.lists.sources import find_videos
from vitaclip.data.lists.video_list import VideoSample
from vitaclip.distributed import DistEnv, init_distributed
from vitaclip.evaluation.decision import DecisionConfig
from vitaclip.evaluation.evaluation import Evaluator, read_test_videos
from vitaclip.evaluation.metrics import EvaluationResult
from vitaclip.evaluation.predictions import check_table_file, write_predictions
from vitaclip.evaluation.protocol import Protocol, check_models, fill, load_protocol
from vitaclip.evaluation.protocol_lists import check_training, list_part, read_protocol_lists
from vitaclip.evaluation.protocol_run import PartResult, PartScorer, ProtocolResult, summarize_parts
from vitaclip.files import write_json
from vitaclip.report import check_report_folder, write_report
from vitaclip.runtime import keep_freed_memory, pick_device
from vitaclip.strings import counted, first_lines


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
            check_table_file(self.predictions)
        with init_distributed() as dist:
            command.say_which(terminal(quiet=not dist.is_rank0))
            evaluation = Evaluation(command, dist)
            result = evaluation.run_protocol() if self.protocol else evaluation.run_list()
            if dist.is_rank0:
                _write_result(command, result)
        return 0


class Evaluation:
    """The evaluation that a command asks for, on this rank. What it names is checked before any video is read."""

    def __init__(self, command: Evaluate, dist: DistEnv) -> None:
        self._command, self._dist = command, dist
        self._loaded: dict[str, Evaluator] = {}  # the last one: it may serve all values of a protocol

    def _load(
        self, values: Mapping[str, int], templates: Sequence[str], unknown: Sequence[VideoSample] = ()
    ) -> tuple[str, Evaluator]:
        """The model for some values of a protocol, ready to evaluate, with its name."""
        given, dist = self._command, self._dist
        name = fill(given.model, values)
        if name not in self._loaded:
            device = pick_device(given.runtime.device, dist.local_rank, dist.world_size)
            model = replace(given, model=name).load_model().to(device)
            if values and name == given.model and not model.is_zero_shot:
                word = next(iter(values))
                raise ValueError(
                    f"protocol {given.protocol} needs a model for each {word}; write {{{word}}} in --model,"
                    f' such as "runs/{{{word}}}/model"'
                )
            ready = Evaluator(model, given.runtime, given.data, templates, dist, given.decision, unknown)
            self._loaded = {name: ready}
        return name or given.model_name, self._loaded[name]

    @contextmanager
    def _scorer(self, views: ViewsConfig) -> Iterator[PartScorer]:
        """Scores parts, with a bar for the videos."""
        with progress_bars(terminal(stderr=True, quiet=not self._dist.is_rank0)) as progress:
            yield PartScorer(views, self._dist, partial(counting_bar, progress))

    def run_list(self) -> ProtocolResult:
        """Score the model on a list or a folder."""
        given = self._command
        with self._dist.shared_errors():  # before bars are drawn, so that an error is one line
            if self._dist.is_rank0:
                _check_places(given)
            unknown = find_videos([given.unknown]) if given.unknown else []
            name, evaluator = self._load({}, given.templates, [VideoSample(path, (0,), str(path)) for path in unknown])
            videos = read_test_videos(given.videos, evaluator.model.class_names, given.data)
        with self._scorer(given.views) as scorer:
            parts = scorer.score(evaluator, [list_part(given.videos, videos)], {}, name)
        return ProtocolResult("", given.videos, "", given.views, {}, tuple(parts))

    def run_protocol(self) -> ProtocolResult:
        """Score the models that a protocol needs on its lists."""
        given, dist = self._command, self._dist
        console = terminal(quiet=not dist.is_rank0)
        with dist.shared_errors():
            protocol, templates = load_protocol(given.protocol), given.templates
            _check_settings(given, protocol)
            lists = read_protocol_lists(protocol, given.data.root)
            if dist.is_rank0:
                _check_places(given, [str(lists.root / name) for name in lists.files])
            for line in first_lines([*lists.missing.values()]):
                console.print(f"not there: {line}", style="yellow", soft_wrap=True)
            if lists.missing and given.data.on_error == "raise":
                lacking = f"not there: {len(lists.missing)} of the videos"
                raise ValueError(f"{lacking}; copy what is lacking, or leave it out with --data.on_error skip")
        templates = templates or protocol.templates
        views, parts = protocol.views or given.views, list[PartResult]()
        with self._scorer(views) as scorer:
            for values in protocol.values:
                with dist.shared_errors():
                    name, evaluator = self._load(values, templates)
                    training = check_training(lists, values, name)
                parts += scorer.score(evaluator, lists.parts(values), dict(values), name, training)
        summary = summarize_parts(protocol, parts)
        return ProtocolResult(protocol.name, protocol.about, protocol.variant, views, summary, tuple(parts))


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


def _check_places(command: Evaluate, inputs: Sequence[str] = ()) -> None:
    """Make sure that what is asked for can be written, before videos are evaluated; see `check_outputs`."""
    report = str(Path(command.report) / "index.html") if command.report else ""
    check_outputs(command, command.out, command.predictions, report, command.save_calibration, inputs=inputs)
    if command.report:
        check_report_folder(command.report)


def _write_result(command: Evaluate, result: ProtocolResult) -> None:
    """Print the result, and write what is asked for; the report last, since it draws and opens videos once more."""
    _print_result(result)
    several = len(result.parts) > 1
    if command.out:
        write_json(command.out, result.to_dict())
    if command.save_calibration and (calibration := result.parts[0].evaluated.calibration):
        calibration.write(command.save_calibration)
        terminal().print(f"the calibration is in {command.save_calibration}")
    if command.predictions:
        file = Path(command.predictions)
        for part in result.parts:
            place = file.with_stem(f"{file.stem}_{part.name}") if several else file
            write_predictions(place, [*part.part.samples.values()], part.texts.names, part.evaluated.scores)
    if not command.report:
        return
    folder = Path(command.report)
    if result.protocol:
        write_json(folder / "protocol.json", result.to_dict())
    for part in result.parts:
        title = f"{result.protocol}, {part.name}" if several else result.protocol or part.part.name
        about = {"protocol": result.about} if result.protocol else {}
        about |= {f"top-1, {name}": f"{fraction:.2%}" for name, fraction in result.summary.items()}
        place = folder / part.name if several else folder
        page = write_report(place, title, about | _facts(result, part), part, command.data)
        terminal().print(f"the page: {page.resolve()}")


def _print_result(result: ProtocolResult) -> None:
    """Accuracies, what they were measured with, and what was skipped."""
    console = terminal()
    _print_accuracies(result)
    facts = [
        _facts(result, part)
        | (part.evaluated.decision.lines() if part.evaluated.decision else {})
        | {"sha256": _shortened(part.sha256)}
        for part in result.parts
    ]
    for name in dict.fromkeys(name for each in facts for name in each):
        for text in dict.fromkeys(each[name] for each in facts if name in each):
            console.print(f"{name}: {text}")
    if not result.protocol:
        _print_classes(result.parts[0].result)
    for line in first_lines([*dict.fromkeys(line for part in result.parts for line in part.result.skipped)]):
        console.print(f"skipped: {line}", style="yellow")


def _print_accuracies(result: ProtocolResult) -> None:
    """A row for each part, and the figures that a protocol is quoted by."""
    rows = []
    for part in result.parts:
        scored = f"{part.result.num_videos} of {len(part.part.samples)}"
        accuracies = (part.result.top1, part.result.top5, part.result.mean_class_accuracy)
        rows.append((part.name, scored, str(len(part.texts.names)), *(f"{each:.2%}" for each in accuracies)))
    per_class = "per class" if result.parts[0].result.mean_average_precision is None else "mAP"
    title = f"{result.protocol}: {result.about}" if result.protocol else result.about
    print_table(terminal(), title, ("part", "videos", "candidates", "top-1", "top-5", per_class), rows)
    if "std" in result.summary:
        mean, std = result.summary["mean"], result.summary["std"]
        text = f"top-1 {mean:.2%}, population standard deviation {std:.2%} over {len(result.parts)}"
        terminal().print(text, style="bold")
    elif result.summary:
        listed = ", ".join(f"{name} {fraction:.2%}" for name, fraction in result.summary.items())
        terminal().print(f"top-1: {listed}", style="bold")


def _print_classes(result: EvaluationResult) -> None:
    ranked = sorted(result.class_accuracy.items(), key=lambda item: (-item[1], item[0]))
    shown = ranked if len(ranked) <= 10 else [*ranked[:5], *ranked[-5:]]
    heading = "class" if shown is ranked else "class (five best, five worst)"
    measure = "accuracy" if result.mean_average_precision is None else "average precision"
    print_table(terminal(), "", (heading, measure), [(name, f"{fraction:.1%}") for name, fraction in shown])


def _facts(result: ProtocolResult, part: PartResult) -> dict[str, str]:
    """What a part was measured with, for the screen and the report."""
    facts = {
        "note": part.part.note,
        "variant": result.variant and f"{result.variant}: labels meet the wording of another order, as published",
        "model": part.model,
        "views": _describe_views(result.views),
        "text": part.texts.note,
        "computed on": str(part.evaluated.scores.computed),
        "never trained on": f"{part.never_trained} candidates",
        "training videos": part.training,
    }
    return {name: text for name, text in facts.items() if text}


def _describe_views(views: ViewsConfig) -> str:
    """The settings in words; those that are as the model was trained are not named."""
    clips = f"{counted(views.temporal, 'clip')} of a video, {counted(views.spatial, 'crop')} of each"
    parts = [clips, f"mean of {'probabilities' if views.aggregation == 'softmax' else views.aggregation}"]
    parts += [f"{views.normalization} pixels"] * (views.normalization != "backbone")
    parts += [f"{name} {value}" for name in ("frames", "sampling", "stride") if (value := getattr(views, name))]
    parts += [f"crop {views.crop:g}"] * (views.crop < 1)
    parts += [f"pixels as {views.pixel_aspect}"] * bool(views.pixel_aspect)
    return ", ".join(parts)


def _shortened(sums: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value[:12]}" for name, value in sums.items())
