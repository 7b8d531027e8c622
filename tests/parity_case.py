"""Numbers of the published codes (Vita-CLIP, EVL, X-CLIP, ViFi-CLIP), and the same models built by ours.

A case is a safetensors file: weights as `state.<published name>`, `input.`, `expected.` and `grad.`, with the published
code's own arguments as `config`.
"""

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

from tiny import tiny_tokenizer
from tower_case import toy_heads
from vitaclip.backbones.config import CLIPConfig, TextConfig, TextLayoutConfig, VisionConfig
from vitaclip.backbones.families import evl, openai, vifi, vitaclip, xclip
from vitaclip.backbones.families.family import CLIPWeights, Trained
from vitaclip.backbones.families.table import Row, to_ours, to_theirs
from vitaclip.backbones.loading import Backbone
from vitaclip.backbones.model import CLIP
from vitaclip.backbones.tokenizer import Tokenizer
from vitaclip.model import VideoModel
from vitaclip.parts.config import ModelConfig
from vitaclip.parts.heads.learned_text import LearnedTextHead
from vitaclip.parts.heads.video_read import VideoReadHead
from vitaclip.settings import from_dict

CASES = ("all_prompts", "generic_front_no_local")
"""Of Vita-CLIP."""
METHOD_CASES = ("evl_all", "xclip_default", "vifi_prompts_every_block")
FOLDER = Path(__file__).parent / "parity"
GOLDEN = "golden.safetensors"
"""In a folder of checkpoints: inputs, and the logits that each checkpoint gives."""
FULL_STOP = 269
"""Id of "." in CLIP's vocabulary."""
TEMPLATE = "a photo of a "
TRAIN = {"": "none", "evl": "none", "xclip": "image", "vifi": "both"}
"""Which towers a method has gradients of."""


class RecordedTokenizer(Tokenizer):
    """Gives the ids that the published tokenizer gave for the names of a case, in whatever template, and knows nothing
    else."""

    def __init__(self, names: list[str], prompts: Tensor, num_context: int) -> None:
        start, end = int(prompts[0, 0]), int(prompts.max())
        super().__init__(tiny_tokenizer().vocabulary, TextLayoutConfig(start=(start,), end=(end,)))
        self._ids: dict[str, list[int]] = {}
        for name, row in zip(names, prompts.tolist(), strict=True):
            ids = row[1 + num_context : row.index(end)]
            name = name.replace("_", " ")
            self._ids[name + "."] = ids
            self._ids[name] = ids[:-1] if ids[-1] == FULL_STOP else ids

    def encode(self, text: str) -> list[int]:
        return self._ids.get(text.removeprefix(TEMPLATE), [])  # of a word that is no name


@dataclass(frozen=True)
class Case:
    method: str
    """Empty for Vita-CLIP."""
    model: VideoModel
    class_names: list[str]
    video: Tensor
    targets: Tensor
    """(B,) classes or (B, K) soft targets."""
    expected: dict[str, Tensor]
    gradients: dict[str, Tensor]
    weights: dict[str, Tensor]
    """Under the published names."""
    rows: list[Row]


