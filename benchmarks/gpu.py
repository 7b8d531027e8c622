"""Everything about one GPU in one go: first whether its numbers are right, then how fast they come.

    python benchmarks/gpu.py --out bench/gpu.json            at most 8 minutes; writes bench/gpu.md beside it
    python benchmarks/gpu.py --small --device cpu            the same program at tiny size, to try it without a card
    python benchmarks/gpu.py --parts correct "speed b16 8"   some parts only

Each part runs in a process of its own with a time limit, and both files are written anew after each, so that the tables
come out whole when a part fails. Models have random weights: speed does not depend on what they are.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import breakdown
import full_size
import methods_speed
import operations
import timing
import torch
from published import PublishedModel
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from vitaclip import load_recipe
from vitaclip.backbones.config import CLIPConfig, TextConfig, VisionConfig
from vitaclip.backbones.loading import Backbone
from vitaclip.backbones.model import CLIP
from vitaclip.backbones.tokenizer import Tokenizer, read_vocabulary
from vitaclip.data.loading.loader import TrainBatch
from vitaclip.model import VideoModel
from vitaclip.parts.config import ModelConfig
from vitaclip.runtime import RuntimeConfig, autocast, send

HERE = Path(__file__).parent
PARTS = (
    "card",
    "correct",
    "nccl",
    "resume",
    "memory",
    "speed b16 8",
    "speed l14 8",
    "video",
    "speed b16 16",
    "speed l14 16",
)
LIMIT_SECONDS = {"card": 60, "correct": 120, "nccl": 60, "resume": 100, "memory": 60, "video": 120}
SPEED_LIMIT_SECONDS = 180
BFLOAT16 = RuntimeConfig(precision="bfloat16")

# ------------------------------------------------------------------------------------------------------- the parts


def card(options: argparse.Namespace) -> dict[str, Any]:
    """What the device is and what it can do: products of large matrices, copies on the card and onto it."""
    device = options.device
    figures: dict[str, Any] = {
        "name": timing.device_name(device),
        "machine": timing.machine(),
        "torch": torch.__version__,
    }
    figures["bfloat16 T/s"] = breakdown.matrix_rate(device, small=options.small) / 1e12
    size = 2**20 if options.small else 2**29
    source = torch.empty(size, dtype=torch.uint8, device=device)
    figures["copy GB/s, read and written"] = 2 * size / seconds_of(lambda: source.clone(), device) / 1e9
    for kind in ("pageable", "pinned"):
        host = torch.empty(size // 4, dtype=torch.uint8)
        if kind == "pinned" and device.type == "cuda":
            host = host.pin_memory()
        copy = partial(host.to, device, non_blocking=True)
        figures[f"to the card GB/s, {kind}"] = size / 4 / seconds_of(copy, device) / 1e9
    return figures


def correct(options: argparse.Namespace) -> dict[str, Any]:
    """Features, logits and the gradients of a step on the device, in both precisions, against float64 on the CPU: of
    Vita-CLIP at full size, and, small, of the other methods and of Vita-CLIP on one tower of each other kind.

    Each figure is the length of the difference over the length of the float64 result.
    """
    figures: dict[str, Any] = {}
    for name in ("vitaclip", *SMALL_MODELS):
        make = partial(build, name, "b16", 8, options, classes=5) if name == "vitaclip" else SMALL_MODELS[name]
        figures[name] = {each: compare(make, each, options.device) for each in ("float32", "bfloat16")}
        print(json.dumps(figures), flush=True)
    limits = {"float32": 1e-4, "bfloat16": 5e-2}
    wrong = [name for name, found in figures.items() for each, limit in limits.items() if found[each]["logits"] > limit]
    return {**figures, "right": not wrong, "wrong": wrong}


def compare(make: Callable[[], Any], precision: str, device: torch.device) -> dict[str, Any]:
    """A model's numbers on the device in this precision against its float64 ones on the CPU."""
    model = make()
    video, labels = full_size.random_pixels(2, model_frames(model), size=model.image_size), torch.tensor([0, 3])
    expected = numbers(model.double(), video, labels)
    model = make().to(device)
    found = numbers(model, video, labels, partial(autocast, RuntimeConfig(precision=precision), device))  # type: ignore[arg-type]
    errors = {name: distance(found[name], value) for name, value in expected.items()}
    gradients = [name for name in errors if name.startswith("gradient of")]
    worst = max(gradients, key=lambda name: errors[name])
    together = (torch.cat([each[name].flatten().double().cpu() for name in gradients]) for each in (found, expected))
    return {
        **{name: error for name, error in errors.items() if name not in gradients},
        "all gradients": distance(*together),
        "worst gradient": f"{errors[worst]:.1e} ({worst.removeprefix('gradient of ')})",
    }


