"""`vitaclip eval VIDEOS`: a list or a folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from jsonargparse import Namespace

from vitaclip.cli.evaluate.frames import print_frames_curve, read_frames
from vitaclip.cli.evaluate.telling import (
    check_places,
    describe_explained,
    describe_views,
    explainer_of,
    say_where,
    short_sums,
)
from vitaclip.cli.models import load_model, model_name, read_prompts
from vitaclip.cli.screen import counting_bar, print_left_out, print_table, progress_bars, terminal
from vitaclip.config import DataConfig, to_dict
from vitaclip.data import VideoList, index_cache, names_shards, read_videos
from vitaclip.distributed import DistEnv
from vitaclip.evaluate.evaluation import Evaluated, Evaluation, describe_interpolation
from vitaclip.evaluate.frames_curve import FramesCurve, measure_frames, other_frames
from vitaclip.evaluate.hashes import sha256_of_file, text_hashes
from vitaclip.evaluate.metrics import EvaluationResult
from vitaclip.evaluate.predictions import write_predictions
from vitaclip.evaluate.report import EvalSubject, write_report
from vitaclip.files import write_json
from vitaclip.model import VideoModel
from vitaclip.names import ClassIndex
from vitaclip.runtime import pick_device_among


@dataclass(frozen=True)
class _Asked:
    """What was asked for, read and checked: nothing of the videos is decoded yet."""

    model: VideoModel
    videos: VideoList
    evaluation: Evaluation
    others: Sequence[Evaluation]
    """With other numbers of frames."""


def evaluate_videos(arguments: Namespace, data: DataConfig, dist: DistEnv) -> int:
    """Evaluate on a list or a folder; the first process prints and writes."""
    asked = dist.run_on_all_ranks(partial(_prepare, arguments, data, dist))
    with progress_bars(terminal(stderr=True, quiet=not dist.is_rank0)) as progress:
        start = partial(counting_bar, progress, total=asked.evaluation.num_own_videos)
        evaluated = asked.evaluation.run(start("evaluating"))
        curve = measure_frames(asked.evaluation, evaluated, asked.others, start) if asked.others else None
    if dist.is_rank0:
        _tell(arguments, data, asked, evaluated, curve)
    return 0


def _prepare(arguments: Namespace, data: DataConfig, dist: DistEnv) -> _Asked:
    frames, prompts = read_frames(arguments.frames_curve), read_prompts(arguments)
    device = pick_device_among(arguments.runtime.device, dist.local_rank, dist.world_size)
    model = load_model(arguments).to(device)
    videos = _read(arguments, model.class_names, keep_absent=data.on_error == "skip")
    evaluation = Evaluation(
        *(model, videos.rows, videos.class_names, arguments.views, arguments.runtime, data, prompts, dist),
        interpolation=arguments.interpolate,
    )
    if dist.is_rank0:
        check_places(arguments)
    return _Asked(model, videos, evaluation, other_frames(evaluation, frames))


def _tell(
    arguments: Namespace, data: DataConfig, asked: _Asked, evaluated: Evaluated, curve: FramesCurve | None
) -> None:
    """Print the result, and write what is asked for; the report last, since it opens videos once more."""
    names, texts = asked.videos.class_names, asked.evaluation.texts[0]
    mixed = describe_interpolation(arguments.interpolate)
    sums = text_hashes(texts)
    if Path(arguments.videos).is_file():
        sums["list"] = sha256_of_file(Path(arguments.videos))
    told = [asked.videos.note] if asked.videos.note else []
    notes = [
        *told,
        f"computed on {evaluated.scores.computed}",
        f"text: {texts.note}",
        *([f"interpolation: {mixed}"] if mixed else []),
        f"sha256: {short_sums(sums)}",
    ]
    unseen = f"{sum(asked.model.head.own_number(name) is None for name in names)} of {len(names)}"
    _print_result(f"{arguments.videos}: {unseen} classes never trained on", notes, evaluated.result)
    if curve:
        print_frames_curve(curve)
    settings = {
        "videos": str(arguments.videos),
        "model": model_name(arguments),
        "views": to_dict(arguments.views),
        "class_names": list(names),
        "templates": list(texts.templates),
        "text": texts.note,
        "interpolation": to_dict(arguments.interpolate),
    }
    if arguments.out:
        measured = evaluated.result.to_dict() | ({"frames_curve": curve.to_dict()} if curve else {})
        write_json(arguments.out, measured | settings | {"sha256": sums})
    if arguments.predictions:
        write_predictions(arguments.predictions, asked.videos.rows, names, evaluated.scores)
    if arguments.report:
        about = {
            "model": model_name(arguments),
            "views": describe_views(arguments.views),
            "text": texts.note,
            "computed on": str(evaluated.scores.computed),
            **({"interpolation": mixed} if mixed else {}),
            **describe_explained(arguments.interpolate),
            "never trained on": f"{unseen} candidates",
        }
        title = Path(arguments.videos).name
        subject = EvalSubject(title, about, asked.videos.rows, names, sums, settings)
        looked_at = arguments.views, arguments.runtime, data.limits
        explain = explainer_of(asked.evaluation.models[0], texts, *looked_at)
        page = write_report(arguments.report, subject, evaluated, curve=curve, explain=explain, limits=data.limits)
        say_where(page)


def _read(arguments: Namespace, known: tuple[str, ...], *, keep_absent: bool) -> VideoList:
    """The videos; candidates are the names given, else the model's, else, where a folder shows others, the folder's."""

    def read(class_names: tuple[str, ...] | None) -> VideoList:
        return read_videos(
            arguments.videos,
            "the list of videos",
            root=arguments.data.root,
            classes=arguments.data.classes,
            class_names=class_names,
            cache=index_cache(arguments.data.index_cache),
            keep_absent=keep_absent,
        )

    if Path(arguments.videos).is_dir() and not arguments.data.classes and not names_shards(arguments.videos):
        videos, index = read(None), ClassIndex(known)
        return videos if None in map(index.find, videos.class_names) else read(known)
    return read(known or None)


def _print_result(title: str, notes: Sequence[str], result: EvaluationResult) -> None:
    console = terminal()
    rows = [
        ("top-1", f"{result.top1:.2%}"),
        ("top-5", f"{result.top5:.2%}"),
        ("mean per-class" if result.mean_average_precision is None else "mAP", f"{result.mean_class_accuracy:.2%}"),
        ("videos scored", str(result.num_videos)),
        ("videos left out", str(len(result.skipped))),
    ]
    print_table(console, title, ("accuracy", ""), rows)
    for note in notes:
        console.print(note, soft_wrap=True)
    ranked = sorted(result.class_accuracy.items(), key=lambda item: (-item[1], item[0]))
    shown = ranked if len(ranked) <= 10 else [*ranked[:5], *ranked[-5:]]
    heading = "class" if shown is ranked else "class (five best, five worst)"
    measure = "accuracy" if result.mean_average_precision is None else "average precision"
    print_table(console, "", (heading, measure), [(name, f"{share:.1%}") for name, share in shown])
    print_left_out(console, result.skipped)
