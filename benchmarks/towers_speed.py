"""Speed of image towers at full size, random weights: frozen, with Vita-CLIP's prompts, trained, and in transformers.

    python benchmarks/towers_speed.py --page docs/speed.md                     all towers of `vitaclip list backbones`
    python benchmarks/towers_speed.py --only PE-Core-B16 --precision bfloat16 --pairs 9 --out speed.json

Each row is a process of its own, in which all ways run in changing order; a ratio is the median over pairs of runs. On
a CPU all seconds are processor time in one thread. bfloat16 is autocast for all. A test is of a video as it is tested,
3 views of 8 frames; on a CPU it is one view for towers above 100 GFLOP a frame, and in float32 one view of 8 or, for
these, 2 frames. Texts are left out. The train step is forward and backward of the prompts for one view, without an
optimizer; a first one of more than 5 seconds is not repeated. Memory is the most over what was there before, of the
test with prompts and of the train step. Of transformers there are the towers of CLIP, MetaCLIP 2 and SigLIP. Towers of
one shape are measured once.

`--page` puts the rows into the table of a page, between `<!-- measured: towers -->` and `<!-- end -->`, in place of the
rows of the same tower and precision. So two processes can fill one page, a precision each.
"""

import argparse
import multiprocessing
import os
import re
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from full_size import random_pixels
from timing import add_out, device_name, machine, measure, write_figures
from torch import Tensor, nn

from vitaclip.backbones.config import CLIPConfig, TextConfig, VisionConfig
from vitaclip.backbones.known import KnownBackbone, known_backbones
from vitaclip.backbones.loading import Backbone
from vitaclip.backbones.model import CLIP
from vitaclip.backbones.tokenizer import Tokenizer, read_vocabulary
from vitaclip.model import VideoModel
from vitaclip.parts.config import ModelConfig
from vitaclip.runtime import RuntimeConfig, autocast, keep_freed_memory
from vitaclip.training.memory import peak_growth

ModuleT = TypeVar("ModuleT", bound=nn.Module)
PROMPTS = {"global": {"count": 8}, "local": {}, "summary": {}, "time": {}}
ACTIVATIONS = {"quick_gelu": "quick_gelu", "gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh"}
SECONDS = 5.0
"""The longest first train step that is repeated."""
HEADINGS = (
    "tower",
    "precision",
    "views x frames",
    "frozen, frames/s",
    "prompts, times frozen",
    "transformers, times frozen",
)
MORE_HEADINGS = ("train step, frames/s", "memory of a test, MiB", "of a train step")


@dataclass(frozen=True)
class Row:
    """What was measured of a tower in one precision."""

    test: tuple[int, int]
    """Views of the test, and their frames."""
    seconds: dict[str, list[float]]
    """Of each run of each way."""
    ratios: dict[str, float]
    """Of the ways beside frozen: the median of their times over those of frozen."""
    step_seconds: float
    mebibytes: tuple[float, float]
    """Of the test with prompts, and of the train step."""

    def cells(self) -> Iterator[str]:
        """What stands behind the precision in the table."""
        views, frames = self.test
        yield f"{views} x {frames}"
        yield f"{views * frames / statistics.median(self.seconds['frozen']):.3g}"
        yield from (f"{self.ratios[way]:.2f}" if way in self.ratios else "" for way in ("prompts", "transformers"))
        yield f"{frames / self.step_seconds:.3g}"
        yield from (f"{size:.0f}" for size in self.mebibytes)


def build(clip: CLIP, name: str, frames: int, context: dict[str, object]) -> VideoModel:
    """A video model with these prompts on the CLIP."""
    settings = ModelConfig(backbone=name, num_frames=frames, context=context, head="templates")
    return VideoModel(Backbone(clip, Tokenizer(read_vocabulary()), name, "random"), settings)


def filled(make: Callable[[], ModuleT], device: torch.device) -> ModuleT:
    """What it makes, with random weights: drawn once, since their own start takes longer than a run."""
    with torch.device("meta"):
        module = make()
    module.to_empty(device=device).eval()
    for parameter in module.parameters():
        parameter.data.uniform_(-0.02, 0.02)
    for name, buffer in module.named_buffers():
        if name.endswith("position_ids"):  # transformers'
            buffer.copy_(torch.arange(buffer.numel()))
    return module


def random_clip(known: KnownBackbone) -> CLIP:
    """The tower, and a text tower of next to no size."""
    text = TextConfig(vocab_size=49408, context_length=77, width=64, depth=1, heads=1)
    return CLIP(CLIPConfig(vision=known.config.vision, text=text, embed_dim=known.embed_dim))


def transformers_tower(vision: VisionConfig, embed_dim: int) -> Callable[[], nn.Module] | None:
    """What makes the same tower in transformers; None if it has none."""
    clip = {"class_token": True, "norm_pre": True, "pool": "class", "projection": "plain", "norm_epsilon": 1e-5}
    siglip = {"class_token": False, "norm_pre": False, "pool": "attention", "projection": "none", "norm_epsilon": 1e-6}
    sizes = {"hidden_size": vision.width, "intermediate_size": vision.mlp_hidden, "num_hidden_layers": vision.depth}
    sizes |= {"num_attention_heads": vision.heads, "image_size": vision.image_size, "patch_size": vision.patch_size}
    sizes |= {"hidden_act": ACTIVATIONS.get(vision.activation, ""), "layer_norm_eps": vision.norm_epsilon}
    options = {name: getattr(vision, name) for name in clip}
    if vision.rope != "none" or options not in (clip, siglip):
        return None
    import transformers  # takes seconds, which rows without it are spared

    if options == siglip:
        return lambda: transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**sizes))
    config = transformers.CLIPVisionConfig(**sizes, projection_dim=embed_dim)
    return lambda: transformers.CLIPVisionModelWithProjection(config)


