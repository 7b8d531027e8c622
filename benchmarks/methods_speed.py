"""EVL and X-CLIP, the package against the published procedure: a train step, a test, memory; of EVL the decoder alone,
and a step on tokens that the feature cache keeps on the disk.

    python benchmarks/methods_speed.py            ViT-B/16, 8 frames, 400 classes, micro-batches of 2 clips
    python benchmarks/methods_speed.py --small    tries everything out in seconds

Random weights, float32, without dropout. Logits and gradients of both are compared first, in float64 on the small
model. Both sides of a pair run in one process in changing order; memory is that kept for the way back.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))

import full_size
import timing
import torch
import torch.nn.functional as F
from published.evl import PublishedEVL
from published.xclip import PublishedXCLIP
from torch import Tensor

from vitaclip.backbones.loading import Backbone
from vitaclip.evaluation.feature_cache import FeatureCache, FileState
from vitaclip.model import VideoModel

PARTS = {
    "evl": {"context": {}, "pool": {"name": "decode"}, "head": {"name": "classifier"}},
    "xclip": {
        "context": {"summary": {}},
        "centre": False,
        "pool": {"name": "integrate"},
        "head": {"name": "video_read"},
        "train": "image",
        "templates": ("{}",),
    },
}
LIMIT, ROUNDED = 1e-9, 1e-5


def build(method: str, *, small: bool, size: str = "b16", frames: int = 8) -> VideoModel:
    """A model of the method with random weights everywhere, zeros too."""
    classes, side = (5, 48) if small else (400, 224)
    plain = full_size.build_model(
        prompts=False, small=small, classes=classes, image_size=side, size=size, frames=frames
    )
    parts = dict(PARTS[method])
    if small and method == "evl":
        parts["pool"] = {"name": "decode", "blocks": 2}
    config = replace(plain.config, **parts)  # type: ignore[arg-type]
    backbone = Backbone(plain.backbone, plain.backbone.tokenizer, "random", "random")
    model = VideoModel(backbone, config, plain.class_names)
    with torch.no_grad():
        for parameter in model.adapter_params().values():
            if not parameter.any():
                parameter.normal_(std=0.02)
    return model


def published(method: str, model: VideoModel) -> Callable[[Tensor], Tensor]:
    """The published procedure on the same parameters, from uint8 pixels to logits."""
    with torch.no_grad():
        texts = model.encode_text(model.class_names)
    procedure = PublishedEVL(model) if method == "evl" else PublishedXCLIP(model, texts)
    return lambda video: procedure(model.backbone.normalize_pixels(video))


def ours(method: str, model: VideoModel) -> Callable[[Tensor], Tensor]:
    """The package's own way. EVL's class features are its weights, so they are made anew in each step."""
    with torch.no_grad():
        texts = model.encode_text(model.class_names)
    return lambda video: model(video, model.encode_text(model.class_names) if method == "evl" else texts)


def on_kept_tokens(model: VideoModel, video: Tensor, folder: str) -> Callable[[Tensor], Tensor]:
    """The package's own way where the feature cache keeps what the pool reads, which is read from its files each time,
    in float32; the pixels are not looked at."""
    with torch.no_grad():
        features = model.tower_features(video).float()
    states: list[FileState] = [(f"{number}.mp4", 0, 0) for number in range(len(video))]
    kept = FeatureCache(folder, {}).write(dict(zip(states, features[:, None].contiguous(), strict=True)))

    def way(_: Tensor) -> Tensor:
        read = torch.stack([kept[state].read()[0] for state in states])
        return model.logits(model.encode_features(read.to(model.dtype)), model.encode_text(model.class_names))

    return way


def check(method: str, folder: str) -> None:
    """Raise SystemExit unless logits and gradients agree in float64 on the small model. Kept tokens are compared with
    what their rounding to float32 leaves."""
    model = build(method, small=True).double()
    video = full_size.random_pixels(2, 8, size=48)
    mine, theirs = (results(way, model, video) for way in (ours(method, model), published(method, model)))
    report(f"{method}: logits and {len(mine) - 1} gradients", mine, theirs, LIMIT)
    if method == "evl":
        kept = results(on_kept_tokens(model, video, folder), model, video)
        report("evl on kept tokens: the same", kept, theirs, ROUNDED)


def results(way: Callable[[Tensor], Tensor], model: VideoModel, video: Tensor) -> dict[str, Tensor]:
    """Logits, and the gradient of all that trains."""
    model.zero_grad(set_to_none=True)
    logits = way(video)
    F.cross_entropy(logits, torch.tensor([0, 1])).backward()
    gradients = {n: p.grad.clone() for n, p in model.trainable_parameters().items() if p.grad is not None}
    return {"logits": logits.detach(), **gradients}


def report(what: str, mine: dict[str, Tensor], theirs: dict[str, Tensor], limit: float) -> None:
    """Print how far they are apart; SystemExit if that is too far."""
    assert mine.keys() == theirs.keys(), mine.keys() ^ theirs.keys()
    largest = max(float(value.abs().max()) for value in theirs.values())
    apart = max(float((mine[name] - theirs[name]).abs().max()) / largest for name in mine)
    print(f"{what}, small model, float64: {apart:.0e} apart")
    if not apart < limit:
        raise SystemExit("they compute different things: no comparison")


def kept_bytes(model: VideoModel, way: Callable[[Tensor], Tensor], video: Tensor) -> int:
    """Bytes of all distinct tensors that autograd keeps for the way back, the model's own aside."""
    own = {tensor.untyped_storage().data_ptr() for tensor in model.state_dict().values()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = way(video)  # held, so that no storage is freed and counted twice
    del result
    return sum(kept.values())


def measure(method: str, options: argparse.Namespace, folder: str) -> dict[str, dict[str, timing.Times]]:
    """Print the tables of a method."""
    model = build(method, small=options.small)
    video = full_size.random_pixels(options.clips, 8, size=model.image_size)
    labels = torch.arange(options.clips) % len(model.class_names)
    ways = {"ours": ours(method, model), "published": published(method, model)}
    optimizer = torch.optim.AdamW(model.trainable_parameters().values())

    def train(way: Callable[[Tensor], Tensor]) -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(way(video), labels).backward()
        optimizer.step()

    def test(way: Callable[[Tensor], Tensor]) -> None:
        with torch.no_grad():
            way(video)

    runs = range(options.runs)
    found = {}
    for job, run in (("train step", train), ("test", test)):
        timed = dict(ways)
        if method == "evl" and run is train:
            timed["ours on kept tokens"] = on_kept_tokens(model, video, folder)
        times = timing.measure({name: lambda _, way=way, run=run: run(way) for name, way in timed.items()}, runs)
        timing.print_table(f"{method}, {job} of {options.clips} clips", times, "ours")
        found[f"{method}, {job}"] = times
    kept = {name: kept_bytes(model, way, video) for name, way in ways.items()}
    print(f"\n{method}, kept for the way back: ", end="")
    print(", ".join(f"{name} {count / 2**20 / options.clips:.0f} MiB a clip" for name, count in kept.items()), end="")
    print(f"; ours / published {kept['ours'] / kept['published']:.2f}")
    if method == "evl":
        found["evl, decoder alone"] = decoder_alone(model, video, labels, runs)
        step = found["evl, train step"]
        ratio = step["published"].over(step["ours on kept tokens"], "cpu")
        print(f"\nthe published train step over ours on kept tokens: {ratio:.1f}")
    return found


def decoder_alone(model: VideoModel, video: Tensor, labels: Tensor, runs: range) -> dict[str, timing.Times]:
    """Forward and back from the tokens of the tower's last blocks, which are there."""
    procedure = PublishedEVL(model)
    with torch.no_grad():
        theirs = procedure.tower(model.backbone.normalize_pixels(video))
        features = model.tower_features(video)
    own = model.encode_text(model.class_names).detach().requires_grad_()

    def mine(_: int) -> None:
        F.cross_entropy(model.logits(model.encode_features(features), own), labels).backward()

    def published_way(_: int) -> None:
        F.cross_entropy(procedure.decode(theirs), labels).backward()

    times = timing.measure({"ours": mine, "published": published_way}, runs)
    timing.print_table(f"evl, decoder alone, {len(video)} clips", times, "ours")
    return times


def main() -> None:
    """Compare, then time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--clips", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="a model of next to no size, to try this program out")
    timing.add_out(parser)
    options = parser.parse_args()
    print(f"{timing.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    found = {}
    for method in options.methods:
        with tempfile.TemporaryDirectory() as check_folder, tempfile.TemporaryDirectory() as folder:
            check(method, check_folder)
            found |= measure(method, options, folder)
    if options.out:
        timing.write_json(options.out, {"clips": options.clips, "small": options.small}, found)


if __name__ == "__main__":
    main()
