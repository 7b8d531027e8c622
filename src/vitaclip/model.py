"""A video model: an image-text backbone and the parts that teach it video. Which parts those are is a matter of the
config; a method such as Vita-CLIP (Wasim et al., CVPR 2023) is a recipe.

Axes: B videos, T frames, H x W pixels, L tokens of a frame, K classes, D embedding.
"""

import re
import warnings
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, wraps
from typing import Any, ParamSpec

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitaclip.backbones.hub import DEFAULT_BACKBONE
from vitaclip.backbones.loading import Backbone
from vitaclip.backbones.model import CLIP, without_values
from vitaclip.backbones.pixels import IMAGENET_PIXELS
from vitaclip.backbones.reading import StateFile
from vitaclip.backbones.tokenizer import Tokenizer
from vitaclip.backbones.transformer import Block
from vitaclip.backbones.vision import Trace
from vitaclip.data.transforms import FrameFit
from vitaclip.names import refuse_text
from vitaclip.parts.assembly import Context
from vitaclip.parts.config import ModelConfig
from vitaclip.parts.contract import (
    ContextKind,
    DropoutMasks,
    Head,
    HeadInputs,
    Part,
    Pool,
    encode_templates,
)
from vitaclip.parts.registry import find_part, read_settings
from vitaclip.runtime import RuntimeConfig, autocast, pick_precision
from vitaclip.saving.pretrained import Pretrained

P = ParamSpec("P")

TEMPERATURE = "head.logit_scale"
SMALL_VOCABULARY = 1000
"""A tokenizer of fewer entries has the words of a small world alone, such as the miniature's."""
TEXTS_AT_ONCE = 4096
"""Class names whose token embeddings are in memory at a time, outside of training."""


