"""Vita-CLIP (Wasim et al., CVPR 2023, arXiv 2304.03307): a frozen CLIP and the prompts that teach it video.

Axes: B videos, T frames, H x W pixels, N patches, C image width, K classes, D embedding.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vitaclip.clip import CLIP
from vitaclip.config import (
    ModelConfig,
    SamplingConfig,
    TextPromptConfig,
    VideoPromptConfig,
    from_dict,
    to_dict,
)
from vitaclip.files import one_line, write_json, write_safetensors
from vitaclip.prompts import Prompts, TextPrompts, VideoPrompts, lay_out
from vitaclip.weights.backbone import Backbone, load_backbone
from vitaclip.weights.shipped import shipped_backbone, shipped_model

CONFIG_FILE, PROMPTS_FILE = "config.json", "prompts.safetensors"


class VitaCLIP(nn.Module):
    """CLIP plus prompts. Stateless in use: class names come in, text features come out, the caller keeps them.

    Attributes:
        clip: the frozen towers.
        prompts: all that trains.
        class_names: the classes it was trained on; the only ones that a per-class context can serve.
    """

    def __init__(self, backbone: Backbone, config: ModelConfig, class_names: Sequence[str] = (), seed: int = 0) -> None:
        """Build the prompts on a backbone; `seed` decides their random start.

        Raises:
            ValueError: if a per-class context is asked for without class names, or if the words that the context
                starts from do not make `num_context` tokens.
        """
        super().__init__()
        self.config = config
        self.class_names = tuple(class_names)
        self.tokenizer = backbone.tokenizer
        self.fingerprint = backbone.fingerprint
        self.clip: CLIP = backbone.clip.requires_grad_(False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            video = VideoPrompts(config.video, self.clip.config.vision)
            self.prompts = Prompts(video, self._build_text_prompts(), self.clip.logit_scale)

    # ------------------------------------------------------------------------------------------------ the method

    def encode_video(self, video: Tensor, *, normalize: bool = True) -> Tensor:
        """Embed videos (paper, section 3.2).

        Args:
            video: (B, T, 3, H, W), uint8 pixels in [0, 255], or float pixels with the backbone's mean and standard
                deviation already taken out. Any T works.
            normalize: give vectors of unit length.

        Returns:
            (B, D).
        """
        if video.dim() != 5:
            raise ValueError(f"video of shape {tuple(video.shape)}: give (B, T, 3, H, W), for one video video[None]")
        vision, prompts = self.clip.vision, self.prompts.video
        if not video.is_floating_point():
            video = self.clip.normalize_pixels(video)
        x = vision.norm_pre(prompts.add_time(vision.embed(video)))
        for block, block_prompts in zip(vision.blocks, prompts.blocks, strict=True):
            x = block(x, context=block_prompts(x[:, :, 0]))
        features = vision.project(x[:, :, 0]).mean(dim=1)
        return unit(features) if normalize else features

    def encode_text(
        self, names: Sequence[str], templates: Sequence[str] | None = None, *, normalize: bool = True
    ) -> Tensor:
        """Embed class names: in the learned context, or in hand-written templates (mean of unit vectors).

        Args:
            names: K class names; underscores count as blanks.
            templates: texts with one `{}` each, for the frozen text tower. None: the learned context if the model
                has one, else the templates of its config.
            normalize: give vectors of unit length. Averaged templates always have it.

        Returns:
            (K, D).

        Raises:
            ValueError: for no names, a name too long, or names that a per-class context was not trained on.
        """
        if templates is not None or self.prompts.text is None:
            return self._encode_templates(names, templates or self.config.text.templates)
        if self.config.text.per_class and tuple(names) != self.class_names:
            raise ValueError(
                "this model learned one context for each of its own"
                f" {len(self.class_names)} classes, which cannot serve other names;"
                " pass templates, e.g. templates=['a video of {}.'], to use the frozen text tower"
            )
        layout = lay_out(names, self.tokenizer, self.config.text, self.clip.config.text.context_length)
        layout = layout.to(self.device)
        embeddings = self.prompts.text(layout, self.clip.text.token_embed)
        features = self.clip.text(embeddings, layout.end)
        return unit(features) if normalize else features

    def forward(self, video: Tensor, text_features: Tensor) -> Tensor:
        """Logits (B, K) of videos (B, T, 3, H, W) for the text features (K, D) of unit length.

        Compared in float32 also under autocast: in bfloat16 neighbouring logits of many classes would tie.
        """
        features = self.encode_video(video)
        with torch.autocast(features.device.type, enabled=False):
            return self.prompts.logit_scale.exp() * features @ text_features.T

    # ------------------------------------------------------------------------------------------- in and out

    @property
    def image_size(self) -> int:
        """Side of the square frames that the model takes, in pixels."""
        return self.clip.config.vision.image_size

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.prompts.logit_scale.device

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that training changes, by name."""
        return {name: p for name, p in self.prompts.named_parameters() if p.requires_grad}

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write a model folder: the prompts, and a config that names the backbone with its fingerprint.

        A backbone folder is named by its full path, so that the model loads from any working directory.
        """
        folder = Path(folder)
        backbone = self.config.backbone
        if not shipped_backbone(backbone):
            backbone = str(Path(backbone).resolve())
        write_safetensors(folder / PROMPTS_FILE, self.prompts.state_dict())
        write_json(
            folder / CONFIG_FILE,
            {
                "model": to_dict(replace(self.config, backbone=backbone)),
                "backbone_fingerprint": self.fingerprint,
                "class_names": list(self.class_names),
            },
        )
        return folder

    @classmethod
    def from_backbone(cls, name_or_folder: str | Path, *, num_frames: int = 8) -> "VitaCLIP":
        """Plain CLIP as a video model: no prompt anywhere, the mean of its frame features (the frozen baseline).

        Frames are taken from all over the video, one from each of `num_frames` equal parts.
        """
        config = ModelConfig(
            backbone=str(name_or_folder),
            video=VideoPromptConfig(num_frames=num_frames, num_global=0, local=False, summary=False, time=False),
            text=TextPromptConfig(num_context=0),
            sampling=SamplingConfig(kind="segments"),
        )
        return cls(load_backbone(name_or_folder), config).eval()

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path, *, backbone: str | Path | None = None) -> "VitaCLIP":
        """Load a model: `miniature` (shipped with the package) or a folder written by `save_pretrained`.

        Args:
            name_or_folder: the model.
            backbone: where its backbone is now, if not where it was when the model was saved.

        Raises:
            ValueError: if there is no model there, or if its backbone is not the one it was trained on.
        """
        folder = shipped_model(str(name_or_folder)) or Path(name_or_folder)
        if not (folder / CONFIG_FILE).is_file() or not (folder / PROMPTS_FILE).is_file():
            raise ValueError(
                f"{folder}: no {CONFIG_FILE} and {PROMPTS_FILE} in it; give a model folder (of a run: RUN/model)"
                " or the name 'miniature'"
            )
        try:
            saved = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
            state = load_file(folder / PROMPTS_FILE)
            config = from_dict(ModelConfig, saved["model"])
        except (json.JSONDecodeError, SafetensorError, KeyError) as error:
            raise ValueError(f"{folder}: damaged ({one_line(error)}); copy it again") from error
        if backbone is not None:
            config = replace(config, backbone=str(backbone))
        loaded = load_backbone(config.backbone)
        if loaded.fingerprint != saved["backbone_fingerprint"]:
            raise ValueError(
                f"{folder}: trained on a backbone with fingerprint {saved['backbone_fingerprint']}, but"
                f" {config.backbone!r} has {loaded.fingerprint}; use the backbone it was trained on"
            )
        model = cls(loaded, config, saved["class_names"])
        model.load_prompts(state)
        return model.eval()

    def load_prompts(self, state: dict[str, Tensor]) -> None:
        """Put saved prompts in; every key must fit.

        Raises:
            ValueError: if a tensor is missing, unknown or of another shape.
        """
        try:
            self.prompts.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"these prompts do not fit the model's config: {one_line(error)}") from error

    # ---------------------------------------------------------------------------------------------- helpers

    def _build_text_prompts(self) -> TextPrompts | None:
        config = self.config.text
        if config.num_context == 0:
            return None
        if config.per_class and not self.class_names:
            raise ValueError("a context per class needs the class names; give them, or set text.per_class = false")
        return TextPrompts(config, self.clip.config.text, len(self.class_names), self._context_from_words())

    def _context_from_words(self) -> Tensor | None:
        """Token embeddings (M, W) of the words that the context starts from."""
        config = self.config.text
        if not config.init_words:
            return None
        ids = self.tokenizer.encode(config.init_words.replace("_", " "))
        if len(ids) != config.num_context:
            raise ValueError(
                f"TextPromptConfig.init_words = {config.init_words!r} makes {len(ids)} tokens;"
                f" set num_context = {len(ids)}"
            )
        return self.clip.text.token_embed.weight[ids].detach()

    def _encode_templates(self, names: Sequence[str], templates: Sequence[str]) -> Tensor:
        """Mean over templates of unit text features, of unit length again: (K, D)."""
        if not names:
            raise ValueError("the list of class names is empty; give at least one")
        total = torch.zeros((), device=self.device)
        for template in templates:
            if template.count("{}") != 1:
                raise ValueError(f"template {template!r} must hold {{}} exactly once, where the class name goes")
            texts = [template.replace("{}", name.replace("_", " ")) for name in names]
            tokens = self.tokenizer(texts, self.clip.config.text.context_length)
            features = self.clip.encode_text(tokens.ids.to(self.device), tokens.end.to(self.device))
            total = total + unit(features)
        return unit(total)


def unit(features: Tensor) -> Tensor:
    """Vectors (..., D) of unit length, in float32 at least."""
    return F.normalize(features.to(torch.promote_types(features.dtype, torch.float32)), dim=-1)
