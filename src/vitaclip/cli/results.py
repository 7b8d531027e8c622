"""What `vitaclip eval` prints and writes of a result, which has a part for each accuracy; a list has one part."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vitaclip.cli.options import check_outputs
from vitaclip.cli.screen import print_table, terminal
from vitaclip.data.config import ViewsConfig
from vitaclip.evaluation.metrics import EvaluationResult
from vitaclip.evaluation.predictions import write_predictions
from vitaclip.evaluation.protocol_run import PartResult, ProtocolResult
from vitaclip.files import write_json
from vitaclip.report import check_report_folder, write_report
from vitaclip.strings import first_lines

if TYPE_CHECKING:
    from vitaclip.cli.evaluate import Evaluate


def check_places(command: "Evaluate", inputs: Sequence[str] = ()) -> None:
    """Make sure that what is asked for can be written, before videos are evaluated; see `check_outputs`."""
    report = str(Path(command.report) / "index.html") if command.report else ""
    check_outputs(command, command.out, command.predictions, report, command.save_calibration, inputs=inputs)
    if command.report:
        check_report_folder(command.report)


def write_result(command: "Evaluate", result: ProtocolResult) -> None:
    """Print the result, and write what is asked for; the report last, since it draws and opens videos once more."""
    print_result(result)
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


def print_result(result: ProtocolResult) -> None:
    """Accuracies, what they were measured with, and what was skipped."""
    console = terminal()
    _print_accuracies(result)
    facts = [_facts(result, part) | {"sha256": _shortened(part.sha256)} for part in result.parts]
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
        "views": describe_views(result.views),
        "text": part.texts.note,
        "computed on": str(part.evaluated.scores.computed),
        "never trained on": f"{part.never_trained} candidates",
        "training videos": part.training,
        **(part.evaluated.decision.lines() if part.evaluated.decision else {}),
    }
    return {name: text for name, text in facts.items() if text}


def describe_views(views: ViewsConfig) -> str:
    """The settings in words; those that are as the model was trained are not named."""
    clips = f"{views.temporal} temporal x {views.spatial} spatial"
    parts = [clips, f"mean of {views.aggregation}", f"{views.normalization} pixels"]
    parts += [f"{name} {value}" for name in ("frames", "sampling", "stride") if (value := getattr(views, name))]
    parts += [f"crop {views.crop:g}"] * (views.crop < 1) + [f"pixels as {views.pixel_aspect}"] * bool(
        views.pixel_aspect
    )
    return ", ".join(parts)


def _shortened(sums: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value[:12]}" for name, value in sums.items())
