"""A video's features by the model itself, compiled, and exported to ONNX, run by onnxruntime and by OpenVINO.

    python benchmarks/export.py            ViT-B/16 with all prompts, 8 frames, random weights
    python benchmarks/export.py --small    tries everything out

Float32, one thread each, in one process in changing order. What is exported is compared with the model first.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import full_size
import numpy as np
import onnxruntime
import openvino
import timing
import torch
from torch import Tensor

from vitaclip.export.exporter import describe, write
from vitaclip.export.graphs import build_graphs
from vitaclip.model import VideoModel
from vitaclip.runtime import RuntimeConfig


def exported(model: VideoModel, file: Path) -> dict[str, Callable[[Tensor], np.ndarray]]:
    """The function of videos as an .onnx file, which onnxruntime and OpenVINO run by one thread."""
    about = {**describe(model, (), "onnx"), "text": None}
    write(next(build_graphs(model, about)), file, about)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    compiled = openvino.Core().compile_model(file, "CPU", settings)
    return {
        "onnxruntime": lambda video: session.run(None, {"video": video.numpy()})[0],
        "openvino": lambda video: compiled({"video": video.numpy()})[0],
    }


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a model of next to no size")
    parser.add_argument("--pairs", type=int, default=5, help="runs of each")
    timing.add_out(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = full_size.build_model(small=arguments.small, image_size=48 if arguments.small else 224, classes=4).eval()
    compiled = full_size.build_model(small=arguments.small, image_size=48 if arguments.small else 224, classes=4).eval()
    compiled.prepare(RuntimeConfig(compile=True))
    video = full_size.random_pixels(1, 8, size=model.image_size)
    with tempfile.TemporaryDirectory() as folder:
        ways: dict[str, Callable[[Tensor], object]] = {"eager": model.encode_video, "compiled": compiled.encode_video}
        runs = exported(model, Path(folder) / "video.onnx")
        expected = model.encode_video(video).numpy()
        for name, run in runs.items():
            print(f"{name}: {np.abs(run(video) - expected).max() / np.abs(expected).max():.1e} from the model")
        ways |= runs

        def of_video(way: Callable[[Tensor], object]) -> Callable[[int], object]:
            return lambda _run: way(video)

        times = timing.measure({name: of_video(way) for name, way in ways.items()}, range(arguments.pairs))
    timing.print_table("one video of 8 frames to its features", times, "eager")
    if arguments.out:
        timing.write_json(arguments.out, vars(arguments) | {"out": ""}, {"video": times})


if __name__ == "__main__":
    main()
