"""`vitaclip eval --protocol NAME`."""

from collections.abc import Mapping
from pathlib import Path

from jsonargparse import Namespace

from vitaclip.cli.evaluate.frames import print_protocol_frames, read_frames
from vitaclip.cli.evaluate.telling import (
    check_places,
    describe_explained,
    describe_views,
    explainer_of,
    say_where,
    short_sums,
)
from vitaclip.cli.models import load_model, read_prompts
from vitaclip.cli.screen import counting_bar, print_left_out, print_table, progress_bars, terminal
from vitaclip.config import DataConfig, RuntimeConfig, VideoLimits, ViewsConfig, to_dict
from vitaclip.distributed import DistEnv
from vitaclip.evaluate.class_texts import ClassPrompts
from vitaclip.evaluate.evaluation import describe_interpolation, looking_model
from vitaclip.evaluate.predictions import write_predictions
from vitaclip.evaluate.protocol import Protocol, check_models, fill, load_protocol
from vitaclip.evaluate.protocol_lists import ProtocolLists, describe_missing, read_protocol_lists
from vitaclip.evaluate.protocol_run import PartRecord, ProtocolResult, run_protocol
from vitaclip.evaluate.report import EvalSubject, write_report
from vitaclip.files import write_json
from vitaclip.model import VideoModel
from vitaclip.runtime import pick_device_among


def evaluate_protocol(arguments: Namespace, data: DataConfig, dist: DistEnv) -> int:
    """Evaluate by a protocol; the first process prints and writes."""

    def prepare() -> tuple[ProtocolLists, ClassPrompts, tuple[int, ...]]:
        protocol = load_protocol(arguments.protocol)
        prompts, frames = read_prompts(arguments), read_frames(arguments.frames_curve)
        _check(arguments, protocol)
        lists = read_protocol_lists(protocol, arguments.data.root)
        if dist.is_rank0:
            check_places(arguments, [str(lists.root / name) for name in lists.files])
        return lists, prompts, frames

    lists, prompts, frames = dist.run_on_all_ranks(prepare)
    console = terminal(quiet=not dist.is_rank0)
    for line in describe_missing(lists):
        console.print(f"not there: {line}", style="yellow", soft_wrap=True)
    if lists.missing and data.on_error == "raise":
        count = len(lists.missing)
        lacking = "1 video is" if count == 1 else f"{count} videos are"
        raise dist.failure(f"{lacking} not there; copy what is lacking, or leave it out with --data.on_error skip")
    models = _Models(arguments, lists.protocol, dist)
    with progress_bars(terminal(stderr=True, quiet=not dist.is_rank0)) as progress:
        result = run_protocol(
            lists,
            models.load,
            arguments.views,
            arguments.runtime,
            data,
            prompts,
            lambda what, total: counting_bar(progress, what, total),
            frames=frames,
            interpolation=arguments.interpolate,
            dist=dist,
        )
    if not dist.is_rank0:
        return 0
    _print_protocol(result)
    if frames:
        print_protocol_frames(result)
    if arguments.out:
        write_json(arguments.out, result.to_dict())
    if arguments.predictions:
        _write_protocol_predictions(Path(arguments.predictions), result)
    if arguments.report:  # last: it draws, and opens videos once more
        _report_protocol(Path(arguments.report), result, models, arguments.runtime, data.limits)
    return 0


def _report_protocol(
    folder: Path,
    result: ProtocolResult,
    models: "_Models",
    runtime: RuntimeConfig,
    limits: VideoLimits,
) -> None:
    """A page for each part, in a folder of its own if there are several; and `protocol.json`."""
    write_json(folder / "protocol.json", result.to_dict())
    mixed = describe_interpolation(result.interpolation)
    for part in result.parts:
        name = part.file_name
        about = {
            "protocol": result.about,
            **({"variant": f"{result.variant}: labels meet the wording of another order"} if result.variant else {}),
            **{f"top-1, {key}": f"{share:.2%}" for key, share in result.summary.items()},
            "model": part.model,
            "views": describe_views(result.views),
            "text": part.texts.note,
            "computed on": f"{part.device}, {part.precision}",
            **({"interpolation": mixed} if mixed else {}),
            **describe_explained(result.interpolation),
            "training videos": part.training,
        }
        title = f"{result.protocol}, {name}" if len(result.parts) > 1 else result.protocol
        settings = {
            "videos": list(part.sha256["lists"]),
            "model": part.model,
            "views": to_dict(result.views),
            "templates": list(part.texts.templates),
            "texts": list(part.texts.texts),
            "interpolation": to_dict(result.interpolation),
        }
        subject = EvalSubject(title, about, part.rows, part.texts.names, _sums(part), settings)
        looked_at = result.views, runtime, limits
        model = looking_model(models.load(part.values)[1], result.interpolation)
        explain = explainer_of(model, part.texts, *looked_at)
        place = folder / name if len(result.parts) > 1 else folder
        say_where(write_report(place, subject, part.evaluated, curve=part.frames_curve, explain=explain, limits=limits))


