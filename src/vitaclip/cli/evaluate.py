"""`vitaclip eval`: a list, which is a protocol of one part, or a protocol; what it prints and writes of the result."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import ClassVar

from rich.console import Console

from vitaclip.cli.command import argument
from vitaclip.cli.options import DATA_SETTINGS, ModelCommand
from vitaclip.cli.screen import counting_bar, print_table, progress_bars, terminal
from vitaclip.data.config import ViewsConfig
from vitaclip.data.lists.sources import find_videos
from vitaclip.data.lists.video_list import VideoSample
from vitaclip.data.workers import expect_processes
from vitaclip.distributed import DistEnv, init_distributed
from vitaclip.evaluation.decision import DecisionConfig
from vitaclip.evaluation.evaluation import Evaluator, read_test_videos
from vitaclip.evaluation.predictions import check_table_file, write_predictions
from vitaclip.evaluation.protocol import Protocol, check_models, fill, load_protocol
from vitaclip.evaluation.protocol_run import (
    EvalPart,
    PartResult,
    ProtocolResult,
    list_part,
    read_parts,
    score_parts,
    summarize_parts,
)
from vitaclip.files import check_place, write_json
from vitaclip.model import VideoModel
from vitaclip.report.html import check_report_folder, write_report
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
    """Write the whole result to this new .json file."""
    report: str = ""
    """Folder for a page (index.html, one file that needs no network), result.json and predictions.csv."""
    predictions: str = ""
    """Write a row a video to this new .csv, .jsonl or .parquet file; the last needs the `parquet` extra and has the
    probabilities of all classes. Of a protocol: a file for each part."""

    unknown: str = ""
    """A folder of videos that show none of the candidates, to measure by how well they are told."""
    save_calibration: str = ""
    """Write to this new .json file what --calibration takes: thresholds and sets fitted on these videos."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Those of every command that uses a model, and what else this one may read."""
        return (*super().inputs, self.videos, self.protocol, self.calibration)

    @property
    def decision(self) -> DecisionConfig | None:
        """Of the decisions that are asked for; None if none is."""
        config = self.as_config(DecisionConfig)
        return config if config != DecisionConfig() or self.unknown or self.save_calibration else None

    def run(self) -> int:
        """Evaluate and print."""
        keep_freed_memory()
        expect_processes(self.data)
        command = self
        if self.protocol and not self.model and not self.backbone:
            command = replace(self, model=self.videos, videos="")
        if bool(command.videos) == bool(command.protocol):
            raise ValueError("give either videos (a list file or a folder) or --protocol NAME")
        if self.predictions:
            check_table_file(self.predictions)
        _ = self.templates  # a mistake in them costs no download
        with init_distributed() as dist:
            console = terminal(quiet=not dist.is_rank0)
            command.say_which(console)
            result = command.score(dist, console)
            if dist.is_rank0:
                _print_result(result)
                command.write(result)
        return 0

    def score(self, dist: DistEnv, console: Console) -> ProtocolResult:
        """Score the model on the videos, or the models that a protocol needs on its lists. What is named is checked
        before any video is read."""
        protocol, parts = None, list[EvalPart]()
        with dist.shared_errors():
            if self.protocol:
                protocol = load_protocol(self.protocol)
                self._check_settings(protocol)
                parts = read_parts(protocol, self.data.root, self.model)
                missing = [*{place: line for part in parts for place, line in part.missing.items()}.values()]
                for line in first_lines(missing):
                    console.print(f"not there: {line}", style="yellow", soft_wrap=True)
                if missing and self.data.on_error == "raise":
                    lacking = f"not there: {len(missing)} of the videos"
                    raise ValueError(f"{lacking}; copy what is lacking, or leave it out with --data.on_error skip")
            if dist.is_rank0:
                lists = [str(Path(self.data.root) / name) for name in protocol.lists] if protocol else []
                self._check_places(lists, [part.stem for part in parts])
            unknown = find_videos([self.unknown]) if self.unknown else []
        others, results = [VideoSample(path, (0,), str(path)) for path in unknown], list[PartResult]()
        by_model = [(name, [*own]) for name, own in groupby(parts, lambda part: fill(self.model, part.values))]
        with progress_bars(terminal(stderr=True, quiet=not dist.is_rank0)) as progress:
            start = partial(counting_bar, progress)
            for name, own in by_model or [(self.model, [])]:
                with dist.shared_errors():
                    model = self._load(name, "".join(protocol.models) if protocol else "", dist)
                    evaluator = Evaluator(model, self.runtime, self.data, self.templates, dist, self.decision, others)
                    if protocol is None:
                        videos = read_test_videos(self.videos, model.class_names, self.data)
                        own = [list_part(self.videos, videos)]
                results += score_parts(evaluator, own, self.views, dist, start, name or self.model_name)
        if protocol is None:
            return ProtocolResult("", self.videos, "", self.views, {}, tuple(results))
        summary = summarize_parts(protocol, results)
        return ProtocolResult(protocol.name, protocol.about, protocol.variant, self.views, summary, tuple(results))

    def _load(self, name: str, word: str, dist: DistEnv) -> VideoModel:
        """The model of this name on this rank's device; `word` is what tells the models of a protocol apart."""
        device = pick_device(self.runtime.device, dist.local_rank, dist.world_size)
        model = replace(self, model=name).load_model().to(device)
        if word and name == self.model and not model.is_zero_shot:
            raise ValueError(
                f"protocol {self.protocol} needs a model for each {word}; write {{{word}}} in --model,"
                f' such as "runs/{{{word}}}/model"'
            )
        return model

    def _check_settings(self, protocol: Protocol) -> None:
        if not self.data.root:
            raise ValueError(f"--root is not set; give the folder that holds {', '.join(protocol.test_lists)}")
        if self.data.classes:
            raise ValueError(f"protocol {protocol.name} says which classes are candidates; leave --classes out")
        if self.decision:
            raise ValueError(f"protocol {protocol.name} has no place for decisions; measure them on a list of videos")
        check_models(protocol, self.model)

    def _check_places(self, lists: Sequence[str], parts: Sequence[str]) -> None:
        """Make sure that what is asked for can be written, before videos are evaluated."""
        files: list[str | Path] = [self.out, self.save_calibration, *self._tables(parts)]
        for file in files:
            if file:
                check_place(file, (*self.inputs, *lists), new=True)
        if self.report:
            check_place(Path(self.report) / "index.html", (*self.inputs, *lists))
            check_report_folder(self.report)

    def _tables(self, parts: Sequence[str]) -> list[Path]:
        """The files of predictions: a file for each part, where there are several; none if nobody asked."""
        if not self.predictions:
            return []
        file = Path(self.predictions)
        return [file.with_stem(f"{file.stem}_{part}") for part in parts] if len(parts) > 1 else [file]

    def write(self, result: ProtocolResult) -> None:
        """Write what is asked for; the report last, since it draws and opens videos once more."""
        several = len(result.parts) > 1
        if self.out:
            write_json(self.out, result.to_dict())
        if self.save_calibration and (calibration := result.parts[0].evaluated.calibration):
            calibration.write(self.save_calibration)
            terminal().print(f"the calibration is in {self.save_calibration}")
        if self.report and result.protocol:
            write_json(Path(self.report) / "protocol.json", result.to_dict())
        tables = self._tables([part.part.stem for part in result.parts])
        for part, file in zip(result.parts, tables, strict=False):
            write_predictions(file, [*part.part.samples.values()], part.texts.names, part.evaluated.scores)
        for part in result.parts:
            if self.report:
                title = f"{result.protocol}, {part.part.stem}" if several else result.protocol or part.part.name
                about = {"protocol": result.about} if result.protocol else {}
                about |= {f"top-1, {name}": f"{fraction:.2%}" for name, fraction in result.summary.items()}
                place = Path(self.report) / part.part.stem if several else Path(self.report)
                warning = {"warning": part.texts.warning} if part.texts.warning else {}
                page = write_report(place, title, about | _facts(result, part) | warning, part, self.data)
                terminal().print(f"the page: {page.resolve()}")


