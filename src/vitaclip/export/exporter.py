"""Writing a model as files that other programs run, each of them compared with the model itself."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from torch.export import Dim, ExportedProgram

from vitaclip.evaluation.class_texts import encode_classes
from vitaclip.export.graphs import Graph, score_graph, text_graph, video_graph, with_plain_names
from vitaclip.export.runner import DESCRIPTION, SUFFIXES, open_graph, text_inputs
from vitaclip.files import write_json
from vitaclip.model import VideoModel
from vitaclip.names import check_class_names
from vitaclip.settings import to_dict
from vitaclip.version import __version__

Format = Literal["onnx", "torch", "openvino"]
EXTRAS = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino", "onnx", "onnxscript"), "torch": ()}
"""What each format needs beside torch: the packages of the extra of its name."""
LARGEST_ERROR = 1e-5
"""Difference from the model, over the model's largest value, at which an export is refused."""
_LARGEST_FILE = 1 << 30
"""Bytes of weights up to which an .onnx file holds them itself; none can be larger than 2 GiB."""
_SOME_NAMES = "opening a door", "run", "moving left"


@torch.no_grad()
def export_model(
    model: VideoModel, folder: str | Path, *, to: Format = "onnx", class_names: Sequence[str] = ()
) -> dict[str, Any]:
    """Write a model in float32 as functions of videos, of texts and of both, each in a file, with a description of what
    they take and give; nothing is described that was not compared with the model.

    Args:
        model: whatever it was trained for, on the CPU.
        folder: where to; what an earlier export left there is written over.
        to: `onnx`, `torch` (the .pt2 files of torch.export) or `openvino`.
        class_names: classes whose logits the function of videos gives. Empty: those that the model was trained on.

    Returns:
        The description: pixels, sampling, tokenizer, classes, and how far each output is from the model's.

    Raises:
        ValueError: a package is missing, the folder holds other things, or an output is not the model's.

    >>> about = export_model(VideoModel.from_pretrained("miniature"), "exported")  # doctest: +SKIP - half a minute
    """
    if missing := [name for name in EXTRAS[to] if find_spec(name) is None]:
        raise ValueError(f"export to {to} needs {', '.join(missing)}; install them with pip install 'vitaclip[{to}]'")
    if model.device.type != "cpu" or model.dtype != torch.float32:
        raise ValueError("a model is exported on the CPU in float32; give model.cpu().float()")
    folder = Path(folder)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / DESCRIPTION).exists():
        raise ValueError(f"{folder}: holds other things; name a new or empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    names = check_class_names(class_names, "class_names") if class_names else model.class_names
    about, errors = describe(model, names, to), {}
    with TemporaryDirectory(dir=folder, prefix=".") as unchecked:
        for name, graph in build_graphs(with_plain_names(model), about):
            file = Path(unchecked) / f"{name}{SUFFIXES[to]}"
            with _quiet():
                WRITERS[to](trace(graph), graph, file, about)
            errors[name] = compare(graph, file)
        for file in Path(unchecked).iterdir():
            file.replace(folder / file.name)
    if about["text"]:
        model.backbone.tokenizer.vocabulary.save(folder)
    write_json(folder / DESCRIPTION, {**about, "errors": errors})
    return {**about, "errors": errors}


def describe(model: VideoModel, names: Sequence[str], to: Format) -> dict[str, Any]:
    """What the files take and give, for programs and people."""
    config, clip, head = model.config, model.backbone.config, model.head
    learned = head.learns_texts and not head.per_class
    text = {
        "context": to_dict(head.config) if learned else None,
        "templates": list(config.templates),
        "context_length": clip.text.context_length,
        "full_length": clip.text.order == "all",
        "tokenizer": model.backbone.tokenizer.vocabulary.file_name,
        "layout": to_dict(clip.text.layout),
    }
    sampling = {"kind": config.sampling.kind, "num_frames": config.num_frames, "stride": config.sampling.stride}
    return {
        "vitaclip": __version__,
        "format": to,
        "model": model.in_words,
        "classes": list(names),
        "video": {"size": model.image_size, **to_dict(clip.pixels), "sampling": sampling},
        "text": text if learned or head.takes_templates else None,
        "similarity": {
            name: float(value)
            for name, value in model.state_dict().items()
            if name in ("head.logit_scale", "backbone.logit_bias")
        },
    }


def build_graphs(model: VideoModel, about: Mapping[str, Any]) -> Iterator[tuple[str, Graph]]:
    """The functions of a model by name."""
    names = about["classes"]
    classes = encode_classes(model, names).features if names else None
    video = video_graph(model, classes)
    yield "video", video
    if about["text"]:
        # Of several lengths in names and in tokens, where that may be.
        inputs = [
            text_inputs(each, model.backbone.tokenizer, about["text"]) for each in (_SOME_NAMES, _SOME_NAMES[1:2])
        ]
        text = text_graph(model, [{name: torch.from_numpy(array) for name, array in each.items()} for each in inputs])
        yield "text", text
        (classes,) = text.module(**text.examples[0])
    assert classes is not None, "a model that reads no texts has classes"
    yield "score", score_graph(model, video.module(**video.examples[0])[0], classes)


def trace(graph: Graph) -> ExportedProgram:
    """The program that torch.export makes of a function."""
    graph.module.eval()(**graph.examples[0])  # what is computed once and kept, such as rotations, is so before
    shapes = {name: dict.fromkeys(axes, Dim.DYNAMIC) for name, axes in graph.dynamic.items()}
    return torch.export.export(graph.module, (), dict(graph.examples[0]), dynamic_shapes=shapes)


def compare(graph: Graph, file: Path) -> dict[str, float]:
    """How far the outputs of a file are from the model's, over the largest of these, at worst of all examples.

    Raises:
        ValueError: too far.
    """
    run, errors = open_graph(file), dict.fromkeys(graph.outputs, 0.0)
    for example in graph.examples:
        found = run({name: tensor.numpy() for name, tensor in example.items()})
        for name, ours, theirs in zip(graph.outputs, graph.module(**example), found, strict=True):
            expected = ours.numpy()
            error = float(np.abs(theirs - expected).max() / np.abs(expected).max())
            if not error <= LARGEST_ERROR:
                shapes = {name: tuple(tensor.shape) for name, tensor in example.items()}
                raise ValueError(
                    f"{file}: {name} of {shapes} is {error:.1e} from the model's; export to another format"
                )
            errors[name] = max(errors[name], error)
    return errors


def write_onnx(program: ExportedProgram, graph: Graph, file: Path, about: Mapping[str, Any]) -> None:
    """Write and check an .onnx file; its metadata holds the description. Weights of more than a GiB lie beside it."""
    import onnx

    names = {name: dict(axes) for name, axes in graph.dynamic.items()}
    made = torch.onnx.export(
        program, dynamic_shapes=names, input_names=[*names], output_names=list(graph.outputs), verbose=False
    )
    assert made is not None
    made.model.metadata_props["vitaclip"] = json.dumps(about)
    made.save(file, external_data=sum(t.nbytes for t in program.state_dict.values()) > _LARGEST_FILE)
    onnx.checker.check_model(file, full_check=True)


def write_torch(program: ExportedProgram, graph: Graph, file: Path, about: Mapping[str, Any]) -> None:
    """Write a .pt2 file."""
    torch.export.save(program, file)


def write_openvino(program: ExportedProgram, graph: Graph, file: Path, about: Mapping[str, Any]) -> None:
    """Write an .xml file and its weights, made from ONNX."""
    import openvino

    with TemporaryDirectory() as temporary:
        made = Path(temporary) / "graph.onnx"
        write_onnx(program, graph, made, about)
        openvino.save_model(openvino.convert_model(made), file, compress_to_fp16=False)


WRITERS: dict[str, Callable[[ExportedProgram, Graph, Path, Mapping[str, Any]], None]] = {
    "onnx": write_onnx,
    "torch": write_torch,
    "openvino": write_openvino,
}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the libraries say of themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
