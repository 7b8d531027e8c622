"""The shape of an image-text model."""

from dataclasses import dataclass
from typing import Literal

from vitaclip.settings import require


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
        require(min(self.pixel_std) >= 1e-6, self, "pixel_std", "must be positive, at least 1e-6")
