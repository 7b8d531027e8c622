"""The shape of an image-text model."""

from dataclasses import dataclass
from typing import Annotated, Literal

from vitaclip.settings import Config, PositiveFloat, PositiveInt, bounds, require

_Deviation = Annotated[float, bounds(ge=1e-6)]

Activation = Literal["quick_gelu", "gelu"]
"""OpenAI's weights use x * sigmoid(1.702 x); most later ones the exact GELU."""


@dataclass(frozen=True, kw_only=True)
class VisionConfig(Config):
    """Shape of CLIP's image tower (a vision transformer)."""

    image_size: PositiveInt
    """Side of the square input, in pixels."""
    patch_size: PositiveInt
    """Side of a patch, in pixels."""
    width: PositiveInt
    """Channels of a token (C)."""
    depth: PositiveInt
    """Number of transformer blocks."""
    heads: PositiveInt
    """Attention heads."""
    mlp_ratio: PositiveFloat = 4.0
    """Hidden width of the MLP over `width`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.image_size % self.patch_size == 0, self, "image_size", "must be a multiple of patch_size")
        require(self.width % self.heads == 0, self, "heads", f"must divide width = {self.width}")

    @property
    def num_patches(self) -> int:
        """N, the patches of one frame."""
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True, kw_only=True)
class TextConfig(Config):
    """Shape of CLIP's text tower (a causal transformer)."""

    vocab_size: PositiveInt
    """Number of token ids."""
    context_length: PositiveInt
    """Most tokens a text may have, start and end included."""
    width: PositiveInt
    """Channels of a token (W)."""
    depth: PositiveInt
    """Number of transformer blocks."""
    heads: PositiveInt
    """Attention heads."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.width % self.heads == 0, self, "heads", f"must divide width = {self.width}")


@dataclass(frozen=True, kw_only=True)
class CLIPConfig(Config):
    """A whole CLIP: both towers, the shared space, and the pixels it was trained on."""

    vision: VisionConfig
    """The image tower."""
    text: TextConfig
    """The text tower."""
    embed_dim: PositiveInt
    """Size of the space both towers project into (D)."""
    activation: Activation = "quick_gelu"
    """OpenAI's weights use x * sigmoid(1.702 x); most later ones the exact GELU."""
    pixel_mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    """Mean of R, G, B in [0, 1], subtracted from the input. The default is CLIP's own."""
    pixel_std: tuple[_Deviation, _Deviation, _Deviation] = (0.26862954, 0.26130258, 0.27577711)
    """Standard deviation of R, G, B in [0, 1]. The default is CLIP's own."""
