"""Linear layers and attention by the operations that `vitaclip.backbones.kernels` chooses from, at ViT-B/16's size.

    python benchmarks/kernels.py                 two clips of 8 frames at a time, on all cores
    python benchmarks/kernels.py --frames 24     the test of a video, 3 views

Each table says how many times as long the second way takes as the first.
"""

import argparse
import os
from collections.abc import Callable
from functools import partial

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))

import timing
import torch
import torch.nn.functional as F
from torch import Tensor

from vitaclip.backbones.kernels import attend_by_products, attend_padded, linear_by_convolution
from vitaclip.runtime import keep_freed_memory

TOKENS, CONTEXT, WIDTH, HEADS = 197, 17, 768, 12
LAYERS = {"q, k and v": (768, 2304), "fc1": (768, 3072), "fc2": (3072, 768), "out": (768, 768)}
TEXTS = (128, 8, 13)
"""Texts at a time, heads, tokens of a text."""


def time_linear(frames: int, rows: int, dtype: torch.dtype, runs: int) -> dict[str, dict[str, timing.Times]]:
    """Every layer of a block of the image tower, without a way back."""
    cases = {}
    for name, (into, out) in LAYERS.items():
        x, weight, bias = (torch.randn(*shape, dtype=dtype) for shape in ((frames, rows, into), (out, into), (out,)))
        run_linear = partial(without_number, F.linear, x, weight, bias)
        run_convolution = partial(without_number, linear_by_convolution, x, weight, bias)
        with torch.no_grad():
            cases[name] = timing.measure({"linear": run_linear, "convolution": run_convolution}, range(runs))
    return cases


def without_number(run: Callable[..., Tensor], x: Tensor, weight: Tensor, bias: Tensor, _: int) -> Tensor:
    """The same, whatever the number of the run."""
    return run(x, weight, bias)


def time_attention(
    shape: tuple[int, int, int], keys: int, dtype: torch.dtype, runs: int
) -> dict[str, dict[str, timing.Times]]:
    """Of heads of 64 channels, without a way back and with one."""
    batch, heads, queries = shape

    def tokens(count: int) -> Tensor:
        return torch.randn(batch, count, heads, 64, dtype=dtype).transpose(1, 2).requires_grad_()

    inputs, grad = (tokens(queries), tokens(keys), tokens(keys)), torch.randn(batch, heads, queries, 64, dtype=dtype)
    query, key, value = inputs
    there = torch.no_grad()
    ways: dict[str, dict[str, Callable[[int], object]]] = {
        "there and back": {
            "fused": lambda _: torch.autograd.grad(F.scaled_dot_product_attention(*inputs), inputs, grad),
            "products": lambda _: torch.autograd.grad(attend_by_products(*inputs, causal=False), inputs, grad),
        },
        "there": {
            "fused": there(lambda _: F.scaled_dot_product_attention(*inputs)),
            "padded": there(lambda _: attend_padded(query, [key], [value])),
        },
    }
    return {direction: timing.measure(its, range(runs)) for direction, its in ways.items()}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=16, help="frames that go through a layer at a time")
    parser.add_argument("--runs", type=int, default=9)
    timing.add_out(parser)
    options = parser.parse_args()
    keep_freed_memory()
    print(f"{timing.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    cases: dict[str, dict[str, timing.Times]] = {}
    for dtype in (torch.float32, torch.bfloat16):
        precision = str(dtype).removeprefix("torch.")
        for rows in (1, TOKENS):
            for name, times in time_linear(options.frames, rows, dtype, options.runs).items():
                cases[f"{precision}: {name}, {options.frames} x {rows} rows"] = times
        attended = {
            f"attention of {options.frames} frames": ((options.frames, HEADS, TOKENS), TOKENS + CONTEXT),
            "attention of 8 frames of 448 px": ((8, HEADS, 785), 785 + CONTEXT),
            f"attention of {TEXTS[0]} texts": (TEXTS, TEXTS[2]),
        }
        for name, (shape, keys) in attended.items():
            for direction, times in time_attention(shape, keys, dtype, options.runs).items():
                cases[f"{precision}: {name}, {direction}"] = times
    for title, times in cases.items():
        timing.print_table(title, times, next(iter(times)))
    if options.out:
        timing.write_json(options.out, vars(options) | {"out": str(options.out)}, cases)


if __name__ == "__main__":
    main()
