"""The published code's numbers, and the same model built by ours."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from vitaclip.backbones import CLIP, Tokenizer
from vitaclip.backbones.families.vitaclip import read, to_published
from vitaclip.backbones.loading import Backbone
from vitaclip.model import VideoModel
from vitaclip.parts.config import ModelConfig

CASES = ("all_prompts", "generic_front_no_local")
FOLDER = Path(__file__).parent / "parity"
FULL_STOP = 269
"""Id of "." in CLIP's vocabulary."""


class RecordedTokenizer(Tokenizer):
    """Gives the ids that the published tokenizer gave for the names of a case, and knows nothing else."""

    def __init__(self, names: list[str], prompts: Tensor, num_context: int) -> None:
        self.start_id = int(prompts[0, 0])
        self.end_id = int(prompts.max())
        self._ids: dict[str, list[int]] = {}
        for name, row in zip(names, prompts.tolist(), strict=True):
            ids = row[1 + num_context : row.index(self.end_id)]
            name = name.replace("_", " ")
            self._ids[name + "."] = ids
            self._ids[name] = ids[:-1] if ids[-1] == FULL_STOP else ids

    def encode(self, text: str) -> list[int]:
        return self._ids[text]


@dataclass(frozen=True)
class ParityCase:
    model: VideoModel
    class_names: list[str]
    video: Tensor
    labels: Tensor
    expected: dict[str, Tensor]
    gradients: dict[str, Tensor]
    weights: dict[str, Tensor]


def group(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def read_case(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the description of a case, in this folder's terms.

    A case as the published code's own names write it (`state.<name>`, `grad.<name>`, the constructor's arguments as
    `config`) is put into these terms.

    Raises:
        ValueError: if the file is a case of another method.
    """
    tensors = load_file(file)
    with safe_open(file, framework="pt") as handle:
        meta = dict(handle.metadata() or {})
    if "class_names" in meta:
        return tensors, meta
    if "config" not in meta:
        raise ValueError(f"{file}: no case, but some other file of tensors")
    if "method" in meta or not any(name.startswith("state.textual.") for name in tensors):
        raise ValueError(f"{file}: a case of {meta.get('method', 'another model')}, which is not built here")
    config = json.loads(meta["config"])
    folders = {"state": "weights", "grad": "gradients"}
    renamed = {}
    for name, tensor in tensors.items():
        kind, rest = name.split(".", 1)
        renamed[f"{folders.get(kind, kind)}/{rest}"] = tensor
    described = {"class_names": meta["classes"], "class_token_position": config["text_prompt_pos"]}
    return renamed, described | {
        "vision_heads": str(config["num_heads"]),
        "text_heads": str(config["text_transformer_heads"]),
    }


def load_case(case: str | Path, dtype: torch.dtype) -> ParityCase:
    """A case by its name in this folder, or by its file."""
    file = case if isinstance(case, Path) else FOLDER / f"{case}.safetensors"
    name = file.stem
    tensors, meta = read_case(file)
    class_names = json.loads(meta["class_names"])
    weights = group(tensors, "weights/")
    rows = tensors["token_embedding/rows"]
    embedding = torch.zeros(49408, rows.shape[1])
    embedding[tensors["token_embedding/ids"]] = rows
    weights["textual.token_embedding.weight"] = embedding

    heads = int(meta["vision_heads"]), int(meta["text_heads"])
    published = read(weights, FOLDER, vision_heads=heads[0], text_heads=heads[1])
    assert published.trained is not None
    settings = published.trained.settings
    clip = CLIP(published.config)
    clip.load_state_dict(published.state)
    head = {**settings["head"], "class_token_position": meta["class_token_position"]}
    tokenizer = RecordedTokenizer(class_names, tensors["input/tokenized_prompts"], head["num_context"])
    backbone = Backbone(clip, tokenizer, name, "")
    model = VideoModel(backbone, ModelConfig(backbone=name, **{**settings, "head": head}), class_names)
    model.load_state(published.trained.adapter_state)
    return ParityCase(
        model=model.to(dtype),
        class_names=class_names,
        video=tensors["input/clips"].transpose(1, 2).to(dtype),
        labels=tensors["input/labels"],
        expected=group(tensors, "expected/"),
        gradients=group(tensors, "gradients/"),
        weights=weights,
    )


def relative_error(ours: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest expected value."""
    return float((ours.double() - expected.double()).abs().max() / expected.double().abs().max())


@dataclass(frozen=True)
class Errors:
    """How far a case is from the expected numbers, relative to the largest."""

    outputs: dict[str, float]
    gradients: dict[str, float]
    zero_gradients: dict[str, float]
    """Of key biases: a bias on all keys shifts all scores of a query alike, so the true gradient is 0 and both codes
    hold only rounding. Given relative to the query bias's gradient."""


def measure_errors(case: ParityCase) -> Errors:
    """Run the case forward and backward and compare everything."""
    model = case.model
    logits = model(case.video, model.encode_text(case.class_names))
    loss = F.cross_entropy(logits, case.labels)
    loss.backward()
    ours = {
        "video_features": model.encode_video(case.video, normalize=False),
        "text_features": model.encode_text(case.class_names, normalize=False),
        "logits": logits,
        "loss": loss.reshape(1),
    }
    gradients = {key: p.grad for key, p in model.adapter_params().items() if p.grad is not None}
    published = to_published({}, gradients)
    assert {key for key in published if ".cls_proj." not in key} == set(case.gradients)
    zero = {key for key in case.gradients if key.endswith("k_proj.bias")}
    return Errors(
        outputs={key: relative_error(value.detach(), case.expected[key]) for key, value in ours.items()},
        gradients={key: relative_error(published[key], case.gradients[key]) for key in case.gradients.keys() - zero},
        zero_gradients={
            key: float(published[key].abs().max() / case.gradients[key.replace("k_proj", "q_proj")].abs().max())
            for key in zero
        },
    )
