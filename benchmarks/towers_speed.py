"""Frames a second of image towers at full size, random weights: frozen, with Vita-CLIP's prompts, and in transformers.

    python benchmarks/towers_speed.py                                      all towers of `vitaclip list backbones`
    python benchmarks/towers_speed.py --only PE-Core-B16 siglip2-base --precision bfloat16 --out speed.json

All ways of a tower run in one process, in changing order; a ratio is the median over pairs of runs. bfloat16 is
autocast for all. Texts are left out. The train step is forward and backward of the prompts on one batch, without an
optimizer; memory is what a card held most while all of this ran. transformers has the towers of CLIP, MetaCLIP 2 and
SigLIP; where it has none the column is empty.
"""

import argparse
from collections.abc import Callable

import torch
from full_size import random_pixels
from timing import Times, add_out, device_name, machine, measure, write_figures
from torch import Tensor, nn

from vitaclip.backbones import CLIP, Tokenizer
from vitaclip.backbones.config import CLIPConfig, TextConfig, VisionConfig
from vitaclip.backbones.known import KnownBackbone, known_backbones
from vitaclip.backbones.loading import Backbone
from vitaclip.model import VideoModel
from vitaclip.parts.config import ModelConfig
from vitaclip.runtime import RuntimeConfig, autocast

FRAMES = 8
PROMPTS = {"global": {"count": 8}, "local": {}, "summary": {}, "time": {}}
ACTIVATIONS = {"quick_gelu": "quick_gelu", "gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh"}


def build(known: KnownBackbone, device: torch.device, context: dict[str, object]) -> VideoModel:
    """The tower with these prompts, and a text tower of next to no size."""
    torch.manual_seed(0)
    tokenizer = Tokenizer.from_file()
    text = TextConfig(vocab_size=tokenizer.vocab_size, context_length=77, width=64, depth=1, heads=1)
    config = CLIPConfig(vision=known.config.vision, text=text, embed_dim=known.embed_dim)
    backbone = Backbone(CLIP(config).eval(), tokenizer, known.name, "random")
    settings = ModelConfig(backbone=known.name, num_frames=FRAMES, context=context, head="templates")
    return VideoModel(backbone, settings).to(device)


def transformers_tower(vision: VisionConfig, embed_dim: int) -> nn.Module | None:
    """The same tower in transformers; None if it has none."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, SiglipVisionConfig, SiglipVisionModel

    clip = {"class_token": True, "norm_pre": True, "pool": "class", "projection": "plain", "norm_epsilon": 1e-5}
    siglip = {"class_token": False, "norm_pre": False, "pool": "attention", "projection": "none", "norm_epsilon": 1e-6}
    sizes = {"hidden_size": vision.width, "intermediate_size": vision.mlp_hidden, "num_hidden_layers": vision.depth}
    sizes |= {"num_attention_heads": vision.heads, "image_size": vision.image_size, "patch_size": vision.patch_size}
    sizes |= {"hidden_act": ACTIVATIONS.get(vision.activation, ""), "layer_norm_eps": vision.norm_epsilon}
    options = {name: getattr(vision, name) for name in clip}
    if vision.rope == "none" and options == clip:
        return CLIPVisionModelWithProjection(CLIPVisionConfig(**sizes, projection_dim=embed_dim)).eval()
    if vision.rope == "none" and options == siglip:
        return SiglipVisionModel(SiglipVisionConfig(**sizes)).eval()
    return None


def measure_tower(
    known: KnownBackbone, device: torch.device, precision: str, videos: int, runs: int
) -> tuple[dict[str, Times], float]:
    """Times of every way, and the most memory of a card that the train step took, in GiB."""
    size = known.config.vision.image_size
    video = random_pixels(videos, FRAMES, size=size).to(device).float() / 255
    frozen, prompted = build(known, device, {}), build(known, device, dict(PROMPTS))
    theirs = transformers_tower(known.config.vision, known.embed_dim)
    theirs = None if theirs is None else theirs.to(device)

    def forward(encode: Callable[[], object]) -> Callable[[int], None]:
        def run(_: int) -> None:
            with torch.inference_mode(), autocast(RuntimeConfig(precision=precision), device):
                encode()
            _wait(device)

        return run

    def step(_: int) -> None:
        prompted.zero_grad()
        with autocast(RuntimeConfig(precision=precision), device):
            features: Tensor = prompted.encode_video(video)
        features.float().square().sum().backward()
        _wait(device)

    ways = {
        "frozen": forward(lambda: frozen.encode_video(video)),
        "prompts": forward(lambda: prompted.encode_video(video)),
        "train step": step,
    }
    if theirs is not None:
        images, model = video.flatten(0, 1), theirs
        ways["transformers"] = forward(lambda: model(pixel_values=images))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times = measure(ways, range(runs))
    return times, torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Print a row for each tower and precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[""], help="parts of names")
    parser.add_argument("--precision", nargs="*", default=["float32", "bfloat16"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--videos", type=int, default=1, help="videos of 8 frames at a time")
    parser.add_argument("--runs", type=int, default=5)
    add_out(parser)
    options = parser.parse_args()
    device, runtime = torch.device(options.device), f"{options.videos} x {FRAMES} frames"
    print(f"{machine()}, {device_name(device)}, {torch.get_num_threads()} threads, {runtime}\n")
    headings = ("tower", "precision", "frozen, frames/s", "prompts, times frozen", "transformers, times frozen")
    for row in ((*headings, "train step, ms", "memory, GiB"), ["---"] * 7):
        print(f"| {' | '.join(row)} |")
    found: dict[str, object] = {}
    for known in known_backbones():
        for precision in options.precision if any(part in known.name for part in options.only) else ():
            times, memory = measure_tower(known, device, precision, options.videos, options.runs)
            frozen = times["frozen"]
            per_second = 1000 * options.videos * FRAMES / frozen.median_ms("wall")
            ratios = (
                f"{times[way].over(frozen, 'wall'):.2f}" if way in times else "" for way in ("prompts", "transformers")
            )
            step = f"{times['train step'].median_ms('wall'):.0f}"
            print(f"| {known.name} | {precision} | {per_second:.1f} | {' | '.join(ratios)} | {step} | {memory:.1f} |")
            found[f"{known.name}, {precision}"] = {name: vars(its) for name, its in times.items()} | {"GiB": memory}
    if options.out:
        settings = {"device": device_name(device), "videos": options.videos, "threads": torch.get_num_threads()}
        write_figures(options.out, settings, {"seconds": found})


if __name__ == "__main__":
    main()
