"""The shape of an image-text model: two transformers, what they are fed, and how their features are compared.

Every default is OpenAI's CLIP, so a config says only in what its family differs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from vitaclip.settings import Config, NonNegativeInt, PositiveFloat, PositiveInt, bounds, require

_Deviation = Annotated[float, bounds(ge=1e-6)]
Three = tuple[float, float, float]

Activation = Literal["quick_gelu", "gelu", "gelu_tanh", "silu"]
"""quick_gelu is x * sigmoid(1.702 x), gelu the exact one, gelu_tanh its approximation, silu x * sigmoid(x)."""
QUICK_GELU = 1.702
"""quick_gelu(x) = silu(1.702 x) / 1.702, so that the constant can go into the weights before and behind."""


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(Config):
    """What both towers have: a number of pre-norm blocks of one width."""

    width: PositiveInt
    """Channels of a token (C of the image tower, W of the text tower)."""
    depth: PositiveInt
    """Number of transformer blocks."""
    heads: PositiveInt
    """Attention heads."""
    mlp_ratio: PositiveFloat = 4.0
    """Hidden width of the MLP over `width`."""
    activation: Activation = "quick_gelu"
    """OpenAI's weights use quick_gelu; most later ones gelu."""
    norm_epsilon: PositiveFloat = 1e-5
    """Added to the variance in each LayerNorm."""
    projection: Literal["none", "plain", "bias"] = "plain"
    """The last linear layer, into the shared space: none, without or with a bias."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.width % self.heads == 0, self, "heads", f"must divide width = {self.width}")

    @property
    def mlp_hidden(self) -> int:
        """Hidden width of the MLP."""
        return round(self.width * self.mlp_ratio)


@dataclass(frozen=True, kw_only=True)
class VisionConfig(TransformerConfig):
    """Shape of the image tower, a vision transformer. The options do not depend on each other."""

    image_size: PositiveInt
    """Side of the square input, in pixels. What is left of it behind the last whole patch is cut off."""
    patch_size: PositiveInt
    """Side of a patch, in pixels."""
    class_token: bool = True
    """Whether a learned token goes before the patches."""
    norm_pre: bool = True
    """Whether a LayerNorm comes before the first block."""
    gated: bool = False
    """Whether the MLP is SwiGLU: the activation of one linear layer times another."""
    inner_norm: bool = False
    """Whether a LayerNorm comes before the last linear layer of attention and of the MLP."""
    rope: Literal["none", "pe", "eva02"] = "none"
    """Rotary position embedding of the patches: PE-Core turns by the column first, counting from 1; EVA-02 by the row
    first, counting from 0 and stretched to a grid of 16."""
    rope_side: NonNegativeInt = 0
    """Patches along a side of the grid that the coordinates are stretched to, whatever the image's size. 0: as `rope`
    says. timm stretches PE-Core's to the grid it was trained on, where PE's own code goes on counting."""
    resample: Literal["bicubic_antialias", "bicubic", "bilinear"] = "bicubic_antialias"
    """How positions are resampled to images of another size: as open_clip and timm, as transformers, or as PE-Core."""
    pool: Literal["class", "mean", "attention"] = "class"
    """What is pooled: the class token, the mean of the patches, or all tokens by a learned probe that attends to
    them."""
    pool_heads: NonNegativeInt = 0
    """Heads of the attention pool. 0: as many as those of the blocks."""
    pool_mlp_ratio: PositiveFloat = 4.0
    """Hidden width of the attention pool's MLP over `width`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.image_size >= self.patch_size, self, "image_size", f"must be at least {self.patch_size}, a patch")
        require(self.class_token or self.pool != "class", self, "pool", "there is no class token; choose another")
        require(self.width % (self.pool_heads or 1) == 0, self, "pool_heads", f"must divide width = {self.width}")
        turned = self.rope == "none" or self.width // self.heads % 4 == 0
        require(turned, self, "rope", "heads must be a multiple of 4 wide to be turned by row and column")

    @property
    def grid_side(self) -> int:
        """Patches along a side of the image."""
        return self.image_size // self.patch_size

    @property
    def num_patches(self) -> int:
        """N, the patches of one frame."""
        return self.grid_side**2

    @property
    def num_tokens(self) -> int:
        """L, the patches of one frame and the class token if there is one."""
        return self.num_patches + self.class_token


