"""Model folders: what a trained model is on disk, locally or as a repository of the Hugging Face hub.

`prompts.safetensors` holds the values of the parts, `config.json` the settings, the class names, the backbone's
name and fingerprint, and a SHA-256 of each file, `README.md` the model card. On request the backbone lies inside, in
`backbone/`. Settings and names that older versions saved are read as today's, by tables and pure functions.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from torch import Tensor

from vitaclip.backbones.families.family import CONFIG_FILE
from vitaclip.backbones.hub import PROMPTS as PROMPTS_FILE
from vitaclip.backbones.hub import SHIPPED, is_repository
from vitaclip.backbones.loading import Backbone, save_backbone
from vitaclip.backbones.reading import StateFile, check_dtypes, open_state, to_float32
from vitaclip.files import check_own, sha256_of_file, write_json, write_safetensors, write_text
from vitaclip.names import check_class_names
from vitaclip.parts.config import ModelConfig
from vitaclip.settings import from_dict, to_dict
from vitaclip.untrusted import read_json, reading

_NAMES = (
    (r"video\.time_embed", "context.input.time.embed"),
    (r"video\.blocks\.(\d+)\.(global|local)_prompts", r"context.blocks.\1.\2.prompts"),
    (r"video\.blocks\.(\d+)\.summary_(norm|attention)\.", r"context.blocks.\1.summary.\2."),
    (r"video\.blocks\.(\d+)\.cls_proj\.", r"context.blocks.\1.cls_proj."),
    (r"text\.(context|vectors)", r"head.\1"),
    (r"logit_scale", "head.logit_scale"),
)
"""What parameters of the parts were called, and are called now."""
_SAVED_UNDER = re.compile(r"(prompts\.|average\.|optimizer\.\w+\.)?(.*)")
"""Under what a training run's checkpoints hold them."""


def upgrade_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Values by today's names; those that have them already stay."""
    return {upgrade_name(name): value for name, value in state.items()}


def upgrade_name(name: str) -> str:
    """Today's name of a parameter in a model folder or a checkpoint."""
    found = _SAVED_UNDER.fullmatch(name)
    assert found is not None
    under, own = (found[1] or "").replace("prompts.", ""), found[2]
    for pattern, now in _NAMES:
        if match := re.match(pattern, own):
            return under + match.expand(now) + own[match.end() :]
    return under + re.sub(r"^clip\.", "backbone.", own)


