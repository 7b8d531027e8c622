"""Ways to test in int8 on a CPU beside float32 and bfloat16: ViT-B/16 with Vita-CLIP's prompts, random weights.

    python benchmarks/int8.py                              3 views of 8 frames to their features, one thread
    OMP_NUM_THREADS=2 python benchmarks/int8.py --ways int8
    python benchmarks/int8.py --small                      tries everything out

First the four products of a block, without what quantises their inputs: the most that int8 can give. Then the tower in
all ways that are named: `bfloat16` and `int8` are runtime.precision; `torchao` quantises the same modules
(Int8DynamicActivationInt8WeightConfig); `onnxruntime` runs the exported graph and `onnxruntime int8` what its
quantize_dynamic makes of that, without the convolution; `openvino` runs it in bfloat16.
Beside the time stands how far the features are from those in float32, over their length.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("OMP_NUM_THREADS", "1")

import full_size
import numpy as np
import timing
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitaclip.backbones.int8 import Int8Layers
from vitaclip.backbones.transformer import Block
from vitaclip.export.exporter import describe, write
from vitaclip.export.graphs import build_graphs
from vitaclip.model import VideoModel
from vitaclip.runtime import RuntimeConfig, autocast, keep_freed_memory

LAYERS = {"q, k and v": (768, 2304), "out": (768, 768), "fc1": (768, 3072), "fc2": (3072, 768)}
ROWS = 24 * 197
Encode = Callable[[Tensor], Tensor]


def time_products(runs: int) -> dict[str, dict[str, timing.Times]]:
    """Each linear layer of a block: in float, and in int8 from float32 and back, and the product of int8 alone."""
    cases = {}
    for name, (into, out) in LAYERS.items():
        layer, x = nn.Linear(into, out), torch.randn(1, ROWS, into)
        weight, bias, rounded = layer.weight.bfloat16(), layer.bias.bfloat16(), x.bfloat16()
        whole = Int8Layers([layer])
        whole(x)
        whole.close()
        whole(x)
        given, (product,) = whole.ranges[0], whole.products[None, None]
        numbers = given.quantize(x)
        ways = {
            "bfloat16": lambda _, x=rounded, w=weight, b=bias: F.linear(x, w, b),
            "float32": lambda _, x=x, layer=layer: layer(x),
            "int8, quantised and checked": lambda _, x=x, whole=whole: whole(x),
            "int8": lambda _, n=numbers, g=given, p=product: p(n, g, ("none", ""), torch.bfloat16),
        }
        cases[name] = timing.measure(ways, range(runs))
    return cases


def in_precision(make: Callable[[], VideoModel], precision: str) -> Encode:
    """The model as `runtime.precision` has it."""
    runtime = RuntimeConfig(device="cpu", precision=precision)
    model = make().prepare(runtime)

    def encode(video: Tensor) -> Tensor:
        with autocast(runtime, model.device):
            return model.encode_video(video)

    return encode


def in_torchao(make: Callable[[], VideoModel]) -> Encode:
    """The linear layers of the blocks as modules of torch, since a part of a weight of torchao's is no weight."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    model = make()
    runtime = RuntimeConfig(precision="bfloat16")
    for block in model.backbone.vision.blocks:
        assert isinstance(block, Block)
        for owner, name in ((block.attention, "qkv"), (block.attention, "out"), (block.mlp, "fc1"), (block.mlp, "fc2")):
            layer = getattr(owner, name)
            plain = nn.Linear(layer.in_features, layer.out_features)
            plain.load_state_dict(layer.state_dict())
            quantize_(plain, Int8DynamicActivationInt8WeightConfig())
            if name == "qkv":
                layer.cast_once = lambda plain=plain: lambda x, rows: plain(x)[..., rows]
            else:
                layer.forward = plain.forward

    def encode(video: Tensor) -> Tensor:
        with autocast(runtime, model.device):
            return model.encode_video(video)

    return encode


def in_onnx(make: Callable[[], VideoModel], folder: Path, way: str) -> Encode:
    """The function of videos as an .onnx file, which another program runs."""
    file = folder / "video.onnx"
    if not file.exists():
        model = make()
        about = {**describe(model, (), "onnx"), "text": None}
        write(next(build_graphs(model, about)), file, about)
    if way == "openvino":
        import openvino

        settings = {
            "INFERENCE_PRECISION_HINT": "bf16",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
        }
        compiled = openvino.Core().compile_model(file, "CPU", settings)
        return lambda video: torch.from_numpy(compiled({"video": video.numpy()})[0])
    import onnxruntime
    from onnxruntime.quantization import quantize_dynamic

    if way == "onnxruntime int8":
        quantize_dynamic(file, folder / "int8.onnx", per_channel=True, op_types_to_quantize=["MatMul", "Gemm"])
        file = folder / "int8.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda video: torch.from_numpy(np.asarray(session.run(None, {"video": video.numpy()})[0]))


@torch.no_grad()
def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    others = ["torchao", "onnxruntime", "onnxruntime int8", "openvino"]
    parser.add_argument("--ways", nargs="*", choices=["int8", *others], default=["int8", *others])
    parser.add_argument("--pairs", type=int, default=5, help="runs of each")
    parser.add_argument("--small", action="store_true", help="a model of next to no size")
    timing.add_out(parser)
    options = parser.parse_args()
    keep_freed_memory()
    print(f"{timing.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    cases = time_products(options.pairs)
    for name, times in cases.items():
        timing.print_table(f"{name}, {ROWS} rows", times, "bfloat16")

    def make() -> VideoModel:
        size = 48 if options.small else 224
        return full_size.build_model(small=options.small, image_size=size, classes=4).eval()

    with TemporaryDirectory() as folder:
        builders: dict[str, Callable[[], Encode]] = {
            **{name: lambda name=name: in_precision(make, name) for name in ("bfloat16", "float32", "int8")},
            "torchao": lambda: in_torchao(make),
            **{name: lambda name=name: in_onnx(make, Path(folder), name) for name in others[1:]},
        }
        video = full_size.random_pixels(3, 8, size=make().image_size)
        ways = {name: builders[name]() for name in ("bfloat16", "float32", *options.ways)}
        exact = ways["float32"](video)
        for name, way in ways.items():
            print(f"{name}: {float((way(video).float() - exact).norm() / exact.norm()):.1e} from float32", flush=True)
        cases["test"] = timing.measure(
            {name: lambda _, way=way: way(video) for name, way in ways.items()}, range(options.pairs)
        )
    timing.print_table("3 views of 8 frames to their features", cases["test"], "bfloat16")
    if options.out:
        timing.write_json(options.out, vars(options) | {"out": ""}, cases)


if __name__ == "__main__":
    main()