def group(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def read_case(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the description of a case; the two oldest had names of their own.

    Raises:
        ValueError: if the file is no case.
    """
    tensors = load_file(file)
    with safe_open(file, framework="pt") as handle:
        meta = dict(handle.metadata() or {})
    if "class_names" in meta:
        kinds = {"weights": "state", "gradients": "grad"}
        parted = {tuple(name.split("/", 1)): tensor for name, tensor in tensors.items()}
        tensors = {f"{kinds.get(kind, kind)}.{rest}": tensor for (kind, rest), tensor in parted.items()}
        heads = {"num_heads": int(meta["vision_heads"]), "text_transformer_heads": int(meta["text_heads"])}
        config = json.dumps(heads | {"text_prompt_pos": meta["class_token_position"]})
        meta = {"classes": meta["class_names"], "config": config}
    if "config" not in meta:
        raise ValueError(f"{file}: no case, but some other file of tensors")
    return tensors, meta


def load_case(case: str | Path, dtype: torch.dtype) -> Case:
    """A case by its name in this folder, or by its file.

    Raises:
        ValueError: if it is of a method that is not built here.
    """
    file = case if isinstance(case, Path) else FOLDER / f"{case}.safetensors"
    tensors, meta = read_case(file)
    config, method = json.loads(meta["config"]), meta.get("method", "")
    # Vita-CLIP's names are converted before they are widened: both codes then hold the same numbers.
    state = group(tensors, "state.")
    if "token_embedding.rows" in tensors:
        rows = tensors["token_embedding.rows"]
        embedding = rows.new_zeros(49408, rows.shape[1])
        embedding[tensors["token_embedding.ids"]] = rows
    names = json.loads(meta.get("classes", "[]")) or [f"class {n}" for n in range(len(state.get("proj.2.bias", ())))]
    if method == "" and any(name.startswith("textual.") for name in state):
        state["textual.token_embedding.weight"] = embedding
        built, table = _vitaclip(config, state), vitaclip.TABLE
    elif method == "evl":
        built, table = _evl(config, state, group(tensors, "backbone.")), evl.TABLE
    elif method == "xclip":
        built, table = xclip.read(state | {"token_embedding.weight": embedding}, Path()), xclip.TABLE
    elif method == "vifi":
        built, table = _vifi(state, embedding), vifi.TABLE
    else:
        raise ValueError(f"{file}: a case of {method or 'another model'}, which is not built here")
    assert built.trained is not None
    settings = {"backbone": method, **built.trained.settings, "train": TRAIN[method]}
    tokenizer = None
    if (tokens := tensors.get("input.tokens", tensors.get("input.tokenized_prompts"))) is not None:
        head = settings["head"]
        tokenizer = RecordedTokenizer(names, tokens, head.get("num_context", 0) if isinstance(head, dict) else 0)
    clip = CLIP(built.config)
    clip.load_state_dict(built.state)
    model = VideoModel(Backbone(clip, tokenizer, method, ""), from_dict(ModelConfig, settings), names)  # type: ignore[arg-type]
    model.load_state(built.trained.adapter_state)
    targets = tensors.get("input.targets", tensors["input.labels"])
    return Case(
        method=method,
        model=model.to(dtype),
        class_names=names,
        video=_video(tensors).to(dtype),
        targets=targets.to(dtype) if targets.is_floating_point() else targets,
        expected=group(tensors, "expected."),
        gradients=group(tensors, "grad."),
        weights=state,
        rows=table,
    )


def _video(tensors: Mapping[str, Tensor]) -> Tensor:
    return tensors["input.video"] if "input.video" in tensors else tensors["input.clips"].transpose(1, 2)


def _vitaclip(config: dict[str, Any], state: dict[str, Tensor]) -> CLIPWeights:
    with toy_heads(config["num_heads"], config["text_transformer_heads"]):
        weights = vitaclip.read(state, FOLDER)
    assert weights.trained is not None
    weights.trained.settings["head"]["class_token_position"] = config["text_prompt_pos"]
    return weights


def _evl(config: dict[str, Any], state: dict[str, Tensor], tower: dict[str, Tensor]) -> CLIPWeights:
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
    clip_config = CLIPConfig(vision=vision, text=ANY_TEXT, embed_dim=64)
    whole = CLIP(clip_config).state_dict()
    table = [row for row in openai.TABLE if row.theirs[0].startswith("visual.")]
    table = [row for row in table if row.ours[0] != "vision.proj" and not row.ours[0].startswith("vision.norm_post")]
    weights = CLIPWeights(clip_config, whole | to_ours(tower, table))
    return evl.complete(state, weights)


def _vifi(state: dict[str, Tensor], embedding: Tensor) -> CLIPWeights:
    vision = VisionConfig(image_size=16, patch_size=16, width=64, depth=1, heads=1)
    any_config = CLIPConfig(vision=vision, text=ANY_TEXT, embed_dim=64)
    backbone = CLIPWeights(any_config, {vifi.EMBEDDING: embedding}, Trained({}, {}))
    return vifi.complete(state, backbone)


ANY_TEXT = TextConfig(vocab_size=8, context_length=8, width=64, depth=1, heads=1)


def relative_error(ours: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest expected value."""
    return float((ours.double() - expected.double()).abs().max() / expected.double().abs().max())


@dataclass(frozen=True)
class Errors:
    """How far a case is from the expected numbers, relative to the largest."""

    outputs: dict[str, float]
    gradients: dict[str, float]
    zero_gradients: dict[str, float]
    """Such as of key biases: a bias on all keys shifts all scores of a query alike, so the true gradient is 0 and both
    codes hold only rounding. Given relative to the largest gradient."""


def measure_errors(case: Case) -> Errors:
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
    published = _published_gradients(case)
    largest = max(float(value.abs().max()) for value in case.gradients.values())
    zero = {name for name, value in case.gradients.items() if float(value.abs().max()) < 1e-6 * largest}
    return Errors(
        outputs={key: relative_error(value.detach(), case.expected[key]) for key, value in ours.items()},
        gradients={key: relative_error(published[key], case.gradients[key]) for key in case.gradients.keys() - zero},
        zero_gradients={key: float(published[key].abs().max()) / largest for key in zero & published.keys()},
    )


def _published_gradients(case: Case) -> dict[str, Tensor]:
    """The gradients under the published names. Where the format has one tensor for two of ours, ours add up; the patch
    embedding's bias, which it lacks, is left out."""
    found = {name: p.grad for name, p in case.model.named_parameters() if p.grad is not None}
    if case.rows is vitaclip.TABLE:
        return vitaclip.to_published({}, found)
    found = {name.removeprefix("backbone."): gradient for name, gradient in found.items()}
    found["vision.patch_embed.bias"] = torch.zeros_like(case.model.backbone.vision.patch_embed.bias)  # type: ignore[arg-type]
    found.pop("logit_scale", None)
    if "head.logit_scale" in found:
        found["logit_scale"] = found["head.logit_scale"]
    return published_names(found, case.rows)


def published_names(ours: Mapping[str, Tensor], rows: list[Row]) -> dict[str, Tensor]:
    """Tensors of ours that the format of EVL, X-CLIP or ViFi-CLIP has, under its names."""
    unknown = {"text.token_embed.weight"} if rows is not xclip.TABLE else set()
    if rows is evl.TABLE:
        ours = {name: value for name, value in ours.items() if name.startswith(("pool.", "head."))}
    return to_theirs({name: value for name, value in ours.items() if name not in unknown}, rows)


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
    expected = next(tensors[key] for key in ("expected.logits", "expected.logits_per_video") if key in tensors)
    with torch.no_grad():
        return relative_error(model(_video(tensors).double(), model.encode_text(names)), expected)