def small_method(recipe: str) -> Any:
    """A method on a CLIP of next to no size."""
    config = load_recipe(recipe).model
    pool = {"name": "decode", "blocks": 2} if recipe == "evl" else config.pool
    return small_video_model(replace(config, pool=pool))


def small_video_model(config: ModelConfig, similarity: str = "softmax", **tower: Any) -> Any:
    """Parts on an image tower of two blocks with these options."""
    torch.manual_seed(0)
    sizes = {"image_size": 64, "patch_size": 16, "width": 128, "depth": 2, "heads": 2}
    text = TextConfig(vocab_size=49408, context_length=77, width=64, depth=2, heads=1)
    clip = CLIP(CLIPConfig(vision=VisionConfig(**sizes, **tower), text=text, embed_dim=64, similarity=similarity))  # type: ignore[arg-type]
    backbone = Backbone(clip.eval(), Tokenizer(read_vocabulary()), "random", "random")
    return VideoModel(backbone, replace(config, backbone="random"), full_size.class_names(5))


SMALL_MODELS: dict[str, Callable[[], Any]] = {
    **{each: partial(small_method, each) for each in ("evl", "xclip", "vifi", "coop", "deep_prompts", "linear_probe")},
    "vitaclip on SigLIP's kind": lambda: small_video_model(
        load_recipe("vitaclip").model, "sigmoid", class_token=False, norm_pre=False, pool="attention", activation="gelu"
    ),
    "vitaclip on PE-Core's kind": lambda: small_video_model(
        load_recipe("vitaclip").model, rope="pe", pool="attention", activation="gelu"
    ),
    "vitaclip on EVA-02's kind": lambda: small_video_model(
        load_recipe("vitaclip").model, rope="eva02", norm_pre=False, gated=True, inner_norm=True, activation="silu"
    ),
}


def nccl(options: argparse.Namespace) -> dict[str, Any]:
    """A sum over a group of one process by the backend that the package uses for the device."""
    import torch.distributed as dist

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511", "RANK": "0", "WORLD_SIZE": "1"}
    dist.init_process_group("cpu:gloo,cuda:nccl" if options.device.type == "cuda" else "gloo")
    numbers_ = torch.randn(10**6, device=options.device)
    before = numbers_.clone()
    dist.all_reduce(numbers_)
    box = ["said"]
    dist.broadcast_object_list(box, src=0)
    dist.destroy_process_group()
    return {
        "the same bits": bool((numbers_ == before).all()),
        "right": bool((numbers_ == before).all()) and box == ["said"],
    }


