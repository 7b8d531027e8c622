"""Settings and names of models that older versions saved, in today's: tables and pure functions."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

_NAMES = (
    (r"video\.time_embed", "context.input.time.embed"),
    (r"video\.blocks\.(\d+)\.(global|local)_prompts", r"context.blocks.\1.\2.prompts"),
    (r"video\.blocks\.(\d+)\.summary_(norm|attention)\.", r"context.blocks.\1.summary.\2."),
    (r"video\.blocks\.(\d+)\.cls_proj\.", r"context.blocks.\1.cls_proj."),
    (r"text\.(context|vectors)", r"head.\1"),
    (r"logit_scale", "head.logit_scale"),
)
"""What parameters of the parts were called, and are called now."""
_VIEWS = {"average": "aggregation", "pixels": "normalization"}
"""What settings of views were called, and are called now."""
_SAVED_UNDER = re.compile(r"(prompts\.|average\.|optimizer\.\w+\.)?(.*)")
"""Under what a training run's checkpoints hold them."""


def upgrade_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Values by today's names; those that have them already stay."""
    return {upgrade_name(name): value for name, value in state.items()}


def upgrade_name(name: str) -> str:
    """Today's name of a parameter in a model folder or a checkpoint."""
    found = _SAVED_UNDER.fullmatch(name)
    assert found is not None
    under, own = (found[1] or "").replace("prompts.", ""), found[2]
    for pattern, now in _NAMES:
        if match := re.match(pattern, own):
            return under + match.expand(now) + own[match.end() :]
    return under + re.sub(r"^clip\.", "backbone.", own)


def upgrade_views(saved: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of views by today's names.

    >>> upgrade_views({"temporal": 3, "average": "logits"})
    {'temporal': 3, 'aggregation': 'logits'}
    """
    now = {_VIEWS.get(name, name): value for name, value in saved.items()}
    return now | ({"normalization": "backbone"} if now.get("normalization") == "clip" else {})


def upgrade_model_config(saved: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a model as they are written today; those of today stay as they are."""
    if not isinstance(saved, Mapping):
        raise ValueError(f"model = {str(saved)[:60]!r}: must be a mapping of settings")
    kept = {"centre": False, **saved}  # what older models did, of which some do not say so
    if "video" not in saved and "text" not in saved and "train_towers" not in saved:
        return kept
    video, text, trained = kept.pop("video", {}), kept.pop("text", {}), kept.pop("train_towers", False)
    if not isinstance(video, Mapping) or not isinstance(text, Mapping):
        raise ValueError("model.video and model.text must be mappings of settings")
    count = video.get("num_global", 8)
    context: dict[str, dict[str, Any]] = {"global": {"count": count}} if count else {}
    context |= {kind: {} for kind in ("local", "summary", "time") if video.get(kind, True)}
    head: dict[str, Any] = {"name": "learned_text", "num_context": text.get("num_context", 8)}
    head |= {name: text[name] for name in ("per_class", "class_token_position", "init_words") if name in text}
    if text.get("linear", False):
        head = {"name": "linear"}
    elif not head["num_context"]:
        head = {"name": "templates"}
    kept |= {"templates": text["templates"]} if "templates" in text else {}
    return kept | {
        "num_frames": video.get("num_frames", 8),
        "context": context,
        "train_cls_proj": video.get("train_cls_proj", True),
        "head": head,
        "train": ("image" if head["name"] == "linear" else "both") if trained else "none",
    }
