"""What `vitaclip eval` prints and writes of a result, which has a part for each accuracy; a list has one part."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from jsonargparse import Namespace

from vitaclip.cli.models import check_outputs
from vitaclip.cli.screen import print_skipped, print_table, terminal
from vitaclip.data.config import ViewsConfig
from vitaclip.evaluate.evaluation import mixed_models
from vitaclip.evaluate.metrics import EvaluationResult
from vitaclip.evaluate.predictions import write_predictions
from vitaclip.evaluate.protocol_run import PartResult, ProtocolResult
from vitaclip.files import write_json
from vitaclip.interpolation import InterpolateConfig
from vitaclip.model import VideoModel
from vitaclip.predictor import Predictor
from vitaclip.report import EvalSubject, check_report_folder, write_report
from vitaclip.settings import to_dict


def check_places(arguments: Namespace, inputs: Sequence[str] = ()) -> None:
    """Make sure that what is asked for can be written, before videos are evaluated; see `check_outputs`."""
    report = str(Path(arguments.report) / "index.html") if arguments.report else ""
    check_outputs(arguments, arguments.out, arguments.predictions, report, inputs=inputs)
    if arguments.report:
        check_report_folder(arguments.report)


def tell(
    arguments: Namespace, result: ProtocolResult, load_model: Callable[[Mapping[str, int]], tuple[str, VideoModel]]
) -> None:
    """Print the result, and write what is asked for; the report last, since it draws and opens videos once more."""
    print_result(result)
    if arguments.out:
        write_json(arguments.out, result.to_dict())
    if arguments.predictions:
        file = Path(arguments.predictions)
        for part in result.parts:
            place = file.with_stem(f"{file.stem}_{part.file_name}") if len(result.parts) > 1 else file
            write_predictions(place, part.samples, part.texts.names, part.evaluated.scores)
    if not arguments.report:
        return
    folder = Path(arguments.report)
    if result.protocol:
        write_json(folder / "protocol.json", result.to_dict())
    for part in result.parts:
        model = mixed_models(load_model(part.values)[1], result.interpolation)[0][0]
        predictor = Predictor(model, views=result.views, runtime=arguments.runtime, limits=arguments.data.limits)
        predictor.set_texts(part.texts)
        place = folder / part.file_name if len(result.parts) > 1 else folder
        page = write_report(place, _subject(result, part), part.evaluated, predictor, arguments.data)
        terminal().print(f"the page: {page.resolve()}", soft_wrap=True)


def print_result(result: ProtocolResult) -> None:
    """Accuracies, what they were measured with, and what was skipped."""
    console = terminal()
    if result.protocol:
        _print_parts(result)
    else:
        (part,) = result.parts
        _print_accuracies(f"{result.about}: {part.never_trained} classes never trained on", part.evaluated.result)
    mixed = describe_interpolation(result.interpolation)
    notes = [line for part in result.parts for line in _notes(part, mixed)]
    for note in sorted(dict.fromkeys(notes), key=lambda note: _ORDER.index(note.split(":")[0])):
        console.print(note.removeprefix("note: "), soft_wrap=True)
    if not result.protocol:
        _print_classes(result.parts[0].evaluated.result)
    print_skipped(console, list(dict.fromkeys(line for part in result.parts for line in part.result.skipped)))


_ORDER = ("note", "computed on", "text", "interpolation", "training", "sha256")


def _notes(part: PartResult, mixed: str) -> list[str]:
    told = {"note": part.note, "computed on": str(part.evaluated.scores.computed), "text": part.texts.note}
    told |= {"interpolation": mixed, "training": part.training}
    told |= {"sha256": ", ".join(f"{name} {value[:12]}" for name, value in _sums(part).items())}
    return [f"{name}: {text}" for name, text in told.items() if text]


def _print_parts(result: ProtocolResult) -> None:
    console, rows = terminal(), []
    for part in result.parts:
        scored = f"{part.result.num_videos} of {len(part.samples)}"
        shares = (f"{share:.2%}" for share in (part.result.top1, part.result.top5, part.result.mean_class_accuracy))
        rows.append((part.title, scored, str(len(part.texts.names)), *shares))
    headings = ("part", "videos", "candidates", "top-1", "top-5", "per class")
    print_table(console, f"{result.protocol}: {result.about}", headings, rows)
    if result.variant:
        console.print(
            f"variant {result.variant}: labels meet the wording of another order, as published", style="yellow"
        )
    if "std" in result.summary:
        mean, std = result.summary["mean"], result.summary["std"]
        text = f"top-1 {mean:.2%}, population standard deviation {std:.2%} over {len(result.parts)}"
        console.print(text, style="bold")
    elif result.summary:
        listed = ", ".join(f"{name} {share:.2%}" for name, share in result.summary.items())
        console.print(f"top-1: {listed}", style="bold")


def _print_accuracies(title: str, result: EvaluationResult) -> None:
    rows = [
        ("top-1", f"{result.top1:.2%}"),
        ("top-5", f"{result.top5:.2%}"),
        ("mean per-class" if result.mean_average_precision is None else "mAP", f"{result.mean_class_accuracy:.2%}"),
        ("videos scored", str(result.num_videos)),
        ("videos skipped", str(len(result.skipped))),
    ]
    print_table(terminal(), title, ("accuracy", ""), rows)


def _print_classes(result: EvaluationResult) -> None:
    ranked = sorted(result.class_accuracy.items(), key=lambda item: (-item[1], item[0]))
    shown = ranked if len(ranked) <= 10 else [*ranked[:5], *ranked[-5:]]
    heading = "class" if shown is ranked else "class (five best, five worst)"
    measure = "accuracy" if result.mean_average_precision is None else "average precision"
    print_table(terminal(), "", (heading, measure), [(name, f"{share:.1%}") for name, share in shown])


def _subject(result: ProtocolResult, part: PartResult) -> EvalSubject:
    """What a report says of a part beside its figures."""
    facts = {
        "protocol": result.about if result.protocol else "",
        "variant": result.variant and f"{result.variant}: labels meet the wording of another order",
        **{f"top-1, {key}": f"{share:.2%}" for key, share in result.summary.items()},
        "model": part.model,
        "views": describe_views(result.views),
        "text": part.texts.note,
        "computed on": str(part.evaluated.scores.computed),
        "interpolation": describe_interpolation(result.interpolation),
        **describe_explained(result.interpolation),
        "never trained on": f"{part.never_trained} candidates",
        "training videos": part.training,
    }
    title = f"{result.protocol}, {part.file_name}" if len(result.parts) > 1 else result.protocol or part.part
    settings = {
        "videos": list(part.sha256["lists"]),
        "model": part.model,
        "views": to_dict(result.views),
        "templates": list(part.texts.templates),
        "texts": list(part.texts.texts),
        "interpolation": to_dict(result.interpolation),
    }
    about = {name: text for name, text in facts.items() if text}
    return EvalSubject(title, about, part.samples, part.texts.names, _sums(part), settings)


def describe_views(views: ViewsConfig) -> str:
    """The settings in words; those that are as the model was trained are not named."""
    parts = [
        f"{views.temporal} temporal x {views.spatial} spatial",
        f"mean of {views.aggregation}",
        f"{views.normalization} pixels",
    ]
    parts += [f"{name} {value}" for name in ("frames", "sampling", "stride") if (value := getattr(views, name))]
    parts += [f"crop {views.crop:g}"] if views.crop < 1 else []
    return ", ".join(parts + ([f"pixels as {views.pixel_aspect}"] if views.pixel_aspect else []))


def describe_interpolation(config: InterpolateConfig) -> str:
    """In words; empty if there is none."""
    if not config.space:
        return ""
    what = "weights" if config.space == "weights" else "probabilities"
    return f"{what}: {config.alpha:g} x the model + {1 - config.alpha:g} x frozen CLIP"


def describe_explained(interpolation: InterpolateConfig) -> dict[str, str]:
    """The fact that goes with a report whose explanations are of a part of the model only; mostly none."""
    said = "of the trained model alone: attention and occlusion do not see the interpolated scores"
    return {"explanations": said} if interpolation.space == "scores" else {}


def _sums(part: PartResult) -> dict[str, str]:
    """Of lists, names and templates, by what they are of."""
    return {**part.sha256["lists"], **{key: value for key, value in part.sha256.items() if key != "lists"}}