def _write_protocol_predictions(file: Path, result: ProtocolResult) -> None:
    """A file for each part, named after it if there are several: `predictions_list1.csv`."""
    for part in result.parts:
        place = file.with_stem(f"{file.stem}_{part.file_name}") if len(result.parts) > 1 else file
        write_predictions(place, part.rows, part.texts.names, part.evaluated.scores)


def _check(arguments: Namespace, protocol: Protocol) -> None:
    if not arguments.data.root:
        raise ValueError(f"--root is not set; give the folder that holds {', '.join(protocol.test_lists)}")
    if arguments.data.classes:
        raise ValueError(f"protocol {protocol.name} says which classes are candidates; leave --classes out")
    check_models(protocol, arguments.model)
    if protocol.views and arguments.views != ViewsConfig():
        raise ValueError(
            f"protocol {protocol.name} says how videos are looked at; leave --views out, or change it there"
        )


class _Models:
    """Loads the models of a protocol; one that serves all values is loaded once."""

    def __init__(self, arguments: Namespace, protocol: Protocol, dist: DistEnv) -> None:
        self._arguments, self._protocol, self._dist = arguments, protocol, dist
        self._loaded: dict[str, VideoModel] = {}

    def load(self, values: Mapping[str, int]) -> tuple[str, VideoModel]:
        """The model for some values, with its name."""
        given, dist = self._arguments, self._dist
        name = fill(given.model, values)
        if name not in self._loaded:
            arguments = given.clone()
            arguments.model = name
            device = pick_device_among(given.runtime.device, dist.local_rank, dist.world_size)
            self._loaded = {name: load_model(arguments).to(device)}
        model = self._loaded[name]
        if values and name == given.model and not model.is_zero_shot:
            word = next(iter(values))
            raise ValueError(
                f"protocol {self._protocol.name} needs a model for each {word}; write {{{word}}} in --model,"
                f' such as "runs/{{{word}}}/model"'
            )
        return name or given.backbone or "miniature", model


def _print_protocol(result: ProtocolResult) -> None:
    console = terminal()
    rows = []
    for part in result.parts:
        scored = f"{part.videos_scored} of {part.videos_listed}"
        shares = (f"{share:.2%}" for share in (part.top1, part.top5, part.mean_class_accuracy))
        rows.append((part.title, scored, str(len(part.texts.names)), *shares))
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
    for note in dict.fromkeys(f"computed on {part.device}, {part.precision}" for part in result.parts):
        console.print(note, soft_wrap=True)
    for note in dict.fromkeys(f"text: {part.texts.note}" for part in result.parts):
        console.print(note, soft_wrap=True)
    if mixed := describe_interpolation(result.interpolation):
        console.print(f"interpolation: {mixed}", soft_wrap=True)
    for note in dict.fromkeys(f"training: {part.training}" for part in result.parts):
        console.print(note, soft_wrap=True)
    for note in dict.fromkeys(f"sha256: {short_sums(_sums(part))}" for part in result.parts):
        console.print(note, soft_wrap=True)
    print_left_out(console, list(dict.fromkeys(line for part in result.parts for line in part.skipped)))


def _sums(part: PartRecord) -> dict[str, str]:
    """Of lists, names and templates, by what they are of."""
    return {**part.sha256["lists"], **{key: value for key, value in part.sha256.items() if key != "lists"}}
