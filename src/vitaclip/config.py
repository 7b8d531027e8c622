"""Every setting of vitaclip, in one tree of frozen dataclasses.

Each field is documented below it, checked where it is defined, and saved with the results. Nothing here imports
torch, so that the command line can print its help at once.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

ConfigT = TypeVar("ConfigT")


def require(condition: bool, owner: object, name: str, remedy: str) -> None:
    """Raise ValueError with field, value and remedy unless `condition` holds."""
    if not condition:
        value = getattr(owner, name)
        raise ValueError(f"{type(owner).__name__}.{name} = {value!r}: {remedy}")


def to_dict(config: Any) -> dict[str, Any]:
    """A config as plain dicts and lists, ready for JSON or YAML."""
    return dataclasses.asdict(config)


def from_dict(cls: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
    """Rebuild a flat config from a mapping; an unknown or missing field is an error that names it.

    Raises:
        ValueError: for an unknown field, a missing one, or a value the config refuses.
    """
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ValueError(f"{cls.__name__} has no field {unknown[0]!r}; its fields are {', '.join(fields)}")
    kwargs: dict[str, Any] = {}
    for name, value in values.items():
        nested = _NESTED.get((cls.__name__, name))
        kwargs[name] = from_dict(nested, value) if nested and isinstance(value, Mapping) else value
        if isinstance(value, list):
            kwargs[name] = tuple(value)
    try:
        return cls(**kwargs)
    except TypeError as error:
        raise ValueError(f"{cls.__name__}: {error}") from error


# ---------------------------------------------------------------------------------------------------- the backbone


@dataclass(frozen=True, kw_only=True)
class VisionConfig:
    """Shape of CLIP's image tower (a vision transformer)."""

    image_size: int
    """Side of the square input, in pixels."""
    patch_size: int
    """Side of a patch, in pixels."""
    width: int
    """Channels of a token (C)."""
    depth: int
    """Number of transformer blocks."""
    heads: int
    """Attention heads."""
    mlp_ratio: float = 4.0
    """Hidden width of the MLP over `width`."""

    def __post_init__(self) -> None:
        for name in ("image_size", "patch_size", "width", "depth", "heads", "mlp_ratio"):
            require(getattr(self, name) > 0, self, name, "must be positive")
        require(self.image_size % self.patch_size == 0, self, "image_size", "must be a multiple of patch_size")
        require(self.width % self.heads == 0, self, "heads", f"must divide width = {self.width}")

    @property
    def num_patches(self) -> int:
        """N, the patches of one frame."""
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """Shape of CLIP's text tower (a causal transformer)."""

    vocab_size: int
    """Number of token ids."""
    context_length: int
    """Most tokens a text may have, start and end included."""
    width: int
    """Channels of a token (W)."""
    depth: int
    """Number of transformer blocks."""
    heads: int
    """Attention heads."""

    def __post_init__(self) -> None:
        for name in ("vocab_size", "context_length", "width", "depth", "heads"):
            require(getattr(self, name) > 0, self, name, "must be positive")
        require(self.width % self.heads == 0, self, "heads", f"must divide width = {self.width}")


@dataclass(frozen=True, kw_only=True)
class CLIPConfig:
    """A whole CLIP: both towers, the shared space, and the pixels it was trained on."""

    vision: VisionConfig
    """The image tower."""
    text: TextConfig
    """The text tower."""
    embed_dim: int
    """Size of the space both towers project into (D)."""
    activation: Literal["quick_gelu", "gelu"] = "quick_gelu"
    """OpenAI's weights use x * sigmoid(1.702 x); most later ones the exact GELU."""
    pixel_mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    """Mean of R, G, B in [0, 1], subtracted from the input. The default is CLIP's own."""
    pixel_std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)
    """Standard deviation of R, G, B in [0, 1]. The default is CLIP's own."""

    def __post_init__(self) -> None:
        require(self.embed_dim > 0, self, "embed_dim", "must be positive")
        require(self.activation in ("quick_gelu", "gelu"), self, "activation", "choose quick_gelu or gelu")
        require(len(self.pixel_mean) == 3, self, "pixel_mean", "give three numbers, for R, G and B")
        require(len(self.pixel_std) == 3, self, "pixel_std", "give three numbers, for R, G and B")
        require(min(self.pixel_std) > 0, self, "pixel_std", "must be positive")


# ----------------------------------------------------------------------------------------------------- the prompts


@dataclass(frozen=True, kw_only=True)
class VideoPromptConfig:
    """The prompts of the image tower (paper, section 3.2). Each kind can be switched off."""

    num_frames: int = 8
    """T, the frames of a training clip. At test any number works: time and local prompts are interpolated."""
    num_global: int = 8
    """G, video-level prompts of each block, the same for every video. 0 switches them off."""
    local: bool = True
    """Frame-level prompts: a learned vector for each of the T frames, shifted by that frame's cls token."""
    summary: bool = True
    """One token a frame that has attended to the cls tokens of all frames."""
    time: bool = True
    """A learned embedding of the frame's place in the clip, added to all its tokens."""
    train_cls_proj: bool = True
    """Train the projection of the cls tokens that feeds local and summary prompts. The published code leaves it
    at its random start; False does the same."""

    def __post_init__(self) -> None:
        require(self.num_frames >= 1, self, "num_frames", "must be at least 1")
        require(self.num_global >= 0, self, "num_global", "must be 0 (off) or more")


@dataclass(frozen=True, kw_only=True)
class TextPromptConfig:
    """The learned context of the text tower (paper, section 3.3, after CoOp)."""

    num_context: int = 8
    """M, learned tokens beside the class name. 0 switches them off: names then go into `templates`."""
    per_class: bool = False
    """One context for each class (as published for Kinetics) instead of one for all. A per-class context cannot
    serve classes it was not trained on."""
    class_token_position: Literal["end", "middle", "front"] = "end"
    """Where the class name stands: after the context (end), inside it (middle), or before it (front)."""
    init_words: str = ""
    """Start the context from these words instead of at random; they must make exactly `num_context` tokens."""
    templates: tuple[str, ...] = ("a video of {}.",)
    """Hand-written texts for names without a learned context; their unit vectors are averaged."""

    def __post_init__(self) -> None:
        require(self.num_context >= 0, self, "num_context", "must be 0 (off) or more")
        positions = ("end", "middle", "front")
        require(self.class_token_position in positions, self, "class_token_position", f"choose one of {positions}")
        require(not self.init_words or self.num_context > 0, self, "init_words", "needs num_context > 0")
        require(len(self.templates) > 0, self, "templates", "give at least one template such as 'a video of {}.'")
        for template in self.templates:
            require(template.count("{}") == 1, self, "templates", f"{template!r} must hold {{}} exactly once")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What is built on the backbone."""

    backbone: str = "miniature"
    """The frozen CLIP: `miniature` (shipped, offline) or a folder written by `save_backbone`."""
    video: VideoPromptConfig = field(default_factory=VideoPromptConfig)
    """Prompts of the image tower."""
    text: TextPromptConfig = field(default_factory=TextPromptConfig)
    """Context of the text tower."""


_NESTED: dict[tuple[str, str], type[Any]] = {
    ("CLIPConfig", "vision"): VisionConfig,
    ("CLIPConfig", "text"): TextConfig,
    ("ModelConfig", "video"): VideoPromptConfig,
    ("ModelConfig", "text"): TextPromptConfig,
}