def grad_in_training(method: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """A model's method without gradients in evaluation mode, so that features which are kept hold no graph."""

    @wraps(method)
    def call(*arguments: P.args, **options: P.kwargs) -> Tensor:
        model: Any = arguments[0]
        with torch.set_grad_enabled(torch.is_grad_enabled() and model.training):
            return method(*arguments, **options)

    return call


@lru_cache(maxsize=16)  # each step of a training asks again
def _unread_words(tokenizer: Tokenizer, texts: tuple[str, ...]) -> list[str]:
    """Words that a tokenizer reads in pieces, if it has the words of a small world alone; else none."""
    if tokenizer.vocab_size >= SMALL_VOCABULARY:
        return []
    words = dict.fromkeys(re.findall(r"[^\W_]+", " ".join(texts)))
    return [word for word in words if len(tokenizer.encode(word)) > 1]


class VideoModel(Pretrained):
    """A backbone and its parts. Stateless in use: class names come in, class features come out, the caller keeps them.
    In evaluation mode, as models are loaded, nothing that it gives has a gradient; `model.train()` changes that.

    Attributes:
        context: what the image tower's blocks see beside the tokens of a frame.
        pool: makes the features of a video from the tokens of its frames.
        head: what videos are compared with, and how.
        backbone: the towers, which are frozen unless the config says otherwise.
        class_names: the classes it was trained on; the only ones that what is learned for each class can serve.

    >>> model, video = VideoModel.from_pretrained("miniature"), torch.randint(256, (2, 8, 3, 64, 64), dtype=torch.uint8)
    >>> model(video, model.encode_text(["red arrow moving left", "red arrow growing", "blue key growing"])).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        backbone: Backbone,
        config: ModelConfig,
        class_names: Sequence[str] = (),
        seed: int = 0,
        *,
        saved: Mapping[str, Tensor] | StateFile | None = None,
    ) -> None:
        """Build the parts on a backbone: from their start, whose chance `seed` decides, or with `saved` ones in them.
        Of a file, the shapes are compared first, so that one which claims enormous values is never read.

        Raises:
            ValueError: if a part asks for what the backbone lacks, if what is learned for each class is asked for
                without class names, or if the saved values do not fit.
        """
        super().__init__()
        self.config = config
        refuse_text(class_names, "class_names")
        self.class_names = tuple(class_names)
        self.fingerprint = backbone.fingerprint
        clip = backbone.clip
        clip.tokenizer = backbone.tokenizer
        if config.normalization == "imagenet":
            clip.set_pixels(IMAGENET_PIXELS)
        if saved is not None:
            self._check_sizes(clip, saved.shapes if isinstance(saved, StateFile) else saved)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            parts = self._build_parts(clip, fresh=saved is None)
        self.context: Context = parts["context"]
        self.pool: Pool = parts["pool"]
        self.head: Head = parts["head"]
        self.backbone: CLIP = clip.requires_grad_(False)
        clip.vision.requires_grad_(config.train in ("image", "both"))
        clip.text.requires_grad_(config.train in ("text", "both"))
        if not config.train_token_embedding:
            clip.text.token_embed.requires_grad_(False)
        self._check_needs()
        if saved is not None:
            for part in self.parts().values():
                part.to(self.device, self.dtype)
            self.load_state(saved.read() if isinstance(saved, StateFile) else saved)

    @grad_in_training
    def encode_video(self, video: Tensor, *, masks: DropoutMasks | None = None, normalize: bool = True) -> Tensor:
        """Embed videos.

        Args:
            video: (B, T, 3, H, W), uint8 pixels in [0, 255], or float pixels with the backbone's mean and standard
                deviation already taken out. Any T works.
            masks: of a training step whose pool has dropout; None: no dropout.
            normalize: give what the head compares; otherwise what the pool gives.

        Returns:
            (B, ...), for `logits`; (B, D) of unit length for most heads.

        >>> video = torch.randint(256, (2, 8, 3, 64, 64), dtype=torch.uint8)
        >>> VideoModel.from_pretrained("miniature").encode_video(video).shape
        torch.Size([2, 128])
        """
        return self.encode_features(self.tower_features(video), masks=masks, normalize=normalize)

    @grad_in_training
    def tower_features(self, video: Tensor) -> Tensor:
        """What the pool reads of the image tower (B, T, ...), of videos as `encode_video` takes them."""
        return self.pool.read(self.run_tower(video), self.backbone.vision)

    @grad_in_training
    def encode_features(
        self, tower_features: Tensor, *, masks: DropoutMasks | None = None, normalize: bool = True
    ) -> Tensor:
        """What `encode_video` gives, from the features (B, T, ...) that `tower_features` gives."""
        pooled: Tensor = self.pool(tower_features, self.backbone.vision, masks)
        return self.head.video_features(pooled, masks) if normalize else pooled

    def run_tower(self, video: Tensor) -> Sequence[Trace]:
        """What those of the image tower's blocks did that the pool reads, with videos as `encode_video` takes them."""
        if video.dim() != 5:
            raise ValueError(f"video of shape {tuple(video.shape)}: give (B, T, 3, H, W), for one video video[None]")
        tower, reads = self.backbone.vision, self.pool.reads

        def before(block: int, tokens: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            tokens = self.context[block].change_tokens(tokens)
            return tokens, self.context[block].groups(tower.frame_token(tokens))

        return deque(
            tower.run_blocks(self._first_tokens(video), before, all_tokens=reads.all_tokens), maxlen=reads.blocks
        )

    def _first_tokens(self, video: Tensor) -> Tensor:
        """What goes into the first block."""
        images = video if video.is_floating_point() else self.backbone.normalize_pixels(video)
        return self.context.input.change_tokens(self.backbone.vision.embed(images))

    @grad_in_training
    def encode_text(
        self, names: Sequence[str], templates: Sequence[str] | None = None, *, normalize: bool = True
    ) -> Tensor:
        """Embed class names: as the head has learned them, or in hand-written templates.

        All class names become features here, in training and in evaluation; `evaluation.class_texts` only chooses the
        templates. Words that the tower of a small world never read are warned of.

        Args:
            names: K class names; underscores count as blanks.
            templates: texts with one `{}` each, for the text tower. None: what the head has learned, or, if that is
                nothing, the templates of the config.
            normalize: give what the head compares. Averaged templates always are.

        Returns:
            (K, ...), for `logits`.

        Raises:
            ValueError: for no names, a name too long, or names that the head cannot serve.

        >>> VideoModel.from_pretrained("miniature").encode_text(["blue key growing", "blue key shrinking"]).shape
        torch.Size([2, 128])
        """
        refuse_text(names, "encode_text")
        refuse_text(templates, "encode_text, templates")
        if not names:
            raise ValueError("the list of class names is empty; give at least one")
        if len(names) > TEXTS_AT_ONCE and not torch.is_grad_enabled():
            chunks = [names[start : start + TEXTS_AT_ONCE] for start in range(0, len(names), TEXTS_AT_ONCE)]
            return torch.cat([self.encode_text(chunk, templates, normalize=normalize) for chunk in chunks])
        if templates is not None and not self.head.takes_templates:
            raise ValueError(f"model.head {self.head.name!r} reads no texts; leave the templates out")
        if warning := self.warn_of_words(names, templates):
            warnings.warn(warning, stacklevel=3)
        encoded = None if templates is not None else self.head.encode(names, self.backbone)
        if encoded is None:
            return encode_templates(self.backbone, names, templates or self.config.templates, self.head.combine)
        return self.head.class_features(encoded) if normalize else encoded

    def warn_of_words(self, names: Sequence[str], templates: Sequence[str] | None = None) -> str:
        """What to know of names whose words the text tower of a small world never read; empty if it reads all, or was
        trained on these names.

        >>> VideoModel.from_pretrained("miniature").warn_of_words(["blue key growing", "opening a door"])
        "this model knows a small synthetic world alone and never read 'opening', 'door': ..."
        """
        if self.head.replaces_texts and not templates:
            return ""
        unread = _unread_words(self.backbone.tokenizer, tuple(names))
        if unread and not self.is_zero_shot:
            foreign = tuple(name for name in names if self.head.own_number(name) is None)
            unread = _unread_words(self.backbone.tokenizer, foreign)
        if not unread:
            return ""
        more = f" and {len(unread) - 3} more words" if len(unread) > 3 else ""
        return (
            f"this model knows a small synthetic world alone and never read {', '.join(map(repr, unread[:3]))}{more}:"
            f" what it answers for names with them means nothing; for real videos take {DEFAULT_BACKBONE}"
        )

    @grad_in_training
    def logits(self, video_features: Tensor, class_features: Tensor) -> Tensor:
        """Logits (..., K) of videos, as `encode_video` gives them, for K classes, as `encode_text` does.

        >>> VideoModel.from_pretrained("miniature").logits(torch.eye(2, 128), torch.eye(3, 128)).argmax(dim=1)
        tensor([0, 1])
        """
        return self.head.logits(video_features, class_features)

    def forward(self, video: Tensor, class_features: Tensor) -> Tensor:
        """Logits (B, K) of videos (B, T, 3, H, W)."""
        return self.logits(self.encode_video(video), class_features)

    @property
    def image_size(self) -> int:
        """Side of the square frames that the model takes, in pixels."""
        return self.backbone.config.vision.image_size

    @property
    def frame_fit(self) -> FrameFit:
        """How frames come to that size, as the backbone was trained."""
        pixels = self.backbone.config.pixels
        return FrameFit(pixels.fit == "squash", pixels.interpolation)

    @property
    def sees_frames_alone(self) -> bool:
        """Whether what the pool reads of a frame is the same whatever its place and the other frames are."""
        kinds = [kind for kind in self.context.modules() if isinstance(kind, ContextKind)]
        return not self.pool.reads.neighbours and all(kind.frames_alone for kind in kinds)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.backbone.logit_scale.device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return self.backbone.logit_scale.dtype

    @property
    def is_zero_shot(self) -> bool:
        """Whether nothing was learned anywhere: the backbone as it is."""
        return self.config.train == "none" and not self.adapter_state().keys() - {TEMPERATURE}

    def prepare(self, runtime: RuntimeConfig) -> "VideoModel":
        """Compile the image tower, and compute its blocks twice in training, if the config says so; returns self."""
        if runtime.compile and "_first_tokens" not in vars(self):
            self._first_tokens = torch.compile(self._first_tokens)  # type: ignore[method-assign]
        for block in self.backbone.vision.blocks:
            assert isinstance(block, Block)
            block.recompute = runtime.checkpoint_activations
            if runtime.compile and block._compiled_call_impl is None:
                block.compile()
        in_int8 = pick_precision(runtime, self.device) == "int8"
        with torch.no_grad(), autocast(runtime, self.device):
            self.backbone.vision.quantize(self._see_noise if in_int8 else None)
            self.backbone.text.quantize(self._read_noise if in_int8 else None)
        return self

    def __getstate__(self) -> dict[str, Any]:
        """What a copy, or another process, gets: all but what was compiled."""
        compiled = ("_first_tokens", "_compiled_call_impl")
        return {name: value for name, value in vars(self).items() if name not in compiled}

    def _see_noise(self) -> None:
        """Embed a video whose frames are coarse and fine noise."""
        drawn, size = torch.Generator().manual_seed(0), self.image_size
        frames = [F.interpolate(torch.rand(1, 3, n, n, generator=drawn), size) for n in (2, 8, 32, size)]
        self.encode_video((255 * torch.cat(frames)).to(torch.uint8)[None])

    def _read_noise(self) -> None:
        """Embed texts of any tokens."""
        text = self.backbone.config.text
        ids = torch.randint(text.vocab_size, (8, text.context_length), generator=torch.Generator().manual_seed(0))
        self.backbone.encode_ids(ids, torch.full((8,), text.context_length - 1))

    def parts(self) -> dict[str, Part]:
        """The parts, by slot."""
        return {"context": self.context, "pool": self.pool, "head": self.head}

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that training changes, by name; those of the parts go first."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def adapter_params(self) -> dict[str, nn.Parameter]:
        """What trains of the parts, by name: all that trains but the backbone."""
        return {name: p for name, p in self.trainable_parameters().items() if not name.startswith("backbone.")}

    def trained_counts(self) -> dict[str, int]:
        """How many numbers train: by kind of context, of the pool and the head by their names, and of the backbone."""
        counts = Counter[str]()
        for name, parameter in self.trainable_parameters().items():
            slot, *path = name.split(".")
            kind = slot if slot == "backbone" else self.parts()[slot].name
            if slot == "context":  # context.input.KIND or context.blocks.NUMBER.KIND
                kind = path[2 if path[0] == "blocks" else 1]
            counts["logit_scale" if name == TEMPERATURE else kind] += parameter.numel()
        return dict(counts)

    def adapter_state(self) -> dict[str, Tensor]:
        """All values of the parts, by name."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith("backbone.")}

    def learned_state(self) -> dict[str, Tensor]:
        """All values that training may change: of the parts, and of the backbone if a tower trains."""
        return self.adapter_state() if self.config.train == "none" else dict(self.state_dict())

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Put saved values in: all those of the parts, and of the backbone either all or none.

        Raises:
            ValueError: if a tensor is missing, unknown or of another shape.
        """
        whole = any(name.startswith("backbone.") for name in state)
        _check_shapes(self.state_dict() if whole else self.adapter_state(), state)
        self.load_state_dict(dict(state), strict=False)

    def _build_parts(self, clip: CLIP, *, fresh: bool) -> dict[str, Any]:
        """The context, the pool and the head of the config, in the order in which their start is drawn."""
        config, tower = self.config, clip.config.vision
        pool, settings = self._chosen("pool")
        head, head_settings = self._chosen("head")
        context = Context(config, tower)
        pool = pool(settings, tower, config.num_frames, clip.config.embed_dim)
        inputs = HeadInputs(clip, self.class_names, config.templates, pool.shape, pool.text_space_remedy, fresh)
        return {"context": context, "pool": pool, "head": head(head_settings, inputs)}

    def _chosen(self, slot: str) -> tuple[type[Any], Any]:
        """The class and the settings of the part that the config has in a slot."""
        settings = dict(getattr(self.config, slot))
        name = settings.pop("name")
        return find_part(slot, name), read_settings(slot, name, settings)

    def _check_sizes(self, clip: CLIP, saved: Mapping[str, Tensor]) -> None:
        """Raise ValueError if saved values, or what stands for them, are not those of the config. Nothing is in memory
        yet: a config that lies about its sizes costs none."""
        with without_values():
            parts = self._build_parts(clip, fresh=False)
        own = {f"{slot}.{name}": t for slot, part in parts.items() for name, t in part.state_dict().items()}
        _check_shapes(own, saved)

    def _check_needs(self) -> None:
        """Raise ValueError if a part asks for what the backbone lacks."""
        depth = self.backbone.config.vision.depth
        if self.pool.reads.blocks > depth:
            raise ValueError(
                f"model.pool {self.pool.name!r} reads the last {self.pool.reads.blocks} blocks, this backbone has"
                f" {depth}; let it read fewer, or take another backbone"
            )
        for part in self.modules():
            if isinstance(part, Part) and (lacking := part.requires - self.backbone.offers):
                raise ValueError(
                    f"model.{part.slot} {part.name!r} needs a backbone with {', '.join(sorted(lacking))}, which"
                    f" {self.config.backbone!r} does not have; choose another part or another backbone"
                )


def _check_shapes(own: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    """Raise ValueError if saved values have other names or shapes than a model's own."""
    wrong = [n for n in own.keys() | saved.keys() if n not in saved or n not in own or own[n].shape != saved[n].shape]
    if wrong:
        raise ValueError(
            f"these values do not fit the model's config: {len(wrong)} are missing, unknown or of another shape"
            f" {sorted(wrong)[:3]}"
        )
