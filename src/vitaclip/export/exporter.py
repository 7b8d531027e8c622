"""Writing a model as files that other programs run, each of them compared with the model itself."""

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from torch.export import Dim, ExportedProgram

from vitaclip.export.graphs import Graph, build_graphs
from vitaclip.export.runner import DESCRIPTION, SUFFIXES, open_graph
from vitaclip.files import write_json
from vitaclip.model import VideoModel
from vitaclip.names import check_class_names
from vitaclip.settings import to_dict
from vitaclip.version import __version__

Format = Literal["onnx", "torch", "openvino"]
NEEDED = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "torch": (), "openvino": ("openvino", "onnx", "onnxscript")}
"""Packages beside torch; the extra of the format's name brings them."""
LARGEST_ERROR = 1e-5
"""Difference from the model, over the largest of its values, beyond which an export is refused."""
_LARGEST_FILE = 1 << 30
"""Bytes of weights up to which an .onnx file holds them itself; none can be larger than 2 GiB."""


@torch.no_grad()
def export_model(
    model: VideoModel, folder: str | Path, *, to: Format = "onnx", class_names: Sequence[str] = ()
) -> dict[str, Any]:
    """Write functions of videos, of texts and of both, each in a file, and a description of what they take and give.

    Args:
        model: whatever it was trained for; on the CPU, in float32.
        folder: where to; what an earlier export left there is written over.
        to: `onnx`, `torch` (the .pt2 files of torch.export) or `openvino`.
        class_names: classes whose logits a video alone gives. Empty: those that the model was trained on.

    Returns:
        The description: pixels, sampling, tokens, classes, and how far each output is from the model's.

    Raises:
        ValueError: a package is missing, the folder holds other things, or an output is not the model's.

    >>> about = export_model(VideoModel.from_pretrained("miniature"), "exported")  # doctest: +SKIP
    """
    folder = Path(folder)
    if missing := [name for name in NEEDED[to] if find_spec(name) is None]:
        raise ValueError(f"export to {to} needs {', '.join(missing)}; install them with pip install 'vitaclip[{to}]'")
    if model.device.type != "cpu" or model.dtype != torch.float32:
        raise ValueError("a model is exported on the CPU in float32; give model.cpu().float()")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / DESCRIPTION).exists():
        raise ValueError(f"{folder}: holds other things; name a new or empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    about = describe(model, check_class_names(class_names, "class_names") if class_names else model.class_names, to)
    about["errors"] = {}
    with TemporaryDirectory(dir=folder, prefix=".") as unchecked:
        for graph in build_graphs(model, about):
            file = Path(unchecked) / f"{graph.name}{SUFFIXES[to]}"
            write(graph, file, about)
            about["errors"][graph.name] = compare(graph, file)
        for file in Path(unchecked).iterdir():
            file.replace(folder / file.name)
    model.backbone.tokenizer.vocabulary.save(folder)
    write_json(folder / DESCRIPTION, about)
    return about


def describe(model: VideoModel, names: Sequence[str], to: Format) -> dict[str, Any]:
    """What the files take and give, for programs and people."""
    config, clip, head = model.config, model.backbone.config, model.head
    learned = head.learns_texts and not head.per_class
    scales = {"logit_scale": "head.logit_scale", "logit_bias": "backbone.logit_bias"}
    state = model.state_dict()
    return {
        "vitaclip": __version__,
        "format": to,
        "model": model.in_words,
        "classes": list(names),
        "similarity": {name: float(state[key]) for name, key in scales.items() if key in state},
        "video": {
            "size": model.image_size,
            **to_dict(clip.pixels),
            "sampling": {**to_dict(config.sampling), "num_frames": config.num_frames},
        },
        "text": (learned or head.takes_templates)
        and {
            "context": to_dict(head.config) if learned else None,
            "templates": list(config.templates),
            "context_length": clip.text.context_length,
            "full_length": clip.text.order == "all",
            "layout": to_dict(clip.text.layout),
            "tokenizer": model.backbone.tokenizer.vocabulary.file_name,
        },
    }


def write(graph: Graph, file: Path, about: Mapping[str, Any]) -> None:
    """Trace a function and write it in the format of the file's name, without what the libraries say of themselves. An
    .onnx file is checked, and holds the description as metadata."""
    graph.module(**graph.examples[0])  # what is computed once and kept, such as rotations, is so before
    shapes = {name: dict.fromkeys(axes, Dim.DYNAMIC) for name, axes in graph.axes.items()}
    with ExitStack() as quiet:
        quiet.enter_context(warnings.catch_warnings(action="ignore"))
        quiet.callback(logging.disable, logging.root.manager.disable)
        logging.disable(logging.WARNING)
        program = torch.export.export(graph.module, (), graph.examples[0], dynamic_shapes=shapes)
        if file.suffix == SUFFIXES["torch"]:
            torch.export.save(program, file)
        else:
            _write_onnx(program, graph, file.with_suffix(".onnx"), about)
        if file.suffix == SUFFIXES["openvino"]:
            import openvino

            openvino.save_model(openvino.convert_model(file.with_suffix(".onnx")), file, compress_to_fp16=False)
            for made in file.parent.glob(f"{graph.name}.onnx*"):
                made.unlink()


def _write_onnx(program: ExportedProgram, graph: Graph, file: Path, about: Mapping[str, Any]) -> None:
    import onnx

    names = {name: dict(axes) for name, axes in graph.axes.items()}
    made = torch.onnx.export(
        program, dynamic_shapes=names, input_names=[*names], output_names=graph.outputs, verbose=False
    )
    assert made is not None
    made.model.metadata_props["vitaclip"] = json.dumps(about)
    made.save(file, external_data=sum(value.nbytes for value in program.state_dict.values()) > _LARGEST_FILE)
    onnx.checker.check_model(file, full_check=True)


def compare(graph: Graph, file: Path) -> dict[str, float]:
    """How far the outputs of a file are from the model's, over the largest of these, at worst of all examples.

    Raises:
        ValueError: too far.
    """
    run, errors = open_graph(file), dict.fromkeys(graph.outputs, 0.0)
    for example in graph.examples:
        found = run({name: tensor.numpy() for name, tensor in example.items()})
        for name, ours, theirs in zip(graph.outputs, graph.module(**example), found, strict=True):
            errors[name] = max(errors[name], float(np.abs(theirs - ours.numpy()).max() / ours.abs().max()))
            if not errors[name] <= LARGEST_ERROR:
                shapes = [tuple(tensor.shape) for tensor in example.values()]
                far = f"{file.name}: {name} of {shapes} differ by {errors[name]:.1e}"
                raise ValueError(f"{far} from the model's; export to another format")
    return errors