def resume(options: argparse.Namespace) -> dict[str, Any]:
    """Kill a training run twice at random moments; prompts, optimiser and metrics end as those of an unharmed one."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "kills.json"
        command = [sys.executable, str(HERE / "kill_and_resume.py"), "--kills", "2", "--processes", "1"]
        run = subprocess.run(
            [*command, "--device", str(options.device), "--out", str(out)], capture_output=True, text=True, check=False
        )
        return {
            "right": run.returncode == 0,
            "lines": run.stdout.splitlines()[-6:],
            "errors": run.stderr.splitlines()[-3:],
        }


def memory(options: argparse.Namespace) -> dict[str, Any]:
    """A step that does not fit is one line that says what to do."""
    from vitaclip.cli.main import main as command_line

    sys.path.insert(0, str(HERE.parent / "tests"))
    from small_world import write_small_world

    if options.device.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(0.0005)
    with TemporaryDirectory() as name:
        world = write_small_world(Path(name) / "world")
        arguments = [
            "train",
            "--model.backbone",
            str(world / "backbone"),
            "--data.train",
            str(world / "videos"),
            "--out",
            f"{name}/run",
        ]
        arguments += [
            "--optim.steps",
            "1",
            "--optim.batch_size",
            "256",
            "--data.workers",
            "0",
            "--runtime.device",
            str(options.device),
        ]
        read, write = os.pipe()
        kept = os.dup(2)
        os.dup2(write, 2)
        status = None
        with suppress(SystemExit):
            status = command_line(arguments)
        os.dup2(kept, 2)
        os.close(write)
        said = os.read(read, 65536).decode().splitlines()
    return {
        "status": status,
        "said": said[-2:],
        "right": options.device.type != "cuda" or (status == 2 and any("memory" in line for line in said)),
    }


def speed(options: argparse.Namespace, size: str, frames: int) -> dict[str, Any]:
    """Test and train step of each method in bfloat16: ours, as published, frozen CLIP; speed, memory, rate."""
    rate = breakdown.matrix_rate(options.device, small=options.small)
    figures: dict[str, Any] = {"bfloat16 T/s of products": rate / 1e12}
    for method in ("vitaclip", *methods_speed.PARTS):
        figures[method] = {}
        for job, ways in (("test", test_ways), ("train", train_ways)):  # each compiles a model of its own
            model = build(method, size, frames, options).to(options.device)
            figures[method][job] = {}
            for name, found in ways(model, method, size, options, rate):
                figures[method][job][name] = found
                print(json.dumps(figures), flush=True)
            del model
    return figures


def video(options: argparse.Namespace) -> dict[str, Any]:
    """Videos a second from files to probabilities: decoding on all cores beside the card."""
    import clips

    from vitaclip.data.lists.video_list import VideoSample
    from vitaclip.data.loading.clips import EvalViews
    from vitaclip.data.loading.loader import EvalDataset, eval_batches
    from vitaclip.data.sampling import FrameSampling
    from vitaclip.evaluation.scoring import ViewEncoder

    count, cores = (4, 2) if options.small else (320, os.cpu_count() or 1)
    model = build("vitaclip", "b16", 8, options).to(options.device).eval()
    with TemporaryDirectory() as folder:
        paths = [clips.make(clip, Path(folder)) for clip in clips.SHORT[: 1 if options.small else None]]
        rows = [VideoSample(paths[i % len(paths)], (0,), str(i)) for i in range(count)]
        figures: dict[str, Any] = {"files": "H.264, 340 x 256, 10 s, synthetic", "cores": cores, "views": 3}
        encoder = ViewEncoder(model, runtime=BFLOAT16)
        for what in ("decoding alone", "decoding and the model"):
            data = EvalDataset(rows, EvalViews(FrameSampling("dense", 8, 16), 3, size=model.image_size))
            begun: list[float] = []
            for batch in eval_batches(data, 16, cores):
                if not begun:  # the workers have started
                    begun.append(time.perf_counter())
                    continue
                if what != "decoding alone":
                    encoder.encode(batch.video)
            figures[f"videos/s, {what}"] = max(0, count - 16) / (time.perf_counter() - begun[0])
    return figures


# -------------------------------------------------------------------------------------------------------- helpers


def build(method: str, size: str, frames: int, options: argparse.Namespace, classes: int = 400) -> Any:
    """A model with random weights, always the same ones."""
    if method != "vitaclip":
        return methods_speed.build(method, small=options.small, size=size, frames=frames)
    side = 32 if options.small else 224
    return full_size.build_model(frames=frames, classes=classes, image_size=side, small=options.small, size=size)


def model_frames(model: Any) -> int:
    """T."""
    return int(model.config.num_frames)


def numbers(model: Any, video: Tensor, labels: Tensor, context: Callable[[], Any] = nullcontext) -> dict[str, Tensor]:
    """Video and text features, logits, and the gradient of everything that trains."""
    with context():
        features, text = model.encode_video(video.to(model.device)), model.encode_text(model.class_names)
        logits = model.logits(features, text)
    torch.nn.functional.cross_entropy(logits, labels.to(model.device)).backward()
    found = {"video features": features, "text features": text, "logits": logits}
    found |= {f"gradient of {name}": p.grad for name, p in model.trainable_parameters().items() if p.grad is not None}
    return {name: tensor.detach() for name, tensor in found.items()}


def distance(found: Tensor, expected: Tensor) -> float:
    """Length of the difference over the length of what is expected."""
    found, expected = found.double().cpu(), expected.double().cpu()
    return float((found - expected).norm() / expected.norm().clamp_min(1e-300))


def wait(device: torch.device) -> None:
    """Until the card has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(run: Callable[[], object], device: torch.device, runs: int = 5) -> float:
    """Median seconds of a run, after two that are not timed."""
    times = []
    for number in range(runs + 2):
        wait(device)
        started = time.perf_counter()
        run()
        wait(device)
        if number >= 2:
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def measured(
    run: Callable[[], object],
    device: torch.device,
    operations_: float,
    rate: float,
    units: dict[str, int],
    runs: int = 5,
) -> dict[str, Any]:
    """Seconds, units a second, share of the rate of products, peak memory; `out of memory` if it is."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    try:
        seconds = seconds_of(run, device, runs)
    except torch.OutOfMemoryError:
        return {"seconds": None, "note": "out of memory"}
    figures: dict[str, Any] = {"seconds": seconds, **{f"{unit}/s": count / seconds for unit, count in units.items()}}
    if operations_:
        figures["share of rate"] = operations_ / seconds / rate
    if device.type == "cuda":
        figures["peak GiB"] = torch.cuda.max_memory_allocated(device) / 2**30
    return figures


@torch.no_grad()
def graphed(model: Any, views: Tensor) -> Callable[[], object]:
    """The image tower's pass over some clips, recorded once as a CUDA graph."""
    static = views.clone()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream), torch.autocast("cuda", dtype=torch.bfloat16, cache_enabled=False):
        for _ in range(2):
            model.encode_video(static)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), torch.autocast("cuda", dtype=torch.bfloat16, cache_enabled=False):
        model.encode_video(static)

    def replay(_: Tensor = static) -> None:  # the graph reads this memory: it must not be freed
        graph.replay()

    return replay


