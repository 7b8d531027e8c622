"""Numbers of the published EVL, X-CLIP and ViFi-CLIP codes, and the same models built by ours."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from parity_case import Errors, RecordedTokenizer, group, relative_error
from vitaclip.backbones import CLIP
from vitaclip.backbones.config import CLIPConfig, TextConfig, VisionConfig
from vitaclip.backbones.families import evl, openai, vifi, xclip
from vitaclip.backbones.families.family import CLIPWeights, Trained
from vitaclip.backbones.families.table import Row, to_ours, to_theirs
from vitaclip.backbones.loading import Backbone
from vitaclip.model import VideoModel
from vitaclip.parts.config import ModelConfig
from vitaclip.parts.heads.learned_text import LearnedTextHead
from vitaclip.parts.heads.video_read import VideoReadHead
from vitaclip.settings import from_dict

CASES = ("evl_all", "xclip_default", "vifi_prompts_every_block")
GOLDEN = "golden.safetensors"
"""In a folder of checkpoints: inputs, and the logits that each checkpoint gives."""


@dataclass(frozen=True)
class MethodCase:
    model: VideoModel
    class_names: list[str]
    video: Tensor
    targets: Tensor
    """(B,) classes or (B, K) soft targets."""
    expected: dict[str, Tensor]
    gradients: dict[str, Tensor]
    rows: list[Row]


def method_of(file: Path) -> str:
    """The method of a case; empty for Vita-CLIP's."""
    with safe_open(file, framework="pt") as handle:
        return dict(handle.metadata() or {}).get("method", "")


def load_method_case(file: Path, dtype: torch.dtype) -> MethodCase:
    tensors = load_file(file)
    with safe_open(file, framework="pt") as handle:
        meta = dict(handle.metadata() or {})
    config = json.loads(meta["config"])
    state = {name: value.to(dtype) for name, value in group(tensors, "state.").items()}
    if "token_embedding.rows" in tensors:
        rows = tensors["token_embedding.rows"].to(dtype)
        embedding = rows.new_zeros(49408, rows.shape[1])
        embedding[tensors["token_embedding.ids"]] = rows
    method = meta["method"]
    names = json.loads(meta.get("classes", "[]")) or [f"class {n}" for n in range(len(state.get("proj.2.bias", ())))]
    if method == "evl":
        weights, rows_of = _evl(config, state, group(tensors, "backbone."))
    elif method == "xclip":
        weights, rows_of = _xclip(state | {"token_embedding.weight": embedding})
    elif method == "vifi":
        weights, rows_of = _vifi(state, embedding)
    else:
        raise ValueError(f"{file}: a case of {method}, which is not built here")
    assert weights.trained is not None
    settings = dict(weights.trained.settings)
    num_context = settings["head"].get("num_context", 0) if isinstance(settings["head"], dict) else 0
    tokenizer = _tokenizer(names, tensors, num_context) if "input.tokens" in tensors else None
    clip = CLIP(weights.config)
    clip.load_state_dict(weights.state)
    backbone = Backbone(clip.to(dtype), tokenizer, method, "")  # type: ignore[arg-type]
    model = VideoModel(
        backbone, from_dict(ModelConfig, {"backbone": method, **settings, "train": "both"} | _frozen(method)), names
    )
    model.to(dtype).load_state(weights.trained.adapter_state)
    video = tensors["input.video"] if "input.video" in tensors else tensors["input.clips"].transpose(1, 2)
    targets = tensors.get("input.targets", tensors["input.labels"])
    return MethodCase(
        model=model.to(dtype),
        class_names=names,
        video=video.to(dtype),
        targets=targets.to(dtype) if targets.is_floating_point() else targets,
        expected=group(tensors, "expected."),
        gradients=group(tensors, "grad."),
        rows=rows_of,
    )


def _frozen(method: str) -> dict[str, Any]:
    return {"evl": {"train": "none"}, "xclip": {"train": "image"}}.get(method, {})


def checkpoints_of(golden: Path) -> list[Path]:
    """The checkpoints whose logits a file holds: those beside it, or its folder, one of transformers."""
    return sorted(golden.parent.glob("*.pth")) or [golden.parent]


def checkpoint_error(golden: Path, checkpoint: Path) -> float:
    """How far the logits of a checkpoint are from the recorded ones, in float64.

    A plain CLIP beside it (`.pt`) is the backbone of one that lacks its own.
    """
    tensors = load_file(golden)
    with safe_open(golden, framework="pt") as handle:
        names = json.loads(handle.metadata()["classes"])
    backbone = next(iter(golden.parent.glob("*.pt")), None)
    model = VideoModel.from_pretrained(checkpoint, backbone=backbone, class_names=names).double()
    video = tensors["input.video"] if "input.video" in tensors else tensors["input.clips"].transpose(1, 2)
    expected = next(tensors[key] for key in ("expected.logits", "expected.logits_per_video") if key in tensors)
    with torch.no_grad():
        return relative_error(model(video.double(), model.encode_text(names)), expected)