@dataclass(frozen=True, kw_only=True)
class TextLayoutConfig(Config):
    """How the ids of a text are laid out before the text tower takes them."""

    start: tuple[NonNegativeInt, ...] | None = None
    """Ids before each text. None: the tokenizer's start token, as in CLIP."""
    end: tuple[NonNegativeInt, ...] | None = None
    """Ids behind each text. None: the tokenizer's end token, as in CLIP."""
    pad: NonNegativeInt = 0
    """The id that fills a text up."""
    last: NonNegativeInt | None = None
    """An id that always stands at the last place, behind the padding. None: no such id."""
    feature: Literal["end", "last"] = "end"
    """Whose output is the text's feature: the token that ends the text, or that at the last place, padding or not."""
    clean: Literal["clip", "canonicalize", "lower", "none"] = "clip"
    """What is done to a text before it is cut into tokens. clip: mend it, undo HTML entities, fold blanks, lower case.
    canonicalize, big_vision's: blanks for underscores, no punctuation, lower case. lower: lower case alone."""


@dataclass(frozen=True, kw_only=True)
class TextConfig(TransformerConfig):
    """Shape of the text tower, a transformer with learned positions."""

    vocab_size: PositiveInt
    """Number of token ids."""
    context_length: PositiveInt
    """Most tokens a text may have, start and end included."""
    order: Literal["causal", "all"] = "causal"
    """What a token sees: those up to it, or all of them and the padding too. In the latter case texts are always filled
    up to `context_length`."""
    layout: TextLayoutConfig = TextLayoutConfig()
    """Start, end and padding of a text, and whose output is its feature."""


@dataclass(frozen=True, kw_only=True)
class PixelConfig(Config):
    """How an image becomes the image tower's input. Its side is `vision.image_size`."""

    mean: Three = (0.48145466, 0.4578275, 0.40821073)
    """Mean of R, G, B in [0, 1], subtracted from the input. The default is CLIP's own."""
    std: tuple[_Deviation, _Deviation, _Deviation] = (0.26862954, 0.26130258, 0.27577711)
    """Standard deviation of R, G, B in [0, 1]. The default is CLIP's own."""
    fit: Literal["crop", "squash"] = "crop"
    """How an image that is not square is made so: the shorter side is resized and the longer one cropped, or both are
    resized."""
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    """How pixels between pixels are computed."""


@dataclass(frozen=True, kw_only=True)
class CLIPConfig(Config):
    """A whole image-text model: both towers, the shared space, the pixels, and how features are compared."""

    vision: VisionConfig
    """The image tower."""
    text: TextConfig
    """The text tower."""
    embed_dim: PositiveInt
    """Size of the space both towers project into (D)."""
    pixels: PixelConfig = PixelConfig()
    """How an image becomes the image tower's input."""
    similarity: Literal["softmax", "sigmoid"] = "softmax"
    """What it was trained with: a softmax over texts of exp(logit_scale) times the cosine, or a sigmoid of that plus a
    learned logit_bias (SigLIP)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for tower in (self.vision, self.text):
            same = tower.projection != "none" or tower.width == self.embed_dim
            require(same, tower, "projection", f"without one, width must be embed_dim = {self.embed_dim}")


def upgrade_config(saved: Mapping[str, Any]) -> dict[str, Any]:
    """The content of an older folder's config.json, where the activation was one for both towers and the pixels' mean
    and standard deviation were fields of their own, as it is written today."""
    now = dict(saved)
    activation = {"activation": now.pop("activation")} if "activation" in now else {}
    for tower in ("vision", "text"):
        if isinstance(now.get(tower), Mapping):
            now[tower] = dict(now[tower]) | activation
    pixels = {name: now.pop(f"pixel_{name}") for name in ("mean", "std") if f"pixel_{name}" in now}
    return now | ({"pixels": pixels} if pixels else {})