Figures = Iterator[tuple[str, dict[str, Any]]]


@torch.no_grad()
def test_ways(model: Any, method: str, size: str, options: argparse.Namespace, rate: float) -> Figures:
    """A batch of videos of 3 views, uint8 pixels on the card, to probabilities on the card, in each way."""
    device, frames, model = options.device, model_frames(model), model.eval()
    videos = 1 if options.small else 2 * (16 if size == "b16" else 8) * 8 // frames
    context = partial(autocast, BFLOAT16, device)
    views = full_size.random_pixels(3 * videos, frames, size=model.image_size).to(device)
    units = {"videos": videos, "frames": 3 * videos * frames}
    with context():
        text = model.encode_text(model.class_names)
    theirs = published_way(method, model)

    def ours() -> Tensor:
        with context():
            return model(views, text).softmax(dim=-1)

    def as_published(part: Tensor = views) -> Tensor:
        with context():
            return theirs(part).softmax(dim=-1)

    work = 3 * videos * operations.of_video(model, frames) if method == "vitaclip" else counted_operations(ours)
    yield "ours", measured(ours, device, work, rate, units)
    yield "published, the same batch", measured(as_published, device, 0, rate, units)
    if method == "vitaclip":
        one = {"videos": 1, "frames": 3 * frames}
        yield "published, a video at a time", measured(partial(as_published, views[:3]), device, 0, rate, one)
        plain = frozen_clip(model)
        frozen = partial(in_context, context, plain.encode_video, views)
        yield "frozen CLIP, frames averaged", measured(frozen, device, 0, rate, units)
    if device.type == "cuda" and frames == 8:
        if method == "vitaclip":
            with suppress(RuntimeError):
                yield "ours, as a CUDA graph", measured(graphed(model, views), device, work, rate, units)
            yield "where the time of ours goes", kinds_of_time(ours, device)
        yield "ours, compiled", measured_compiled(model, ours, device, work, rate, units)
        if method == "vitaclip":
            yield "where the time of the compiled goes", kinds_of_time(ours, device)