def views_of(known: KnownBackbone, device: torch.device, precision: str) -> tuple[int, int]:
    """How many views of a video are tested at once, and their frames: fewer where they would take minutes."""
    large = device.type == "cpu" and known.frame_gflop > 100
    if device.type == "cpu" and precision == "float32":
        return 1, 2 if large else 8
    return 1 if large else 3, 8


def measure_tower(known: KnownBackbone, device: torch.device, precision: str, pairs: int) -> Row:
    """A row."""
    torch.manual_seed(0)
    views, frames = views_of(known, device, precision)
    video = random_pixels(views, frames, size=known.config.vision.image_size).to(device).float() / 255
    clip = filled(partial(random_clip, known), device)
    frozen, prompted = (build(clip, known.name, frames, context).to(device) for context in ({}, dict(PROMPTS)))
    theirs = transformers_tower(known.config.vision, known.embed_dim)

    def forward(encode: Callable[[], object]) -> Callable[[int], None]:
        def run(_: int) -> None:
            with torch.inference_mode(), autocast(RuntimeConfig(precision=precision), device):
                encode()
            _wait(device)

        return run

    def step() -> None:
        prompted.train().zero_grad()
        with autocast(RuntimeConfig(precision=precision), device):
            features: Tensor = prompted.encode_video(video[:1])
        features.float().square().sum().backward()
        _wait(device)

    ways = {
        "prompts": forward(lambda: prompted.encode_video(video)),
        "frozen": forward(lambda: frozen.encode_video(video)),
    }
    if theirs is not None:
        images, model = video.flatten(0, 1), filled(theirs, device)
        ways["transformers"] = forward(lambda: model(pixel_values=images))
    clock = time.process_time if device.type == "cpu" else time.perf_counter

    def seconds_of(run: Callable[[], object]) -> float:
        start = clock()
        run()
        return clock() - start

    of_test = peak_growth(device, lambda: ways["prompts"](0))
    keep_freed_memory()  # as `vitaclip train` does; not before, or the step would be given what the test has freed
    steps: list[float] = []
    of_step = peak_growth(device, lambda: steps.append(seconds_of(step)))
    if steps[0] < SECONDS:
        steps.append(seconds_of(step))
    times = measure(ways, range(pairs))
    which = "cpu" if device.type == "cpu" else "wall"
    return Row(
        (views, frames),
        {name: getattr(its, which) for name, its in times.items()},
        {name: its.over(times["frozen"], which) for name, its in times.items() if name != "frozen"},
        steps[-1],
        (of_test / 2**20, of_step / 2**20),
    )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def put_into(page: Path, about: str, rows: dict[tuple[str, str], str]) -> None:
    """Put rows, by tower and precision, into the table between the marks of the page; its other rows stay."""
    marks = re.compile(r"(?<=<!-- measured: towers -->\n)(.*?)(?=<!-- end -->)", re.DOTALL)
    before, old, after = marks.split(page.read_text("utf-8"))
    there = {(row[1], row[2]): row[0] for row in re.finditer(r"\| `(.*)` \| (\w+) \|.*\n", old)}
    order = [known.name for known in towers([""])]
    table = sorted((there | rows).items(), key=lambda row: (order.index(row[0][0]), row[0][1]))
    page.write_text(before + about + "".join(row for _, row in table) + after, "utf-8")


def towers(parts: list[str]) -> list[KnownBackbone]:
    """The known towers whose names hold one of these parts, the first of each shape; cheap ones first."""
    first = {repr(known.config.vision): known for known in reversed(known_backbones())}
    chosen = [k for k in known_backbones() if k in first.values() and any(part in k.name for part in parts)]
    return sorted(chosen, key=lambda known: known.frame_gflop)


def main() -> None:
    """Print a row for each precision and tower."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[""], help="parts of names")
    parser.add_argument("--precision", nargs="*", default=["bfloat16", "float32"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--pairs", type=int, default=3, help="runs of each way in a row")
    parser.add_argument("--page", type=Path, help="put the table into this page")
    add_out(parser)
    options = parser.parse_args()
    device, found = torch.device(options.device), {}
    clock = "processor time in one thread" if device.type == "cpu" else "time on the clock"
    about = f"{machine()}, {device_name(device)}, seconds of {clock}, torch {torch.__version__}\n\n"
    head = "".join(f"| {' | '.join(cells)} |\n" for cells in ((*HEADINGS, *MORE_HEADINGS), ["---"] * 9))
    print(about + head, end="")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as processes:
        for precision in options.precision:
            for known in towers(options.only):
                row = processes.submit(measure_tower, known, device, precision, options.pairs).result()
                line = f"| `{known.name}` | {precision} | {' | '.join(row.cells())} |\n"
                print(line, end="", flush=True)
                found[f"{known.name}, {precision}"] = asdict(row)
                if options.page:
                    put_into(options.page, about + head, {(known.name, precision): line})
    if options.out:
        settings = {"device": device_name(device), "clock": clock}
        write_figures(options.out, settings, {"rows": found})


if __name__ == "__main__":
    main()
