"""The two things that `vitaclip eval` runs: a list, which is a protocol of one part, and a protocol."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from jsonargparse import Namespace

from vitaclip.cli.evaluate.results import check_places
from vitaclip.cli.models import load_model, model_name, read_prompts
from vitaclip.cli.screen import terminal
from vitaclip.data import VideoList, index_cache, names_shards, read_videos
from vitaclip.data.config import ViewsConfig
from vitaclip.distributed import DistEnv
from vitaclip.evaluate.class_texts import ClassPrompts
from vitaclip.evaluate.evaluation import Candidates, Evaluator
from vitaclip.evaluate.protocol import Protocol, check_models, fill, load_protocol
from vitaclip.evaluate.protocol_lists import ProtocolLists, describe_missing, read_protocol_lists
from vitaclip.evaluate.protocol_run import ProtocolResult, Start, run_list, run_protocol
from vitaclip.model import VideoModel
from vitaclip.names import ClassIndex
from vitaclip.runtime import pick_device_among

Run = Callable[[Start], ProtocolResult]


class Models:
    """Loads the models of an evaluation; one that serves all values of a protocol is loaded once."""

    def __init__(self, arguments: Namespace, dist: DistEnv) -> None:
        self._arguments, self._dist = arguments, dist
        self._loaded: dict[str, VideoModel] = {}

    def load(self, values: Mapping[str, int]) -> tuple[str, VideoModel]:
        """The model for some values of a protocol, with its name."""
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
                f"protocol {given.protocol} needs a model for each {word}; write {{{word}}} in --model,"
                f' such as "runs/{{{word}}}/model"'
            )
        return name or model_name(given), model


def prepare_list(arguments: Namespace, models: Models, dist: DistEnv) -> Run:
    """Read and check everything that an evaluation on a list or a folder needs; returns what runs it."""

    def prepare() -> tuple[str, VideoList, Evaluator, Candidates]:
        prompts = read_prompts(arguments)
        name, model = models.load({})
        videos = _read(arguments, model.class_names)
        evaluator = Evaluator(model, arguments.runtime, arguments.data, prompts, dist, arguments.interpolate)
        if dist.is_rank0:
            check_places(arguments)
        return name, videos, evaluator, evaluator.encode_texts(videos.class_names)

    name, videos, evaluator, texts = dist.run_on_all_ranks(prepare)
    return partial(run_list, name, arguments.videos, videos, evaluator, texts, arguments.views, arguments.interpolate)


def _read(arguments: Namespace, known: tuple[str, ...]) -> VideoList:
    """The videos; candidates are the names given, else the model's, else, where a folder shows others, the folder's."""
    data = arguments.data

    def read(class_names: tuple[str, ...] | None) -> VideoList:
        return read_videos(
            arguments.videos,
            "the list of videos",
            root=data.root,
            classes=data.classes,
            class_names=class_names,
            cache=index_cache(data.index_cache),
            keep_absent=data.on_error == "skip",
        )

    if Path(arguments.videos).is_dir() and not data.classes and not names_shards(arguments.videos):
        videos, index = read(None), ClassIndex(known)
        return videos if None in map(index.find, videos.class_names) else read(known)
    return read(known or None)


def prepare_protocol(arguments: Namespace, models: Models, dist: DistEnv) -> Run:
    """Read and check everything that a protocol needs, and say what is not there; returns what runs it."""

    def prepare() -> tuple[ProtocolLists, ClassPrompts]:
        protocol = load_protocol(arguments.protocol)
        prompts = read_prompts(arguments)
        _check(arguments, protocol)
        lists = read_protocol_lists(protocol, arguments.data.root)
        if dist.is_rank0:
            check_places(arguments, [str(lists.root / name) for name in lists.files])
        return lists, prompts

    lists, prompts = dist.run_on_all_ranks(prepare)
    console = terminal(quiet=not dist.is_rank0)
    for line in describe_missing(lists):
        console.print(f"not there: {line}", style="yellow", soft_wrap=True)
    if lists.missing and arguments.data.on_error == "raise":
        count = len(lists.missing)
        lacking = "1 video is" if count == 1 else f"{count} videos are"
        raise dist.failure(f"{lacking} not there; copy what is lacking, or leave it out with --data.on_error skip")
    settings = arguments.views, arguments.runtime, arguments.data, prompts
    others = {"interpolation": arguments.interpolate, "dist": dist}
    return lambda start: run_protocol(lists, models.load, *settings, start, **others)


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
