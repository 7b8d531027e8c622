"""How many floating-point operations the method takes, by its formulas; a multiplication and an addition count as two.

Axes: B clips, T frames, N patches, G global prompts, K texts, L tokens, M context tokens, C and W channels, D features.
"""

from collections.abc import Sequence

from vitaclip.backbones.config import TextConfig
from vitaclip.backbones.text import MAX_STORED_TEXTS
from vitaclip.model import VideoModel


def of_video(model: VideoModel, frames: int) -> int:
    """Forward pass of one clip; of the last block the cls tokens alone."""
    vision, context = model.backbone.config.vision, model.config.context
    local, summary = "local" in context, "summary" in context
    width, tokens = vision.width, 1 + vision.num_patches
    per_frame = int(summary) + (frames if local else 0)
    seen = tokens + _num_global(model) + per_frame
    hidden = 2 * round(vision.mlp_ratio * width) * width
    whole = 2 * tokens * (4 * width**2 + hidden) + 4 * tokens * seen * width
    last = 2 * tokens * 2 * width**2 + 2 * (2 * width**2 + hidden) + 4 * seen * width
    prompts = 2 * width**2 * (3 * (local or summary) + 6 * summary)
    embedding = 2 * vision.num_patches * 3 * vision.patch_size**2 * width
    return frames * ((vision.depth - 1) * whole + last + vision.depth * prompts + embedding)


def _num_global(model: VideoModel) -> int:
    return int(model.config.context.get("global", {"count": 0})["count"])


def of_texts(text: TextConfig, lengths: Sequence[int]) -> int:
    """Forward pass of texts of these lengths, without padding."""
    return sum(text.depth * (2 * length * 12 * text.width**2 + 4 * length**2 * text.width) for length in lengths)


def of_step(model: VideoModel, clips: int, lengths: Sequence[int]) -> int:
    """A train step. Behind frozen weights the way back takes as much as the way there; what prompts add is left out.
    Texts beyond those whose activations are kept go there twice."""
    text = model.backbone.config.text
    there = clips * of_video(model, model.config.num_frames) + of_texts(text, lengths)
    return 2 * there + of_texts(text, sorted(lengths)[MAX_STORED_TEXTS:])


def kept_numbers(model: VideoModel, clips: int, lengths: Sequence[int], *, by_products: bool) -> int:
    """Numbers that a step keeps for the way back: of each token and block what came in, q, k, v, what attention gave,
    what went into the MLP and its hidden layer; of texts, those that are not computed again. And `class_numbers`.

    `by_products`: attention also keeps its weights, and its queries scaled.
    """
    vision, context, text = model.backbone.config.vision, model.config.context, model.backbone.config.text
    frames, tokens = model.config.num_frames, 1 + vision.num_patches
    seen = tokens + _num_global(model) + frames * ("local" in context) + ("summary" in context)
    per_block = tokens * (4 + vision.mlp_ratio) * vision.width + 2 * seen * vision.width
    if by_products:
        per_block += tokens * (vision.heads * seen + vision.width)
    kept = sum(sorted(lengths)[:MAX_STORED_TEXTS]) * text.depth * (6 + 4) * text.width
    return round(clips * frames * vision.depth * per_block) + kept + class_numbers(model, clips, lengths)


def class_numbers(model: VideoModel, clips: int, lengths: Sequence[int]) -> int:
    """Numbers that every class adds, however many there are: token embeddings, looked up and sorted by length, with the
    gradients of both; contexts as they are laid in, their gradient and AdamW's two moments; features and logits, with
    their gradients."""
    text, clip = model.head.config, model.backbone.config
    embeddings = 4 * max(lengths) * clip.text.width
    contexts = 4 * text.num_context * clip.text.width if text.per_class else 0
    return len(lengths) * (embeddings + contexts + 2 * clip.embed_dim + 2 * clips)