def in_context(context: Callable[[], Any], run: Callable[[Tensor], Tensor], video: Tensor) -> Tensor:
    """Run in a precision."""
    with context():
        return run(video)


def frozen_clip(model: Any) -> Any:
    """The same backbone without parts that learn, frames averaged."""
    backbone = Backbone(model.backbone, model.backbone.tokenizer, "random", "random")
    config = replace(model.config, context={}, head="templates")
    return VideoModel(backbone, config, model.class_names).to(model.device).eval()


def published_way(method: str, model: Any) -> Callable[[Tensor], Tensor]:
    """The published procedure, from uint8 pixels to logits."""
    if method != "vitaclip":
        return methods_speed.published(method, model)
    published = PublishedModel(model, model.class_names).to(model.device).eval()
    return lambda video: published(model.backbone.normalize_pixels(video))


class OperationCounter(TorchDispatchMode):
    """Counts by torch's own formulas, for all operations that have one; torch's counter fails on frozen layers."""

    total = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and add what it takes."""
        out = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func._overloadpacket):
            self.total += count(*args, **(kwargs or {}), out_val=out)
        return out


def counted_operations(run: Callable[[], object]) -> float:
    """Floating-point operations of a run."""
    with OperationCounter() as counter:
        run()
    return counter.total


def measured_compiled(
    model: Any, run: Callable[[], object], device: torch.device, work: float, rate: float, units: dict[str, int]
) -> dict[str, Any]:
    """The same with `runtime.compile`, and the seconds in which code is made. The model stays compiled."""
    model.prepare(RuntimeConfig(compile=True))
    started = time.perf_counter()
    run()
    wait(device)
    return {"seconds to compile": time.perf_counter() - started} | measured(run, device, work, rate, units)


def train_ways(model: Any, method: str, size: str, options: argparse.Namespace, rate: float) -> Figures:
    """A step in micro-batches, AdamW included, from clips on the host; clips a second. Of Vita-CLIP it is the recipe's
    256 clips (64 for L/14), of the others two micro-batches. With four times the micro-batch as well."""
    device, frames, guest = options.device, model_frames(model), method != "vitaclip"
    micro = 2 if options.small else (32 if size == "b16" else 16) * 8 // frames
    parts = 2 if options.small or guest else (8 if size == "b16" else 4) * frames // 8
    batch = full_size.random_batch(model, parts * micro)
    units, work = {"clips": parts * micro}, 0.0
    ways = {"published": (parts, False), "ours": (parts, False)}
    if device.type == "cuda" and frames == 8:
        large = max(1, parts // 4)
        ways |= {
            "ours, compiled": (parts, True),
            f"ours, compiled, micro-batches of {parts * micro // large}": (large, True),
        }
    for name, (split, compiled) in ways.items():
        runtime = RuntimeConfig(precision="bfloat16", compile=compiled)
        step = (
            guest_step(method, model, batch, split, runtime, name)
            if guest
            else vitaclip_step(model, batch, split, runtime, name)
        )
        if name == "ours":
            work = (
                counted_operations(step)
                if guest
                else operations.of_step(model, parts * micro, full_size.text_lengths(model))
            )
        yield name, measured(step, device, 0.0 if name == "published" else work, rate, units, runs=2)
        if name == "ours" and device.type == "cuda":
            yield "where the time of ours goes", kinds_of_time(step, device)


def vitaclip_step(
    model: Any, batch: TrainBatch, micro_batches: int, runtime: RuntimeConfig, name: str
) -> Callable[[], object]:
    """A step by the trainer, or as published."""
    return full_size.PROCEDURES[name.split(",")[0]](model, batch, micro_batches, runtime).train


def guest_step(
    method: str, model: Any, batch: TrainBatch, micro_batches: int, runtime: RuntimeConfig, name: str
) -> Callable[[], object]:
    """A step of EVL or X-CLIP without dropout; both sides in the same loop."""
    model.prepare(runtime).train()
    way = (methods_speed.published if name == "published" else methods_speed.ours)(method, model)
    optimizer = torch.optim.AdamW(model.trainable_parameters().values())

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        for video, labels in zip(batch.video.chunk(micro_batches), batch.labels.chunk(micro_batches), strict=True):
            with autocast(runtime, model.device):
                logits = way(send(video, model.device))
            torch.nn.functional.cross_entropy(logits.float(), send(labels, model.device)).backward()
        optimizer.step()

    return step


def kinds_of_time(run: Callable[[], object], device: torch.device) -> dict[str, str]:
    """Milliseconds of the card by kind of operation."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        run()
        wait(device)
    spent = breakdown.spent_by_kind(profiler.key_averages(), on_gpu=True)
    total = sum(spent.values()) or 1.0
    return {
        kind: f"{us / 1000:.1f} ms ({us / total:.0%})" for kind, us in sorted(spent.items(), key=lambda item: -item[1])
    }