def upgrade_model_config(saved: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a model as they are written today; those of today stay as they are."""
    if not isinstance(saved, Mapping):
        raise ValueError(f"model = {str(saved)[:60]!r}: must be a mapping of settings")
    kept = {"centre": False, **saved}  # what older models did, of which some do not say so
    if "video" not in saved and "text" not in saved and "train_towers" not in saved:
        return kept
    video, text, trained = kept.pop("video", {}), kept.pop("text", {}), kept.pop("train_towers", False)
    if not isinstance(video, Mapping) or not isinstance(text, Mapping):
        raise ValueError("model.video and model.text must be mappings of settings")
    count = video.get("num_global", 8)
    context: dict[str, dict[str, Any]] = {"global": {"count": count}} if count else {}
    context |= {kind: {} for kind in ("local", "summary", "time") if video.get(kind, True)}
    head: dict[str, Any] = {"name": "learned_text", "num_context": text.get("num_context", 8)}
    head |= {name: text[name] for name in ("per_class", "class_token_position", "init_words") if name in text}
    if text.get("linear", False):
        head = {"name": "linear"}
    elif not head["num_context"]:
        head = {"name": "templates"}
    kept |= {"templates": text["templates"]} if "templates" in text else {}
    return kept | {
        "num_frames": video.get("num_frames", 8),
        "context": context,
        "train_cls_proj": video.get("train_cls_proj", True),
        "head": head,
        "train": ("image" if head["name"] == "linear" else "both") if trained else "none",
    }


CARD_FILE = "README.md"
MODEL_FOLDER = "model"
"""Name of the model folder inside the folder of a run."""
EMBEDDED = "backbone"
"""Name of the folder with the backbone inside a model folder, and what the config then calls it."""
CARD = files("vitaclip.saving") / "card.md"
NAMES_ON_CARD = 50
COPY_AGAIN = "copy the folder again"


@dataclass(frozen=True)
class SavedModel:
    """What a model folder says of its model."""

    config: ModelConfig
    """The settings; `config.backbone` is a path that exists, if the backbone lies inside."""
    class_names: tuple[str, ...]
    """The classes it was trained on."""
    fingerprint: str
    """Of the backbone it was trained on."""


def find_model_folder(path: Path) -> Path | None:
    """The model folder that a path means: itself, or the one in the folder of a run; None if neither is one."""
    places = (path, path / MODEL_FOLDER)
    return next((p for p in places if (p / CONFIG_FILE).is_file() and (p / PROMPTS_FILE).is_file()), None)


def check_folder(folder: Path) -> None:
    """Raise ValueError if a model or backbone folder has a README or a config that is not ours and would be lost."""
    check_own(folder / CONFIG_FILE, '"backbone_fingerprint"', '"mlp_ratio"')
    check_own(folder / CARD_FILE, "library_name: vitaclip")


def write_model_folder(
    folder: Path, saved: SavedModel, adapter: Mapping[str, Tensor], embedded: Backbone | None = None
) -> Path:
    """Write a model folder; with a backbone given, the folder is all that is needed to use the model.

    A backbone that stays outside is named by its full path, so that the model loads from any working directory.
    """
    if embedded is not None:
        save_backbone(embedded.clip, embedded.tokenizer, folder / EMBEDDED)
        # The embedded towers have the model's input size already.
        config = replace(saved.config, backbone=EMBEDDED, image_size=0)
    else:
        config = replace(saved.config, backbone=_full_path(saved.config.backbone))
    write_safetensors(folder / PROMPTS_FILE, adapter)
    content: dict[str, Any] = {
        "model": to_dict(config),
        "backbone_fingerprint": embedded.fingerprint if embedded else saved.fingerprint,
        "class_names": list(saved.class_names),
    }
    saved_files = [folder / PROMPTS_FILE, *sorted((folder / EMBEDDED).glob("*"))]
    content["sha256"] = {file.relative_to(folder).as_posix(): sha256_of_file(file) for file in saved_files}
    write_json(folder / CONFIG_FILE, content)
    write_text(folder / CARD_FILE, model_card(config, saved, sum(tensor.numel() for tensor in adapter.values())))
    return folder


def read_model_folder(folder: Path) -> tuple[SavedModel, StateFile]:
    """Read a model folder, whose files must be those that its config was written with.

    Returns:
        What it says, and the values of its parts, which are opened but not read: see `StateFile`.
    """
    config_file = folder / CONFIG_FILE
    content = read_json(config_file, COPY_AGAIN)
    with reading(config_file, COPY_AGAIN):
        config, names = from_dict(ModelConfig, upgrade_model_config(content["model"])), content["class_names"]
        if not isinstance(names, list):
            raise ValueError("class_names is no list of names")
        names = check_class_names(names, "class_names") if names else ()
        if config.backbone == EMBEDDED:
            config = replace(config, backbone=str(folder / EMBEDDED))
        saved = SavedModel(config, names, str(content["backbone_fingerprint"]))
        _check_sums(folder, content.get("sha256", {}))  # older folders have none
    return saved, _open_adapter(folder / PROMPTS_FILE)


def _open_adapter(file: Path) -> StateFile:
    opened = open_state(file)
    with reading(file):
        check_dtypes(opened.shapes)

    def read() -> dict[str, Tensor]:
        values = opened.read()
        to_float32(values)
        return upgrade_names(values)

    return StateFile(file, upgrade_names(opened.shapes), read)


def _check_sums(folder: Path, sums: Mapping[str, str]) -> None:
    for name, expected in sums.items():
        if name != PROMPTS_FILE and Path(name).parts[:-1] != (EMBEDDED,):
            raise ValueError(f"sha256 names {name[:100]!r}, which is no file of a model folder")
        if sha256_of_file(folder / name) != expected:
            raise ValueError(
                f"{folder / name}: damaged, or not the file that {CONFIG_FILE} was written with; copy it again"
            )


def _full_path(backbone: str) -> str:
    """The name of a backbone, or where it is if it is a file or folder."""
    return str(Path(backbone).resolve()) if backbone not in SHIPPED and Path(backbone).exists() else backbone


def model_card(config: ModelConfig, saved: SavedModel, parameters: int) -> str:
    """What a reader of the folder, or of the hub's page, should know. A path is cut to its name: the card is for
    others."""
    backbone = Path(config.backbone).name if Path(config.backbone).is_absolute() else config.backbone
    names = ", ".join(saved.class_names[:NAMES_ON_CARD]) or "none recorded"
    more = f" and {len(saved.class_names) - NAMES_ON_CARD} more" if len(saved.class_names) > NAMES_ON_CARD else ""
    dense = f"{config.sampling.stride} native frames apart"
    frames = dense if config.sampling.kind == "dense" else "from all over the video"
    return CARD.read_text(encoding="utf-8").format(
        base_model=f"base_model: {config.backbone}\n" if is_repository(config.backbone) else "",
        backbone="in this folder" if backbone == EMBEDDED else f"`{backbone}`",
        fingerprint=saved.fingerprint,
        parameters=f"{parameters:,}",
        train=config.train,
        context=", ".join(_in_words({"name": name, **chosen}) for name, chosen in config.context.items()) or "none",
        pool=_in_words(config.pool),
        head=_in_words(config.head),
        frames=f"{config.num_frames} frames, {frames}",
        count=len(saved.class_names),
        names=f"{names}{more}",
    )


def _in_words(chosen: Any) -> str:
    """A part with its settings, those that are empty left out: `learned_text (num_context 8)`."""
    said = [f"{key} {value}" for key, value in chosen.items() if key != "name" and value not in ("", False)]
    return f"{chosen['name']} ({', '.join(said)})" if said else str(chosen["name"])
