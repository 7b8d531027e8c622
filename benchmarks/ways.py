"""What training_speed.py measures: our procedure, the published one, and for the test of a video two others.

Axes: V views, T frames, H x W pixels.
"""

import argparse
from collections.abc import Callable
from functools import partial

import full_size
import torch
from torch import Tensor

from vitaclip.evaluation.scoring import ViewEncoder
from vitaclip.runtime import RuntimeConfig

PLAIN = "CLIP, frames averaged, float32"
XCLIP = "X-CLIP's video tower (transformers), float32"


def side(options: argparse.Namespace) -> int:
    """Of a frame, in pixels."""
    return 32 if options.small else 224


def build(way: str, options: argparse.Namespace, frames: int) -> full_size.Ours | full_size.Published:
    """`ours float32` and so on, ready to run."""
    procedure, precision = way.split()
    model = full_size.build_model(frames=frames, classes=options.classes, image_size=side(options), small=options.small)
    model = model.to(options.device)
    batch = full_size.random_batch(model, options.micro_batches * options.micro_batch_size)
    runtime = RuntimeConfig(precision=precision, compile=options.compile)  # type: ignore[arg-type]  # one of PRECISIONS
    return full_size.PROCEDURES[procedure](model, batch, options.micro_batches, runtime)


def job(way: str, options: argparse.Namespace, what: str, frames: int) -> Callable[[int], None]:
    """One run of `train` or `test` in a way, which has ended when the call returns."""
    views = full_size.random_pixels(options.views, frames, size=side(options))
    if way == PLAIN:
        work = plain_test(options, frames, views)
    elif way == XCLIP:
        work = xclip_test(options, frames, views)
    else:
        procedure = build(way, options, frames)
        work = procedure.train if what == "train" else partial(procedure.test, views)

    def run(_: int) -> None:
        work()
        if options.device.type == "cuda":
            torch.cuda.synchronize(options.device)

    return run


def plain_test(options: argparse.Namespace, frames: int, views: Tensor) -> Callable[[], object]:
    """The test of a video by CLIP's image tower, its frames averaged."""
    model = full_size.build_model(frames=frames, image_size=side(options), small=options.small, prompts=False)
    model = model.to(options.device).eval()
    return lambda: ViewEncoder(model).encode(views[None])


def xclip_test(options: argparse.Namespace, frames: int, views: Tensor) -> Callable[[], object]:
    """The test of a video by X-CLIP's image tower and what joins its frames."""
    from transformers import XCLIPConfig, XCLIPModel

    vision = {"patch_size": 16, "num_frames": frames, "image_size": side(options), "mit_hidden_size": 512}
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1} if options.small else {}
    model = XCLIPModel(XCLIPConfig(vision_config={**vision, **sizes})).to(options.device).eval()
    clips = views.to(options.device).float()
    return torch.no_grad()(lambda: model.get_video_features(clips))