def _print_result(result: ProtocolResult) -> None:
    """A row for each part, the figures that a protocol is quoted by, what they were measured with, what was skipped."""
    console, rows, facts = terminal(), [], []
    for part in result.parts:
        scored = f"{part.result.num_videos} of {len(part.part.samples)}"
        count, top5 = len(part.texts.names), f"{part.result.top5:.2%}"
        accuracies = (f"{part.result.top1:.2%}", top5 if count > 5 else "", f"{part.result.mean_class_accuracy:.2%}")
        rows.append((part.part.stem, scored, str(count), *accuracies))
        sums = ", ".join(f"{name} {value[:12]}" for name, value in part.sha256.items())
        figures = part.evaluated.decision.figures() if part.evaluated.decision else []
        decision = {name: f"{fraction:.2%} ({meaning})" for name, fraction, meaning in figures}
        facts.append(_facts(result, part) | decision | {"sha256": sums})
    several_labels = result.parts[0].result.mean_average_precision is not None
    title = f"{result.protocol}: {result.about}" if result.protocol else result.about
    headings = ("part", "videos", "candidates", "top-1", "top-5", "mAP" if several_labels else "per class")
    print_table(console, title, headings, rows)
    if result.summary:
        words = {"std": f"population standard deviation over {len(result.parts)}"}
        listed = ", ".join(f"{words.get(name, name)} {fraction:.2%}" for name, fraction in result.summary.items())
        console.print(f"top-1: {listed}", style="bold")
    for name in dict.fromkeys(name for each in facts for name in each):
        for text in dict.fromkeys(each[name] for each in facts if name in each):
            console.print(f"{name}: {text}")
    if not result.protocol:
        found = result.parts[0].result.class_accuracy.items()
        ranked = [(name, f"{value:.1%}") for name, value in sorted(found, key=lambda item: (-item[1], item[0]))]
        shown = ranked if len(ranked) <= 10 else [*ranked[:5], *ranked[-5:]]
        heading = "class" if shown is ranked else "class (five best, five worst)"
        print_table(console, "", (heading, "average precision" if several_labels else "accuracy"), shown)
    for line in first_lines([*dict.fromkeys(line for part in result.parts for line in part.result.skipped)]):
        console.print(f"skipped: {line}", style="yellow")
    notes = [*dict.fromkeys(line for part in result.parts for line in part.result.notes)]
    for line in [f"{counted(len(notes), 'video')} with damaged frames:", *first_lines(notes)] if notes else ():
        console.print(line, style="yellow")


def _facts(result: ProtocolResult, part: PartResult) -> dict[str, str]:
    """What a part was measured with, for the screen and the report."""
    facts = {
        "note": part.part.note,
        "variant": result.variant and f"{result.variant}: labels meet the wording of another order, as published",
        "model": part.model,
        **part.about,
        "views": _describe_views(result.views),
        "text": part.texts.note,
        "computed on": str(part.evaluated.scores.computed),
        "never trained on": f"{part.never_trained} candidates",
        "training videos": part.part.training,
    }
    return {name: text for name, text in facts.items() if text}


def _describe_views(views: ViewsConfig) -> str:
    """The settings in words; those that are as the model was trained are not named."""
    clips = f"{counted(views.temporal, 'clip')} of a video, {counted(views.spatial, 'crop')} of each"
    parts = [clips, f"mean of {'probabilities' if views.aggregation == 'softmax' else views.aggregation}"]
    usual, said = vars(ViewsConfig()), ("temporal", "spatial", "aggregation")
    parts += [f"{name} {value}" for name, value in vars(views).items() if value != usual[name] and name not in said]
    return ", ".join(parts)