# ------------------------------------------------------------------------------------------------- the whole of it


def run_part(part: str, options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """What a part found, in a process of its own; how it failed otherwise."""
    limit = min(seconds, LIMIT_SECONDS.get(part, SPEED_LIMIT_SECONDS))
    command = [
        sys.executable,
        __file__,
        "--part",
        part,
        "--device",
        str(options.device),
        *(["--small"] if options.small else []),
    ]
    started = time.perf_counter()
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired as error:
        found = last_figures(error.stdout or b"")
        return found | {"failed": f"took longer than {limit:.0f} s: these are the figures until then", "took": limit}
    took = {"took": round(time.perf_counter() - started, 1)}
    if run.returncode:
        return {"failed": run.stderr.splitlines()[-8:], **took}
    return last_figures(run.stdout.encode()) | took


def last_figures(printed: bytes) -> dict[str, Any]:
    """The last line of JSON that a part printed; a part prints all its figures anew whenever it has more."""
    lines = [line for line in printed.decode().splitlines() if line.startswith("{") and line.endswith("}")]
    return json.loads(lines[-1]) if lines else {}


def markdown(figures: dict[str, Any]) -> str:
    """All figures as tables."""
    lines = [f"# {figures.get('card', {}).get('name', 'GPU')}, models with random weights\n"]
    for part, found in figures.items():
        lines.append(f"\n## {part}\n\n| | |\n|---|---|")
        for name, value in flat(found):
            lines.append(f"| {name} | {f'{value:.4g}' if isinstance(value, float) else value} |")
    return "\n".join(lines) + "\n"


def flat(found: dict[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """Nested names joined by colons."""
    rows: list[tuple[str, Any]] = []
    for name, value in found.items():
        rows += flat(value, f"{before}{name}: ") if isinstance(value, dict) else [(before + name, value)]
    return rows


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--minutes", type=float, default=8.0, help="all parts together; those left over are named")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--small", action="store_true", help="models of next to no size")
    parser.add_argument("--out", type=Path, default=Path("bench/gpu.json"))
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.device = torch.device(options.device)
    return options


def main() -> None:
    """Run the parts one after the other; exits with 1 if one failed or found wrong numbers."""
    options = parse()
    if options.part:
        kind, *arguments = options.part.split()
        found = globals()[kind](options, *(int(each) if each.isdigit() else each for each in arguments))
        print(json.dumps(found))
        return
    deadline = time.perf_counter() + 60 * options.minutes
    figures: dict[str, Any] = {}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for part in options.parts:
        left = deadline - time.perf_counter()
        figures[part] = run_part(part, options, left) if left > 10 else {"failed": "no time was left"}
        print(f"{part}: {json.dumps(figures[part])}", flush=True)
        options.out.write_text(json.dumps(figures, indent=1) + "\n")
        options.out.with_suffix(".md").write_text(markdown(figures))
    sys.exit(any("failed" in found or not found.get("right", True) for found in figures.values()))


if __name__ == "__main__":
    main()
