"""Which parts a model is made of. Nothing here imports torch until a config is made."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from vitaclip.data.config import DataConfig, SamplingConfig
from vitaclip.settings import MAX_IMAGE_SIZE, MAX_TOKENS, Config, Template, bounds, require


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Config):
    """A backbone, the parts that are built on it, and what of it trains."""

    backbone: str = "miniature"
    """The image-text model: `miniature` (shipped, offline), a repository of the Hugging Face hub such as
    openai/clip-vit-base-patch16, or a path: folder or weight file of transformers, open_clip, OpenAI, the published
    Vita-CLIP code, or of `vitaclip convert`."""
    image_size: Annotated[int, bounds(ge=0, le=MAX_IMAGE_SIZE)] = 0
    """Side of the square frames in pixels, a multiple of the patch size; the backbone's position embeddings are
    resampled if it is not their own. 0: the backbone's own."""
    train: Literal["none", "image", "text", "both"] = "none"
    """Which of the backbone's towers train beside the parts. Checkpoints and the model folder then hold the
    backbone."""
    train_token_embedding: bool = True
    """Whether the embedding of the text tower's tokens trains with that tower. ViFi-CLIP leaves it as it is."""
    normalization: Literal["backbone", "imagenet"] = "backbone"
    """Mean and standard deviation taken out of the pixels: those the backbone was trained with, or ImageNet's, with
    which X-CLIP and ViFi-CLIP tune CLIP's towers."""
    num_frames: Annotated[int, bounds(ge=1, le=MAX_TOKENS)] = 8
    """T, the frames of a training clip. At test any number works: what is learned for each frame is interpolated."""
    context: dict[str, Any] = field(default_factory=lambda: {"global": {}, "local": {}, "summary": {}, "time": {}})
    """What the image tower's blocks see beside a frame's own tokens: kinds by name with their settings, such as
    {global: {count: 8}, time: {}}. On the command line --model.context.global.count 8, and --model.context.local null
    leaves a kind out. {}: none. `vitaclip list parts` shows the kinds."""
    train_cls_proj: bool = True
    """Train the projection of the frame tokens that feeds local and summary tokens. The published code leaves it
    at its random start; False does the same."""
    centre: bool = True
    """Take the mean over the clip's frames out of the frame tokens before that projection: otherwise nearly all of a
    local or summary token is what the frames have in common, and the motion is lost in it (docs/ablation.md). False as
    published."""
    pool: dict[str, Any] | str = field(default_factory=lambda: {"name": "mean"})
    """How the tokens of a clip's frames become the features of the video: a name, or {name: ..., setting: ...}."""
    head: dict[str, Any] | str = field(default_factory=lambda: {"name": "learned_text"})
    """What videos are compared with: learned_text (a context of learned tokens beside each class name), templates, or
    linear (a vector for each class); a name, or {name: learned_text, num_context: 8, per_class: false}."""
    templates: tuple[Template, ...] = ("a video of {}.",)
    """Hand-written texts for names that the head learned nothing for; their unit vectors are averaged."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """Which frames it is trained and tested on; travels with the model."""

    def __post_init__(self) -> None:
        from vitaclip.parts.registry import find_part, resolve_many, resolve_one

        super().__post_init__()
        require(len(self.templates) > 0, self, "templates", "give at least one template such as 'a video of {}.'")
        object.__setattr__(self, "context", resolve_many("context", self.context))
        for slot in ("pool", "head"):
            object.__setattr__(self, slot, resolve_one(slot, getattr(self, slot)))
        assert isinstance(self.head, dict)
        reads_texts = not find_part("head", self.head["name"]).replaces_texts
        remedy = "this model.head learns in place of texts, so that no text trains; set image or none"
        require(reads_texts or self.train not in ("text", "both"), self, "train", remedy)

    @property
    def video_is_frozen(self) -> bool:
        """Whether nothing that trains changes what the image tower makes of a video."""
        return not self.context and self.train in ("none", "text")


def check_feature_cache(data: DataConfig, model: ModelConfig) -> None:
    """Raise ValueError for a feature cache beside a model whose features of a video change in training."""
    remedy = (
        "what trains here changes what the image tower makes of a video, so that it cannot be kept; set model.context ="
        " {} and model.train = none or text, or leave it empty"
    )
    require(not data.feature_cache or model.video_is_frozen, data, "feature_cache", remedy)
