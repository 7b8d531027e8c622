"""`vitaclip eval`."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from vitaclip.cli.frames import print_frames_curve, print_protocol_frames, read_frames
from vitaclip.cli.models import (
    add_model_arguments,
    add_reading_arguments,
    load_model,
    read_templates,
    reading_config,
)
from vitaclip.cli.screen import counting_bar, print_table, progress_bars, terminal
from vitaclip.config import DataConfig, InterpolateConfig, RuntimeConfig, ViewsConfig, to_dict

if TYPE_CHECKING:
    from vitaclip.data import NamedVideos
    from vitaclip.evaluate.metrics import EvaluationResult
    from vitaclip.evaluate.protocol import Protocol
    from vitaclip.evaluate.protocol_run import ProtocolResult
    from vitaclip.evaluate.report.writing import Attend
    from vitaclip.evaluate.wording import Wording
    from vitaclip.model import VitaCLIP

HELP = "accuracy on a list of videos or by a protocol, on trained or never-trained classes"
DESCRIPTION = """\
Score a model on labelled videos: top-1, top-5, mean per-class accuracy, best and worst classes. The candidates are the
names in --classes, else the model's own, or those of the folders if the model does not know them: names that were
never trained on make it a zero-shot evaluation. Folders and labels find their class by name, whatever its capitals,
blanks and underscores.

With --protocol: a protocol of the literature (`vitaclip data protocols` lists them) or one's own YAML file, on the
lists in --root. Where it needs several models, a word in braces stands for what tells them apart.

