"""The ways of a model to disk and back: model folders, the hub, published checkpoints."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import torch
from torch import Tensor, nn

from vitaclip.backbones.config import Activation
from vitaclip.backbones.families.family import Trained
from vitaclip.backbones.families.vitaclip import check_writable, name_buffers, to_published
from vitaclip.backbones.hub import find_weights, locate
from vitaclip.backbones.loading import Backbone, build_backbone, fingerprint, load_backbone, read_clip
from vitaclip.backbones.model import CLIP
from vitaclip.data.config import SamplingConfig
from vitaclip.files import atomic_write
from vitaclip.names import refuse_text
from vitaclip.parts.config import ModelConfig
from vitaclip.parts.contract import Head
from vitaclip.parts.registry import context_look
from vitaclip.saving.model_folder import SavedModel, find_model_folder, read_model_folder, write_model_folder
from vitaclip.settings import from_dict
from vitaclip.untrusted import reading


class Pretrained(nn.Module):
    """A model that can be saved and loaded."""

    config: ModelConfig
    class_names: tuple[str, ...]
    fingerprint: str
    backbone: CLIP
    head: Head
    adapter_state: Callable[[], dict[str, Tensor]]
    load_state: Callable[[Mapping[str, Tensor]], None]

    @property
    def in_words(self) -> dict[str, str]:
        """The backbone and the method, for readers of results.

        >>> from vitaclip import VideoModel
        >>> VideoModel.from_backbone("miniature").in_words["method"]
        'no prompts; frames joined by mean; compared with templates'
        """
        config, vision, source = self.config, self.backbone.config.vision, Path(self.config.backbone)
        patches = f"{vision.image_size} px in patches of {vision.patch_size}"
        size = f"ViT of {vision.depth} layers, width {vision.width}, {patches}, {vision.activation}"
        name = "/".join(source.parts[-2:]) if source.is_absolute() else config.backbone
        prompts = ", ".join((context_look(kind) or (kind,))[0] for kind in config.context) or "no prompts"
        slots: Any = config.pool, config.head
        joined, compared = (slot["name"].replace("_", " ") for slot in slots)
        towers = f"; trained towers: {config.train}" * (config.train != "none")
        method = f"{prompts}; frames joined by {joined}; compared with {compared}{towers}"
        return {"backbone": f"{name}: {size}", "method": method}

    def save_pretrained(self, folder: str | Path, *, embed_backbone: bool = False) -> Path:
        """Write a model folder: the parts' values, a config that names the backbone with its fingerprint, a model card.

        Args:
            folder: where to.
            embed_backbone: put the towers and the tokenizer in as well, so that the folder is all one needs. Towers
                that were trained are always put in.

        >>> from vitaclip import VideoModel
        >>> VideoModel.from_pretrained("miniature").save_pretrained("my_model", embed_backbone=True).name
        'my_model'
        """
        saved, clip = SavedModel(self.config, self.class_names, self.fingerprint), self.backbone
        embedded = None
        if embed_backbone or self.config.train != "none":
            embedded = Backbone(clip, clip.tokenizer, self.config.backbone, fingerprint(clip.state_dict()))
        return write_model_folder(Path(folder), saved, self.adapter_state(), embedded)

    def save_published(self, file: str | Path) -> Path:
        """Write a checkpoint under the key names of the published Vita-CLIP code, which its `--checkpoint_path` loads.

        Raises:
            ValueError: if nothing was learned, if a part has no place in the format, or if the backbone is of a kind
                that the format cannot tell apart from OpenAI's: it holds neither activation nor heads.

        >>> VideoModel.from_pretrained("runs/k400").save_published("vitaclip_k400.pth")  # doctest: +SKIP
        """
        learned = self.adapter_state()
        if set(learned) == {"head.logit_scale"}:
            raise ValueError("nothing was learned beside the backbone, so there is no published checkpoint to write")
        clip, config = self.backbone, self.backbone.config
        check_writable(config)
        if self.config.centre and self.config.context.keys() & {"local", "summary"}:
            raise ValueError("trained with model.centre, which the published code does not know; save a folder instead")
        state = to_published(clip.state_dict(), learned)
        if "head.context" in learned:
            room = config.text.context_length - 1 - learned["head.context"].shape[-2]
            embedding = clip.text.token_embed.weight.detach()
            state |= name_buffers(self.class_names, clip.tokenizer, embedding, room)
        named = {f"module.{name}": tensor.contiguous() for name, tensor in state.items()}
        with atomic_write(file) as temporary:
            torch.save({"model": named}, temporary)
        return Path(file)

    def push_to_hub(self, repository: str, *, private: bool = False, embed_backbone: bool = False) -> str:
        """Upload the model folder to the Hugging Face hub, as the user that `hf auth login` logged in.

        Args:
            repository: `owner/name`; made if it does not exist.
            private: whether a new one is hidden from others.
            embed_backbone: see `save_pretrained`.

        Returns:
            The address of the upload.

        Raises:
            ValueError: if the backbone is a local path, which nobody else could load, and is not embedded.

        >>> VideoModel.from_pretrained("runs/doors").push_to_hub("me/my-model", embed_backbone=True)  # doctest: +SKIP
        """
        if not embed_backbone and Path(self.config.backbone).exists():
            raise ValueError(
                f"the backbone {self.config.backbone!r} is a path on this machine, which others do not have;"
                " pass embed_backbone=True"
            )
        from huggingface_hub import HfApi

        with TemporaryDirectory() as folder:
            self.save_pretrained(folder, embed_backbone=embed_backbone)
            api = HfApi()
            api.create_repo(repository, private=private, exist_ok=True)
            message = "Upload a vitaclip model"
            return str(api.upload_folder(repo_id=repository, folder_path=folder, commit_message=message))

    def start_from(self, source: str) -> None:
        """Take over the values of a trained model's parts. Those that it has for each of its classes are left as they
        are, with a warning, unless the class names are the same.

        Args:
            source: a model folder, a run's folder, or a published checkpoint; it was trained on this backbone.

        Raises:
            ValueError: if it was trained on another backbone, or its parts are others than these.
        """
        path = locate(source, "prompts")
        if folder := find_model_folder(path):
            saved, file = read_model_folder(folder)
            if saved.fingerprint != self.fingerprint:
                raise ValueError(
                    f"init = {source}: trained on a backbone with fingerprint {saved.fingerprint}, but"
                    f" {self.config.backbone!r} has {self.fingerprint}; set model.backbone to the one it was trained on"
                )
            with reading(folder):
                values, names = file.read(), saved.class_names
        else:
            own = source == self.config.backbone
            trained = read_clip(path, backbone=None if own else read_clip(locate(self.config.backbone))).trained
            values, names = trained.adapter_state if trained else {}, ()
        anew = set() if names == self.class_names else {f"head.{name}" for name in self.head.class_values}
        before, values = self.adapter_state(), {n: v for n, v in values.items() if n not in anew}
        wanted = {name: value.shape for name, value in before.items() if name not in anew}
        if wrong := wanted.items() ^ {name: value.shape for name, value in values.items()}.items():
            raise ValueError(
                f"init = {source}: its parts are others than those of this config: {sorted({n for n, _ in wrong})[:3]}"
                " and their shapes differ; set model.context, pool, head and num_frames as it was trained with"
            )
        if anew:
            warnings.warn(
                f"init = {source}: was trained on other classes, or does not name them; {', '.join(sorted(anew))} start"
                " anew",
                stacklevel=2,
            )
        self.load_state(before | values)

    @classmethod
    def from_backbone(
        cls, source: str | Path, *, num_frames: int = 8, activation: Activation | None = None, image_size: int = 0
    ) -> Self:
        """A backbone as a video model: no part learns, a video is the mean of its frame features (the frozen baseline).

        Frames are taken from all over the video, one from each of `num_frames` equal parts. See `load_backbone` for
        the other arguments.

        >>> from vitaclip import VideoModel
        >>> VideoModel.from_backbone("miniature", num_frames=16).is_zero_shot
        True
        """
        backbone = load_backbone(source, activation=activation, image_size=image_size)
        return cls._zero_shot(backbone, num_frames, image_size)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        backbone: str | Path | None = None,
        class_names: Sequence[str] = (),
        num_frames: int = 8,
        activation: Activation | None = None,
    ) -> Self:
        """Load a model: a trained one, or any CLIP, which then stands as it is (`from_backbone`).

        Args:
            source: `miniature` (shipped with the package), a model folder, a run's folder with one in `model/`, a
                repository of the Hugging Face hub with a model folder or a CLIP in it, a published Vita-CLIP
                checkpoint, or the path of a CLIP in any format that `load_backbone` knows.
            backbone: where the backbone of a model folder is now, if not where it was when the model was saved; or the
                backbone of a checkpoint that lacks it (EVL's, ViFi-CLIP's).
            class_names: the classes of a published checkpoint, in the order of its training, which it does not hold;
                needed if it has a context for each class.
            num_frames: frames that a plain CLIP looks at; a trained model brings its own number.
            activation: for a CLIP whose weights do not tell theirs.

        Raises:
            ValueError: if there is no model there, or if its backbone is not the one it was trained on.

        >>> from vitaclip import VideoModel
        >>> len(VideoModel.from_pretrained("miniature").class_names)
        216
        """
        refuse_text(class_names, "class_names")
        path = locate(str(source), "prompts")
        if folder := find_model_folder(path):
            return cls._from_folder(folder, backbone)
        if (path / "checkpoints").is_dir():
            raise ValueError(f"{path}: this run is not finished; the command that trains it goes on where it stopped")
        if path.is_dir() and find_weights(path) is None:
            raise ValueError(
                f"{path}: neither a model folder (config.json and prompts.safetensors), nor a run with one in model/,"
                " nor a folder with the weights of a CLIP"
            )
        base = None if backbone is None else read_clip(locate(str(backbone)), activation)
        weights = read_clip(path, None if base else activation, base)
        loaded = build_backbone(weights, str(source))
        if weights.trained is None:
            return cls._zero_shot(loaded, num_frames)
        return cls._from_checkpoint(loaded, weights.trained, class_names)

    @classmethod
    def _zero_shot(cls, backbone: Backbone, num_frames: int, image_size: int = 0) -> Self:
        config = ModelConfig(backbone=backbone.name, image_size=image_size, num_frames=num_frames)
        sampling = SamplingConfig(kind="segments")
        return cls(backbone, replace(config, context={}, head="templates", sampling=sampling)).eval()

    @classmethod
    def _from_folder(cls, folder: Path, backbone: str | Path | None) -> Self:
        saved, adapter = read_model_folder(folder)
        config = saved.config if backbone is None else replace(saved.config, backbone=str(backbone))
        if Path(config.backbone).is_absolute() and not Path(config.backbone).exists():
            raise ValueError(
                f"{folder}: its backbone (fingerprint {saved.fingerprint}) is not at {config.backbone} any more; say"
                " where it is now with --backbone (in Python: backbone=...)"
            )
        loaded = load_backbone(config.backbone, image_size=config.image_size)
        if loaded.fingerprint != saved.fingerprint:
            raise ValueError(
                f"{folder}: trained on a backbone with fingerprint {saved.fingerprint}, but"
                f" {config.backbone!r} has {loaded.fingerprint}; use the backbone it was trained on"
            )
        with reading(folder):
            return cls(loaded, config, saved.class_names, saved=adapter).eval()

    @classmethod
    def _from_checkpoint(cls, backbone: Backbone, trained: Trained, class_names: Sequence[str]) -> Self:
        if trained.num_classes and len(class_names) != trained.num_classes:
            raise ValueError(
                f"{backbone.name}: learned something for each of {trained.num_classes} classes, but {len(class_names)}"
                " class names were given; give its class names in the order of its training"
            )
        config = from_dict(ModelConfig, {"backbone": backbone.name, **trained.settings})
        return cls(backbone, config, class_names, saved=trained.adapter_state).eval()
