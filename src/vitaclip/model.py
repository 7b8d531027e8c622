"""Vita-CLIP (Wasim et al., CVPR 2023, arXiv 2304.03307): a frozen CLIP and the prompts that teach it video.

Axes: B videos, T frames, H x W pixels, N patches, C image width, K classes, D embedding.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from huggingface_hub import HfApi
from torch import Tensor, nn

from vitaclip.clip import CLIP
from vitaclip.clip.transformer import Block
from vitaclip.config import ModelConfig, RuntimeConfig, SamplingConfig, TextPromptConfig, VideoPromptConfig
from vitaclip.files import one_line, write_torch
from vitaclip.names import text_key
from vitaclip.prompts import ClassVectors, PromptLayout, Prompts, TextPrompts, VideoPrompts, lay_out
from vitaclip.untrusted import reading
from vitaclip.weights.architecture import HEAD_WIDTH, Activation
from vitaclip.weights.backbone import Backbone, Origin, build_backbone, load_backbone, locate
from vitaclip.weights.fingerprint import fingerprint
from vitaclip.weights.formats import read_clip
from vitaclip.weights.hub import find_weights
from vitaclip.weights.model_folder import SavedModel, find_model_folder, read_model_folder, write_model_folder
from vitaclip.weights.published import Published, name_buffers, to_published
from vitaclip.weights.shipped import shipped_model

TEXTS_AT_ONCE = 4096
"""Class names whose token embeddings are in memory at a time, outside of training."""


class VitaCLIP(nn.Module):
    """CLIP plus prompts. Stateless in use: class names come in, text features come out, the caller keeps them.

    Attributes:
        clip: the towers, which are frozen unless the config says otherwise.
        prompts: all that trains beside a frozen CLIP.
        class_names: the classes it was trained on; the only ones that a per-class context or a linear probe can serve.
        origin: the CLIP that its towers started from; None if they were trained and nothing noted from what.
    """

    def __init__(
        self,
        backbone: Backbone,
        config: ModelConfig,
        class_names: Sequence[str] = (),
        seed: int = 0,
        *,
        saved: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Build the prompts on a backbone: from their start, whose chance `seed` decides, or with `saved` ones in it.

        Raises:
            ValueError: if what is learned for each class is asked for without class names, if the words that the
                context starts from do not make `num_context` tokens, or if the saved prompts do not fit.
        """
        super().__init__()
        self.config = config
        self.class_names = tuple(class_names)
        own = list(enumerate(self.class_names))
        self._own_numbers = {text_key(name.replace("_", " ")): n for n, name in own} | {name: n for n, name in own}
        self.tokenizer = backbone.tokenizer
        self.fingerprint = backbone.fingerprint
        self.origin: Origin | None = Origin(config.backbone, backbone.fingerprint)
        self.clip: CLIP = backbone.clip.requires_grad_(config.train_towers)
        self.clip.text.requires_grad_(config.train_towers and not config.text.linear)  # vectors in place of texts
        self.clip.logit_scale.requires_grad_(False)  # the prompts have the one that is used
        # Saved prompts are put into a model without memory: a config that lies about their sizes then costs none.
        place = nullcontext() if saved is None else torch.device("meta")
        with torch.random.fork_rng(devices=[]), place:
            torch.manual_seed(seed)
            video = VideoPrompts(config.video, self.clip.config.vision)
            self.prompts = Prompts(video, self._build_text_prompts(saved), self.clip.logit_scale)
        self._last_layout: tuple[tuple[str, ...], PromptLayout] | None = None
        if saved is not None:
            self.load_prompts(saved)

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
        for block, block_prompts, keep in zip(vision.blocks, prompts.blocks, vision.kept, strict=True):
            x = block(x, context=block_prompts(x[:, :, 0]), keep=keep)
        features = vision.project(x[:, :, 0]).mean(dim=1)
        return unit(features) if normalize else features

    def encode_text(
        self, names: Sequence[str], templates: Sequence[str] | None = None, *, normalize: bool = True
    ) -> Tensor:
        """Embed class names: in the learned context, in hand-written templates (mean of unit vectors), or, by a linear
        probe, as the vectors that were learned in their place.

        Args:
            names: K class names; underscores count as blanks.
            templates: texts with one `{}` each, for the frozen text tower. None: what the model has learned for texts,
                or, if that is nothing, the templates of its config.
            normalize: give vectors of unit length. Averaged templates always have it.

        Returns:
            (K, D).

        Raises:
            ValueError: for no names, a name too long, or names that what is learned for each class does not serve.
        """
        if not names:
            raise ValueError("the list of class names is empty; give at least one")
        if len(names) > TEXTS_AT_ONCE and not torch.is_grad_enabled():
            parts = [names[start : start + TEXTS_AT_ONCE] for start in range(0, len(names), TEXTS_AT_ONCE)]
            return torch.cat([self.encode_text(part, templates, normalize=normalize) for part in parts])
        prompts = self.prompts.text
        if templates is not None or prompts is None:
            return self._encode_templates(names, templates or self.config.text.templates)
        places = None
        if self.config.text.of_own_classes:
            places = self._own_places(names)
        if isinstance(prompts, ClassVectors):
            features = prompts(places)
        else:
            layout = self._lay_out(tuple(names))
            embeddings = prompts(layout, self.clip.text.token_embed, places)
            features = self.clip.text(embeddings, layout.end)
        return unit(features) if normalize else features

    def forward(self, video: Tensor, text_features: Tensor) -> Tensor:
        """Logits (B, K) of videos (B, T, 3, H, W) for the text features (K, D) of unit length."""
        return self.compare(self.encode_video(video), text_features)

    def compare(self, features: Tensor, text_features: Tensor) -> Tensor:
        """Logits (..., K) of video embeddings (..., D) for text features (K, D), both of unit length.

        Compared in float32 also under autocast: in bfloat16 neighbouring logits of many classes would tie.
        """
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

    @property
    def is_plain(self) -> bool:
        """Whether nothing was learned anywhere: CLIP as it is."""
        return not self.has_prompts and not self.config.train_towers

    @property
    def has_prompts(self) -> bool:
        """Whether there is anything but CLIP: prompts, a learned context, a linear probe."""
        return self.prompts.text is not None or any(True for _ in self.prompts.video.parameters())

    def prepare(self, runtime: RuntimeConfig) -> "VitaCLIP":
        """Have the image tower's blocks compiled, or computed twice in training, as the config says; returns itself."""
        for block in self.clip.vision.blocks:
            assert isinstance(block, Block)
            block.recompute = runtime.checkpoint_activations
            if runtime.compile and block._compiled_call_impl is None:
                block.compile()
        return self

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that training changes, by name."""
        towers = {f"clip.{name}": p for name, p in self.clip.named_parameters()}
        return {name: p for name, p in (dict(self.prompts.named_parameters()) | towers).items() if p.requires_grad}

    def trained_counts(self) -> dict[str, int]:
        """How many numbers train, by kind of prompt, and of the towers."""
        towers = sum(p.numel() for p in self.clip.parameters() if p.requires_grad)
        return self.prompts.trained_counts() | {"towers": towers}

    @property
    def text_trains(self) -> bool:
        """Whether training changes the text features of a name."""
        return self.prompts.text is not None or self.config.train_towers

    def save_pretrained(self, folder: str | Path, *, embed_backbone: bool = False) -> Path:
        """Write a model folder: the prompts, a config that names the backbone with its fingerprint, a model card.

        Args:
            folder: where to.
            embed_backbone: put the towers and the tokenizer in as well, so that the folder is all one needs. Towers
                that were trained are always put in.
        """
        saved = SavedModel(self.config, self.class_names, self.fingerprint, self.origin, self.prompts.state_dict())
        embedded = None
        if embed_backbone or self.config.train_towers:
            embedded = Backbone(self.clip, self.tokenizer, self.config.backbone, fingerprint(self.clip))
        return write_model_folder(Path(folder), saved, embedded)

    def save_published(self, file: str | Path) -> Path:
        """Write a checkpoint under the key names of the published Vita-CLIP code, which its `--checkpoint_path` loads.

        Raises:
            ValueError: if there are no prompts to write, if there is a linear probe, or if the backbone is of a kind
                that the format cannot tell apart from OpenAI's: it holds neither activation nor heads.
        """
        if not self.has_prompts:
            raise ValueError("a plain CLIP has no prompts, so there is no published checkpoint to write")
        if self.config.text.linear:
            raise ValueError("the published format has no place for a linear probe's vectors; save a folder instead")
        config = self.clip.config
        of_64 = all(tower.width == HEAD_WIDTH * tower.heads for tower in (config.vision, config.text))
        if config.activation != "quick_gelu" or not of_64:
            raise ValueError(
                f"this backbone has {config.activation} and heads of {config.vision.width // config.vision.heads}; the"
                f" published format tells neither and means quick_gelu and {HEAD_WIDTH}: save a folder instead"
            )
        state = to_published(self.clip.state_dict(), self.prompts.state_dict())
        if self.prompts.text is not None:
            state |= name_buffers(
                self.class_names,
                self.tokenizer,
                self.clip.text.token_embed.weight.detach(),
                num_context=self.config.text.num_context,
                context_length=self.clip.config.text.context_length,
            )
        write_torch(file, {"model": {f"module.{name}": tensor.contiguous() for name, tensor in state.items()}})
        return Path(file)

    def push_to_hub(self, repository: str, *, private: bool = False, embed_backbone: bool = False) -> str:
        """Upload the model folder to the Hugging Face hub, as the user that `hf auth login` logged in.

        Args:
            repository: `owner/name`; made if it does not exist.
            private: whether a new one is hidden from others.
            embed_backbone: see `save_pretrained`. Without it a backbone that is a local path is refused, since nobody
                else could load the model.

        Returns:
            The address of the upload.

        Raises:
            ValueError: if the backbone is a local path and is not embedded.
        """
        if not embed_backbone and Path(self.config.backbone).exists():
            raise ValueError(
                f"the backbone {self.config.backbone!r} is a path on this machine, which others do not have;"
                " pass embed_backbone=True"
            )
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder, embed_backbone=embed_backbone)
            api = HfApi()
            api.create_repo(repository, private=private, exist_ok=True)
            return str(
                api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Upload a vitaclip model")
            )

    @classmethod
    def from_backbone(
        cls, source: str | Path, *, num_frames: int = 8, activation: Activation | None = None, image_size: int = 0
    ) -> "VitaCLIP":
        """Plain CLIP as a video model: no prompt anywhere, the mean of its frame features (the frozen baseline).

        Frames are taken from all over the video, one from each of `num_frames` equal parts. See `load_backbone` for
        the other arguments.
        """
        backbone = load_backbone(source, activation=activation, image_size=image_size)
        return cls._plain(backbone, num_frames, image_size)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        backbone: str | Path | None = None,
        class_names: Sequence[str] = (),
        num_frames: int = 8,
        activation: Activation | None = None,
    ) -> "VitaCLIP":
        """Load a model: a trained one, or any CLIP, which then stands as it is (`from_backbone`).

        Args:
            source: `miniature` (shipped with the package), a model folder, a run's folder with one in `model/`, a
                repository of the Hugging Face hub with a model folder or a CLIP in it, a published Vita-CLIP
                checkpoint, or the path of a CLIP in any format that `load_backbone` knows.
            backbone: where the backbone of a model folder is now, if not where it was when the model was saved.
            class_names: the classes of a published checkpoint, in the order of its training, which it does not hold;
                needed if it has a context for each class.
            num_frames: frames that a plain CLIP looks at; a trained model brings its own number.
            activation: for a CLIP whose weights do not tell theirs.

        Raises:
            ValueError: if there is no model there, or if its backbone is not the one it was trained on.
        """
        path = shipped_model(str(source)) or locate(str(source))
        if folder := find_model_folder(path):
            return cls._from_folder(folder, backbone)
        if backbone is not None:
            raise ValueError(f"{source}: no model folder, so there is no other backbone to give it")
        if path.is_dir() and find_weights(path) is None:
            raise ValueError(
                f"{path}: neither a model folder (config.json and prompts.safetensors), nor a run with one in model/,"
                " nor a folder with the weights of a CLIP"
            )
        weights = read_clip(path, activation)
        loaded = build_backbone(weights, str(source))
        if weights.trained is None or not weights.trained.has_prompts:
            return cls._plain(loaded, num_frames)
        return cls._from_published(loaded, weights.trained, class_names)

    @classmethod
    def _plain(cls, backbone: Backbone, num_frames: int, image_size: int = 0) -> "VitaCLIP":
        config = ModelConfig(
            backbone=backbone.name,
            image_size=image_size,
            video=VideoPromptConfig(num_frames=num_frames, num_global=0, local=False, summary=False, time=False),
            text=TextPromptConfig(num_context=0),
            sampling=SamplingConfig(kind="segments"),
        )
        return cls(backbone, config).eval()

    @classmethod
    def _from_folder(cls, folder: Path, backbone: str | Path | None) -> "VitaCLIP":
        saved = read_model_folder(folder)
        config = saved.config if backbone is None else replace(saved.config, backbone=str(backbone))
        loaded = load_backbone(config.backbone, image_size=config.image_size)
        if loaded.fingerprint != saved.fingerprint:
            raise ValueError(
                f"{folder}: trained on a backbone with fingerprint {saved.fingerprint}, but"
                f" {config.backbone!r} has {loaded.fingerprint}; use the backbone it was trained on"
            )
        with reading(folder):
            model = cls(loaded, config, saved.class_names, saved=saved.prompts)
        if config.train_towers:
            model.origin = saved.origin
        return model.eval()

    @classmethod
    def _from_published(cls, backbone: Backbone, trained: Published, class_names: Sequence[str]) -> "VitaCLIP":
        context = trained.prompts_state.get("text.context")
        if trained.text.per_class and context is not None and len(class_names) != len(context):
            raise ValueError(
                f"{backbone.name}: has a context for each of {len(context)} classes, but {len(class_names)} class names"
                " were given; give its class names in the order of its training"
            )
        config = ModelConfig(backbone=backbone.name, video=trained.video, text=trained.text)
        return cls(backbone, config, class_names, saved=trained.prompts_state).eval()

    def load_prompts(self, state: Mapping[str, Tensor]) -> None:
        """Put saved prompts in; every key must fit.

        Raises:
            ValueError: if a tensor is missing, unknown or of another shape.
        """
        try:
            like = self.prompts.logit_scale
            own = {name: tensor.detach().to(like.device, like.dtype, copy=True) for name, tensor in state.items()}
            self.prompts.load_state_dict(own, assign=True)
        except RuntimeError as error:
            raise ValueError(f"these prompts do not fit the model's config: {one_line(error)}") from error

    # ---------------------------------------------------------------------------------------------- helpers

    def _build_text_prompts(self, saved: Mapping[str, Tensor] | None) -> TextPrompts | ClassVectors | None:
        config = self.config.text
        if config.of_own_classes and not self.class_names:
            field = "linear" if config.linear else "per_class"
            raise ValueError(
                f"a {config.of_own_classes} per class needs the class names; give them, or set text.{field} = false"
            )
        if config.linear:
            return ClassVectors(self._start_of_vectors(computed=saved is None))
        if config.num_context == 0:
            return None
        start = self._context_from_words() if saved is None else None
        return TextPrompts(config, self.clip.config.text, len(self.class_names), start)

    @torch.no_grad()
    def _start_of_vectors(self, *, computed: bool) -> Tensor:
        """A linear probe starts where CLIP is without training: at the features (K, D) of the classes' texts. They are
        not computed where saved vectors will take their place.
        """
        if computed:
            return self._encode_templates(self.class_names, self.config.text.templates)
        return torch.zeros(len(self.class_names), self.clip.config.embed_dim)

    def own_number(self, name: str) -> int | None:
        """The number of the model's own class that has this name, or one that the text tower reads alike; or None."""
        return self._own_numbers.get(name, self._own_numbers.get(text_key(name.replace("_", " "))))

    def _own_places(self, names: Sequence[str]) -> Tensor:
        """The numbers (K,) of names among the model's own classes.

        Raises:
            ValueError: if one is not among them.
        """
        own = [number for number in map(self.own_number, names) if number is not None]
        if len(own) < len(names):
            raise ValueError(
                f"this model learned one {self.config.text.of_own_classes} for each of its own"
                f" {len(self.class_names)} classes, which cannot serve other names;"
                " pass templates, e.g. templates=['a video of {}.'] (--template on the command line), to use the frozen"
                " text tower"
            )
        return torch.tensor(own, device=self.device)

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

    def _lay_out(self, names: tuple[str, ...]) -> PromptLayout:
        """The layout of names, on the model's device; the last one is kept, since every training step asks again."""
        if self._last_layout is None or self._last_layout[0] != names:
            context_length = self.clip.config.text.context_length
            self._last_layout = names, lay_out(names, self.tokenizer, self.config.text, context_length)
        layout = self._last_layout[1].to(self.device)
        self._last_layout = names, layout
        return layout

    def _encode_templates(self, names: Sequence[str], templates: Sequence[str]) -> Tensor:
        """Mean over templates of unit text features, of unit length again: (K, D)."""
        device = self.clip.logit_scale.device
        total = torch.zeros((), device=device)
        for template in templates:
            if template.count("{}") != 1:
                raise ValueError(f"template {template!r} must hold {{}} exactly once, where the class name goes")
            texts = [template.replace("{}", name.replace("_", " ")) for name in names]
            tokens = self.tokenizer(texts, self.clip.config.text.context_length)
            features = self.clip.encode_text(tokens.ids.to(device), tokens.end.to(device))
            total = total + unit(features)
        return unit(total)


def unit(features: Tensor) -> Tensor:
    """Vectors (..., D) of unit length, in float32 at least."""
    return F.normalize(features.to(torch.promote_types(features.dtype, torch.float32)), dim=-1)