examples:
  vitaclip eval val/ --model runs/own_videos/model
  vitaclip eval test.csv --classes new_names.txt --model runs/own_videos/model --out result.json
  vitaclip eval test.csv --classes names.txt --backbone miniature --report report/
  vitaclip eval UCF101/ --classes ucf101 --template clip48 --model runs/own_videos/model
  vitaclip eval test.csv --model runs/own_videos/model --report report/ --frames_curve 1,2,4,8,16
  vitaclip eval test.csv --model runs/tuned/model --interpolate.space weights --interpolate.ratio 0.5
  vitaclip eval --protocol ucf101_zeroshot --root lists/ucf101 --model runs/k400/model --out ucf101.json
  vitaclip eval --protocol hmdb51_fewshot --root lists/hmdb51 --model "runs/hmdb51_{shots}/model" --views vificlip"""


def add_arguments(parser: ArgumentParser) -> None:
    """Videos or protocol, model, classes, views."""
    parser.add_argument(
        "videos", nargs="?", default="", help="a list file, a folder with one folder of videos per class, or tar files"
    )
    parser.add_argument(
        "--protocol", type=str, default="", help="in place of videos: a protocol's name, or a YAML file"
    )
    add_model_arguments(parser)
    parser.add_class_arguments(
        InterpolateConfig,
        "interpolate",
        help="between frozen CLIP (ratio 0) and the model (ratio 1), in the towers' weights or in scores",
    )
    parser.add_argument("--descriptions", type=str, default="", help="JSON file: class name, then sentences about it")
    parser.add_argument("--root", type=str, default="", help="folder of a protocol's lists; what paths are relative to")
    parser.add_argument("--out", type=str, default="", help="write the whole result to this .json file")
    parser.add_argument(
        "--report",
        type=str,
        default="",
        help="folder for a page (index.html, one file that needs no network), result.json and predictions.csv",
    )
    parser.add_argument(
        "--frames_curve",
        type=str,
        default="",
        help="evaluate with these numbers of frames a clip too, such as 1,2,4,8,16, and draw top-1 over them; each"
        " costs a pass over the videos",
    )
    parser.add_argument(
        "--predictions",
        type=str,
        default="",
        help="write what is said of each video to this .csv or .parquet file; the latter needs the `parquet` extra and"
        " holds the probabilities of all classes. Of a protocol: a file for each part",
    )
    add_reading_arguments(parser)


def run(arguments: Namespace) -> int:
    """Evaluate and print."""
    from vitaclip.runtime import keep_freed_memory

    keep_freed_memory()
    if bool(arguments.videos) == bool(arguments.protocol):
        raise ValueError("give either videos (a list file or a folder) or --protocol NAME")
    if arguments.predictions:
        from vitaclip.evaluate.predictions import check_predictions_file

        check_predictions_file(arguments.predictions)
    data = reading_config(arguments)
    return _run_protocol(arguments, data) if arguments.protocol else _run_list(arguments, data)


def _run_list(arguments: Namespace, data: DataConfig) -> int:
    from vitaclip.evaluate.evaluation import Evaluation, describe_interpolation
    from vitaclip.evaluate.frames_curve import measure_frames, other_frames
    from vitaclip.evaluate.hashes import sha256_of_file, text_hashes
    from vitaclip.evaluate.predictions import write_predictions
    from vitaclip.evaluate.report.writing import Evaluatee, write_report
    from vitaclip.evaluate.wording import plan_text
    from vitaclip.files import write_json
    from vitaclip.runtime import pick_device

    frames, wording = read_frames(arguments.frames_curve), _wording(arguments)
    model = load_model(arguments).to(pick_device(arguments.runtime.device))
    videos = _read(arguments, model.class_names)
    interpolation = arguments.interpolate
    evaluation = Evaluation(
        *(model, videos.rows, videos.class_names, arguments.views, arguments.runtime, data, wording),
        interpolation=interpolation,
    )
    others = other_frames(evaluation, frames)
    plan = plan_text(model, videos.class_names, wording)
    with progress_bars(terminal(stderr=True)) as progress:
        start = partial(counting_bar, progress, total=evaluation.num_videos)
        evaluated = evaluation.run(start("evaluating"))
        curve = measure_frames(evaluation, evaluated, others, start) if others else None
    unseen = sum(name not in model.class_names for name in videos.class_names)
    title = f"{arguments.videos}: {unseen} of {len(videos.class_names)} classes never trained on"
    mixed = describe_interpolation(interpolation)
    _print_result(title, [f"text: {plan.note}", *([f"interpolation: {mixed}"] if mixed else [])], evaluated.result)
    if curve:
        print_frames_curve(curve)
    sums = text_hashes(videos.class_names, videos.class_names, plan, wording)
    if Path(arguments.videos).is_file():
        sums["list"] = sha256_of_file(Path(arguments.videos))
    if arguments.out:
        measured = evaluated.result.to_dict() | ({"frames_curve": curve.to_dict()} if curve else {})
        said = {"text": plan.note, "interpolation": to_dict(interpolation), "sha256": sums}
        write_json(arguments.out, measured | said)
    if arguments.predictions:
        write_predictions(arguments.predictions, videos.rows, videos.class_names, evaluated.scores)
    if arguments.report:
        about = {
            "model": _model_name(arguments),
            "views": _describe_views(arguments.views),
            "text": plan.note,
            **({"interpolation": mixed} if mixed else {}),
            "never trained on": f"{unseen} of {len(videos.class_names)} candidates",
        }
        evaluatee = Evaluatee(Path(arguments.videos).name, about, videos.rows, videos.class_names, sums)
        attend = _attention_of(model, arguments.views, arguments.runtime)
        _say_where(write_report(arguments.report, evaluatee, evaluated, curve=curve, attend=attend))
    return 0


def _model_name(arguments: Namespace) -> str:
    return arguments.backbone or arguments.model or "miniature"


def _describe_views(views: ViewsConfig) -> str:
    """The settings in words; those that are as the model was trained are not named."""
    parts = [
        f"{views.temporal} temporal x {views.spatial} spatial",
        f"mean of {views.average}",
        f"{views.pixels} pixels",
    ]
    parts += [f"{name} {value}" for name in ("frames", "sampling", "stride") if (value := getattr(views, name))]
    return ", ".join(parts + ([f"crop {views.crop:g}"] if views.crop < 1 else []))


def _attention_of(model: "VitaCLIP", views: ViewsConfig, runtime: RuntimeConfig) -> "Attend":
    from vitaclip.explain.strip import attended_frames
    from vitaclip.predictor import Predictor

    return partial(attended_frames, Predictor(model, views=views, runtime=runtime))


def _say_where(page: Path) -> None:
    terminal().print(f"the page: {page.resolve()}", soft_wrap=True)


def _read(arguments: Namespace, known: tuple[str, ...]) -> "NamedVideos":
    """The videos; candidates are the names given, else the model's, else, where a folder shows others, the folder's."""
    from vitaclip.data import ClassIndex, index_cache, names_shards, read_videos

    def read(class_names: tuple[str, ...] | None) -> "NamedVideos":
        return read_videos(
            arguments.videos,
            "the list of videos",
            root=arguments.root,
            classes=arguments.classes,
            class_names=class_names,
            cache=index_cache(arguments.index_cache),
        )

    if Path(arguments.videos).is_dir() and not arguments.classes and not names_shards(arguments.videos):
        videos, index = read(None), ClassIndex(known)
        return videos if None in map(index.find, videos.class_names) else read(known)
    return read(known or None)


def _wording(arguments: Namespace) -> "Wording":
    from vitaclip.evaluate.wording import Wording, read_descriptions

    templates = read_templates(arguments.template)
    return Wording(templates, read_descriptions(arguments.descriptions) if arguments.descriptions else {})


def _print_result(title: str, notes: Sequence[str], result: "EvaluationResult") -> None:
    console = terminal()
    rows = [
        ("top-1", f"{result.top1:.2%}"),
        ("top-5", f"{result.top5:.2%}"),
        ("mean per-class", f"{result.mean_class_accuracy:.2%}"),
        ("videos scored", str(result.num_videos)),
        ("videos left out", str(len(result.left_out))),
    ]
    print_table(console, title, ("accuracy", ""), rows)
    for note in notes:
        console.print(note, soft_wrap=True)
    ranked = sorted(result.class_accuracy.items(), key=lambda item: (-item[1], item[0]))
    shown = ranked if len(ranked) <= 10 else [*ranked[:5], *ranked[-5:]]
    heading = "class" if shown is ranked else "class (five best, five worst)"
    print_table(console, "", (heading, "accuracy"), [(name, f"{share:.1%}") for name, share in shown])
    for line in result.left_out:
        console.print(f"left out: {line}", style="yellow")


# ------------------------------------------------------------------------------------------------------ protocols


def _run_protocol(arguments: Namespace, data: DataConfig) -> int:
    from vitaclip.evaluate.protocol import load_protocol
    from vitaclip.evaluate.protocol_lists import describe_missing, read_protocol_lists
    from vitaclip.evaluate.protocol_run import run_protocol
    from vitaclip.files import write_json

    protocol, wording = load_protocol(arguments.protocol), _wording(arguments)
    frames = read_frames(arguments.frames_curve)
    _check(arguments, protocol)
    lists = read_protocol_lists(protocol, arguments.root)
    console = terminal()
    for line in describe_missing(lists):
        console.print(f"not there: {line}", style="yellow", soft_wrap=True)
    if lists.missing and data.on_error == "raise":
        raise ValueError(
            f"{len(lists.missing)} videos are not there; copy them, or leave them out with --on_error skip"
        )
    models = _Models(arguments, protocol)
    with progress_bars(terminal(stderr=True)) as progress:
        result = run_protocol(
            lists,
            models.load,
            arguments.views,
            arguments.runtime,
            data,
            wording,
            lambda what, total: counting_bar(progress, what, total),
            frames=frames,
            interpolation=arguments.interpolate,
        )
    _print_protocol(result)
    if frames:
        print_protocol_frames(result)
    if arguments.out:
        write_json(arguments.out, result.to_dict())
    if arguments.report:
        _report_protocol(Path(arguments.report), result, models, arguments.runtime)
    if arguments.predictions:
        _write_protocol_predictions(Path(arguments.predictions), result)
    return 0


def _report_protocol(folder: Path, result: "ProtocolResult", models: "_Models", runtime: RuntimeConfig) -> None:
    """A page for each part, in a folder of its own if there are several; and `protocol.json`."""
    from vitaclip.evaluate.evaluation import describe_interpolation
    from vitaclip.evaluate.report.writing import Evaluatee, write_report
    from vitaclip.files import write_json

    write_json(folder / "protocol.json", result.to_dict())
    mixed = describe_interpolation(result.interpolation)
    for part in result.parts:
        name = part.file_name
        sums = {**part.sha256["lists"], **{key: value for key, value in part.sha256.items() if key != "lists"}}
        about = {
            "protocol": result.about,
            **({"variant": f"{result.variant}: labels meet the wording of another order"} if result.variant else {}),
            **{f"top-1, {key}": f"{share:.2%}" for key, share in result.summary.items()},
            "model": part.model,
            "views": _describe_views(result.views),
            "text": part.text,
            **({"interpolation": mixed} if mixed else {}),
            "training videos": part.training,
        }
        title = f"{result.protocol}, {name}" if len(result.parts) > 1 else result.protocol
        evaluatee = Evaluatee(title, about, part.rows, part.class_names, sums)
        attend = _attention_of(models.load(part.values)[1], result.views, runtime)
        place = folder / name if len(result.parts) > 1 else folder
        _say_where(write_report(place, evaluatee, part.evaluated, curve=part.frames_curve, attend=attend))


def _write_protocol_predictions(file: Path, result: "ProtocolResult") -> None:
    """A file for each part, named after it if there are several: `predictions_list1.csv`."""
    from vitaclip.evaluate.predictions import write_predictions

    for part in result.parts:
        place = file.with_stem(f"{file.stem}_{part.file_name}") if len(result.parts) > 1 else file
        write_predictions(place, part.rows, part.class_names, part.evaluated.scores)


def _check(arguments: Namespace, protocol: "Protocol") -> None:
    from vitaclip.evaluate.protocol import check_models

    if not arguments.root:
        raise ValueError(f"--root is not set; give the folder that holds {', '.join(protocol.test_lists)}")
    if arguments.classes:
        raise ValueError(f"protocol {protocol.name} says which classes are candidates; leave --classes out")
    check_models(protocol, arguments.model)
    if protocol.views and arguments.views != ViewsConfig():
        raise ValueError(
            f"protocol {protocol.name} says how videos are looked at; leave --views out, or change it there"
        )


class _Models:
    """Loads the models of a protocol; one that serves all values is loaded once."""

    def __init__(self, arguments: Namespace, protocol: "Protocol") -> None:
        self._arguments, self._protocol = arguments, protocol
        self._loaded: dict[str, VitaCLIP] = {}

    def load(self, values: Mapping[str, int]) -> tuple[str, "VitaCLIP"]:
        """The model for some values, with its name."""
        from vitaclip.evaluate.protocol import fill
        from vitaclip.runtime import pick_device

        given = self._arguments
        name = fill(given.model, values)
        if name not in self._loaded:
            arguments = given.clone()
            arguments.model = name
            self._loaded = {name: load_model(arguments).to(pick_device(given.runtime.device))}
        model = self._loaded[name]
        if values and name == given.model and not model.is_plain:
            word = next(iter(values))
            raise ValueError(
                f"protocol {self._protocol.name} needs a model for each {word}; write {{{word}}} in --model,"
                f' such as "runs/{{{word}}}/model"'
            )
        return name or given.backbone or "miniature", model


def _print_protocol(result: "ProtocolResult") -> None:
    from vitaclip.evaluate.evaluation import describe_interpolation

    console = terminal()
    rows = []
    for part in result.parts:
        scored = f"{part.videos_scored} of {part.videos_listed}"
        shares = (f"{share:.2%}" for share in (part.top1, part.top5, part.mean_class_accuracy))
        rows.append((part.title, scored, str(len(part.class_names)), *shares))
    print_table(
        console,
        f"{result.protocol}: {result.about}",
        ("part", "videos", "candidates", "top-1", "top-5", "per class"),
        rows,
    )
    if result.variant:
        console.print(
            f"variant {result.variant}: labels meet the wording of another order, as published", style="yellow"
        )
    if "std" in result.summary:
        mean, std = result.summary["mean"], result.summary["std"]
        console.print(
            f"top-1 {mean:.2%}, population standard deviation {std:.2%} over {len(result.parts)}", style="bold"
        )
    elif result.summary:
        console.print(
            "top-1: " + ", ".join(f"{name} {share:.2%}" for name, share in result.summary.items()), style="bold"
        )
    for note in dict.fromkeys(f"text: {part.text}" for part in result.parts):
        console.print(note, soft_wrap=True)
    if mixed := describe_interpolation(result.interpolation):
        console.print(f"interpolation: {mixed}", soft_wrap=True)
    for note in dict.fromkeys(f"training: {part.training}" for part in result.parts):
        console.print(note, soft_wrap=True)