class _CaseTokenizer(RecordedTokenizer):
    """Gives the recorded ids for a name in whatever template stands around it."""

    def encode(self, text: str) -> list[int]:
        return super().encode(text.removeprefix("a photo of a "))


def _tokenizer(names: list[str], tensors: Mapping[str, Tensor], num_context: int) -> RecordedTokenizer:
    return _CaseTokenizer(names, tensors["input.tokens"], num_context)


def _evl(config: dict[str, Any], state: dict[str, Tensor], tower: dict[str, Tensor]) -> tuple[CLIPWeights, list[Row]]:
    """The tower alone is recorded; norm, projection and text tower, which EVL does not use, are any."""
    of = config["backbone"]
    vision = VisionConfig(
        image_size=of["image"],
        patch_size=of["patch"],
        width=of["width"],
        depth=of["layers"],
        heads=of["heads"],
        mlp_ratio=of["mlp_factor"],
    )
    text = TextConfig(vocab_size=8, context_length=8, width=64, depth=1, heads=1)
    clip_config = CLIPConfig(vision=vision, text=text, embed_dim=64)
    whole = CLIP(clip_config).state_dict()
    table = [row for row in openai.TABLE if row.theirs[0].startswith("visual.")]
    table = [row for row in table if row.ours[0] != "vision.proj" and not row.ours[0].startswith("vision.norm_post")]
    weights = CLIPWeights("", clip_config, whole | to_ours(tower, table, "the tower of an EVL case"), Path())
    return evl.complete(state, weights), evl.TABLE


def _xclip(state: dict[str, Tensor]) -> tuple[CLIPWeights, list[Row]]:
    return xclip.read(state, Path()), xclip.TABLE


def _vifi(state: dict[str, Tensor], embedding: Tensor) -> tuple[CLIPWeights, list[Row]]:
    any_config = CLIPConfig(
        vision=VisionConfig(image_size=16, patch_size=16, width=64, depth=1, heads=1),
        text=TextConfig(vocab_size=8, context_length=8, width=64, depth=1, heads=1),
        embed_dim=64,
    )
    backbone = CLIPWeights("", any_config, {vifi.EMBEDDING: embedding}, Path(), Trained({}, {}))
    return vifi.complete(state, backbone), vifi.TABLE


def measure_method_errors(case: MethodCase) -> Errors:
    """Run the case forward and backward and compare everything that is recorded."""
    model = case.model
    texts = model.encode_text(case.class_names)
    features = model.encode_video(case.video, normalize=False)
    logits = model.logits(model.head.video_features(features), texts)
    loss = F.cross_entropy(logits, case.targets)
    loss.backward()
    ours = {
        "video_features": features[:, 0] if features.dim() == 3 else features,
        "logits": logits,
        "loss": loss.reshape(1),
    }
    if isinstance(model.head, VideoReadHead):
        ours["patch_features"], ours["text_features"] = features[:, 1:], texts
        ours["class_features"] = texts + model.head.alpha * model.head.read(features[:, 1:], texts)
    elif isinstance(model.head, LearnedTextHead):
        ours["text_features"] = model.encode_text(case.class_names, normalize=False)
    elif "text_features" in case.expected:
        texts_of = [model.config.templates[0].format(name.replace("_", " ")) for name in case.class_names]
        ours["text_features"] = model.backbone.encode_texts(texts_of)
    published = _published_gradients(model, case.rows)
    largest = max(float(value.abs().max()) for value in case.gradients.values())
    zero = {name for name, value in case.gradients.items() if float(value.abs().max()) < 1e-9 * largest}
    return Errors(
        outputs={key: relative_error(value.detach(), case.expected[key]) for key, value in ours.items()},
        gradients={key: relative_error(published[key], case.gradients[key]) for key in case.gradients.keys() - zero},
        zero_gradients={key: float(published[key].abs().max()) / largest for key in zero & published.keys()},
    )


def _published_gradients(model: VideoModel, rows: list[Row]) -> dict[str, Tensor]:
    """The gradients under the published names. Where the format has one tensor for two of ours, ours add up; the patch
    embedding's bias, which it lacks, is left out."""
    found = {name.removeprefix("backbone."): p.grad for name, p in model.named_parameters() if p.grad is not None}
    found["vision.patch_embed.bias"] = torch.zeros_like(model.backbone.vision.patch_embed.bias)  # type: ignore[arg-type]
    found.pop("logit_scale", None)
    if "head.logit_scale" in found:
        found["logit_scale"] = found["head.logit_scale"]
    return published_names(found, rows)


def published_names(ours: Mapping[str, Tensor], rows: list[Row]) -> dict[str, Tensor]:
    """Tensors of ours that the format has, under its names."""
    unknown = {"text.token_embed.weight"} if rows is not xclip.TABLE else set()
    if rows is evl.TABLE:
        ours = {name: value for name, value in ours.items() if name.startswith(("pool.", "head."))}
    return to_theirs({name: value for name, value in ours.items() if name not in unknown}, rows)
