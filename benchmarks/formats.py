"""A full-size CLIP with random weights through every format: ``python benchmarks/formats.py --folder SCRATCH``.

Each file is made by the peer's own code where it can be imported (transformers, OpenAI's model.py), and else from its
documented layout (open_clip, the published Vita-CLIP code). Each is then loaded by `load_backbone` in a process of its
own, which measures time and peak memory and compares features with the peer's on the same inputs.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import peers
from vitaclip.backbones.families.vitaclip import to_published
from vitaclip.backbones.loading import load_backbone, save_backbone
from vitaclip.backbones.tokenizer import read_vocabulary

SIZES = {
    "embed_dim": 512,
    "image_resolution": 224,
    "vision_layers": 12,
    "vision_width": 768,
    "vision_patch_size": 16,
    "context_length": 77,
    "vocab_size": 49408,
    "transformer_width": 512,
    "transformer_heads": 8,
    "transformer_layers": 12,
}
BYTES_A_MEGABYTE = 1e6
EXPECTED = "expected.safetensors"


def images() -> torch.Tensor:
    return torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))


def token_ids() -> torch.Tensor:
    ids = torch.zeros(2, 77, dtype=torch.int64)
    ids[0, :5] = torch.tensor([49406, 320, 1125, 539, 49407])
    ids[1, :3] = torch.tensor([49406, 2368, 49407])
    return ids


def write_tokenizer(folder: Path) -> None:
    """CLIP's own vocabulary, from OpenAI's package."""
    package = Path(peers.openai_module().__file__ or "").parent
    read_vocabulary(package / "bpe_simple_vocab_16e6.txt.gz").save(folder)


@torch.no_grad()
def make_openai_archive(folder: Path) -> Any:
    model = peers.openai_clip(**SIZES)
    for name in ("input_resolution", "context_length", "vocab_size"):
        vars(model).pop(name, None)
        model.register_buffer(name, torch.tensor(SIZES.get(name, SIZES["image_resolution"])))
    traced = torch.jit.trace(model, (images(), token_ids()), check_trace=False)
    torch.jit.save(traced, str(folder / "ViT-B-16.pt"))
    return "OpenAI's model.py, TorchScript", model.encode_image(images()), model.encode_text(token_ids())


@torch.no_grad()
def make_open_clip(folder: Path) -> Any:
    model = peers.openai_clip(**SIZES)
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    vision = {"image_size": 224, "layers": 12, "width": 768, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12}
    config = {"model_cfg": {"embed_dim": 512, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return "documented layout", model.encode_image(images()), model.encode_text(token_ids())


@torch.no_grad()
def make_transformers(folder: Path) -> Any:
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    config = CLIPConfig(vision_config={"patch_size": 16})
    model: Any = CLIPModel(config)
    model.eval()
    peers.spread(model)
    model.save_pretrained(folder)
    features = (model.get_image_features(pixel_values=images()), model.get_text_features(input_ids=token_ids()))
    return "transformers' CLIPModel", *(getattr(part, "pooler_output", part) for part in features)


@torch.no_grad()
def make_ours(folder: Path) -> Any:
    _, image, text = make_openai_archive(folder)
    backbone = load_backbone(folder / "ViT-B-16.pt")
    save_backbone(backbone.clip, backbone.tokenizer, folder)
    (folder / "ViT-B-16.pt").unlink()
    return "save_backbone", image, text


@torch.no_grad()
def make_published(folder: Path) -> Any:
    _, image, text = make_openai_archive(folder)
    clip = load_backbone(folder / "ViT-B-16.pt").clip
    state = {f"module.{name}": t.contiguous() for name, t in to_published(clip.state_dict(), {}).items()}
    torch.save({"model": state, "optimizer": {}, "next_step": 3}, folder / "vitaclip.pth")
    (folder / "ViT-B-16.pt").unlink()
    return "documented layout", image, text


FORMATS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "transformers": (make_transformers, "model.safetensors"),
    "OpenAI .pt": (make_openai_archive, "ViT-B-16.pt"),
    "open_clip": (make_open_clip, "open_clip_pytorch_model.bin"),
    "published Vita-CLIP": (make_published, "vitaclip.pth"),
    "ours": (make_ours, "model.safetensors"),
}


def make(name: str, folder: Path) -> None:
    """Write the file, the tokenizer, and the features to be met."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder)
    made_by, image, text = FORMATS[name][0](folder)
    save_file({"image": image.contiguous(), "text": text.contiguous()}, folder / EXPECTED, {"made_by": made_by})
    print(json.dumps({"made_by": made_by}))


@torch.no_grad()
def load(name: str, folder: Path) -> None:
    """Load, measure and compare; runs in a process of its own."""
    file = folder / FORMATS[name][1]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    clip = load_backbone(file.parent if file.name != "vitaclip.pth" and file.suffix != ".pt" else file).clip
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    expected = load_file(folder / EXPECTED)
    ids = token_ids()
    ours = {"image": clip.vision(images()), "text": clip.encode_ids(ids, (ids == 49407).int().argmax(dim=1))}
    worst = max(float((ours[k] - expected[k]).abs().max() / expected[k].abs().max()) for k in ours)
    size = file.stat().st_size
    result = {
        "megabytes": size / BYTES_A_MEGABYTE,
        "seconds": seconds,
        "peak_over_size": peak * 1024 / size,
        "difference": worst,
    }
    print(json.dumps(result))


def main() -> None:
    """All formats, one after the other."""
    parser = argparse.ArgumentParser(description="Load a full-size CLIP from every format.")
    parser.add_argument("--folder", type=Path, required=True, help="scratch folder; needs 4 GB")
    parser.add_argument("--do", choices=["all", "make", "load"], default="all")
    parser.add_argument("--format", choices=list(FORMATS))
    options = parser.parse_args()
    if options.do != "all":
        {"make": make, "load": load}[options.do](options.format, options.folder)
        return
    print(f"ViT-B/16, random weights, float32; {platform.machine()}, torch {torch.__version__}")
    print(
        "| format | made by | file, MB | load, s | peak memory over file size | features: largest relative difference |"
    )
    print("|---|---|---|---|---|---|")
    for name in FORMATS:
        folder = options.folder / name.replace(" ", "_")
        command = [sys.executable, __file__, "--format", name, "--folder", str(folder), "--do"]
        made = json.loads(_run([*command, "make"]))
        got = json.loads(_run([*command, "load"]))
        print(
            f"| {name} | {made['made_by']} | {got['megabytes']:.0f} | {got['seconds']:.1f}"
            f" | {got['peak_over_size']:.2f} | {got['difference']:.0e} |"
        )


def _run(command: list[str]) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip().splitlines()[-1]


if __name__ == "__main__":
    main()
