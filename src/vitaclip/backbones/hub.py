"""Where backbones and models are found by name: in the package, on this machine, or on the Hugging Face hub, whose
repositories are fetched once and then found in the cache.
"""

import fnmatch
import re
from importlib.resources import files
from pathlib import Path

from vitaclip.strings import one_line

SHIPPED = {"miniature": Path(str(files("vitaclip"))) / "miniature" / "assets"}
"""What the package brings along: the miniature world's `backbone`, and its trained `prompts`."""
DEFAULT_BACKBONE = "openai/clip-vit-base-patch16"
"""What is used for videos where no model is named."""
SECONDS_TO_ANSWER = 5.0
"""How long the hub may take to answer at all."""
REPOSITORY = re.compile(r"(?!runs/)[\w-][\w.-]*/[\w-][\w.-]*")
SMALL_FILES = ("*.json", "*.txt", "*.txt.gz", "*.model", "README.md", "prompts.safetensors", "backbone/*")
"""Configs, tokenizers, and the whole of a model of ours."""
PROMPTS = "prompts.safetensors"
WEIGHTS = (
    "model.safetensors",
    "open_clip_model.safetensors",
    "model.safetensors.index.json",
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "PE-Core-*.pt",
    "longclip-*.pt",
)
"""Weight files, the better one first: repositories often hold the same weights several times, gigabytes each."""


def locate(source: str, kind: str = "backbone") -> Path:
    """The file or folder that a name stands for: shipped, a path, or a hub repository. `kind` says what to take of
    something shipped, `backbone` or `prompts`."""
    if not source:
        raise ValueError(
            "the backbone (model.backbone) is not set; give the path of a CLIP or a name such as"
            " openai/clip-vit-base-patch16 (the shipped `miniature` knows only the demo's world of shapes)"
        )
    if source in SHIPPED:
        return SHIPPED[source] / kind
    if Path(source).exists():
        return Path(source)
    if is_repository(source):
        return fetch_repository(source)
    raise ValueError(
        f"{source!r}: no such file or folder, and neither the name of a repository (owner/name) nor of what is shipped"
        f" ({', '.join(SHIPPED)}); give one of these"
    )


def is_repository(name: str) -> bool:
    """Whether a name can be that of a repository, `owner/name`."""
    return REPOSITORY.fullmatch(name) is not None


def fetch_repository(name: str) -> Path:
    """The folder of a model repository: from the cache, or else downloaded into it.

    What the cache has is taken as it is, without asking the hub; `hf download NAME` brings it up to date. Of several
    copies of the weights only one is fetched. HF_HOME, HF_ENDPOINT and HF_HUB_OFFLINE are respected.
    """
    from httpx2 import HTTPError  # here, because the hub's client takes as long to import as a small model to load
    from huggingface_hub import HfApi, constants, get_session, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    cached = _cached(name)
    if cached is not None:
        return cached
    try:
        get_session().head(constants.ENDPOINT, timeout=SECONDS_TO_ANSWER)  # the client itself retries for half a minute
        files = HfApi().list_repo_files(name)
        weights = next((name for name in WEIGHTS if fnmatch.filter(files, name)), "")
        return Path(snapshot_download(name, allow_patterns=_patterns(weights)))
    except HfHubHTTPError as error:
        raise ValueError(
            f"{name!r} is neither a path here nor a repository that can be read ({one_line(error)[:200]});"
            " check the spelling, and if it is private log in by `hf auth login`"
        ) from error
    except (HTTPError, OSError) as error:
        raise ValueError(
            f"{name!r} is no path here and not in the cache of the Hugging Face hub, which cannot be reached"
            f" ({one_line(error)[:200]}); fetch it where there is a network (`hf download {name}`) or name a model here"
            " (`--model miniature`, in training `--model.backbone miniature`, needs no network, but knows moving"
            " coloured shapes alone)"
        ) from error


def find_weights(folder: Path) -> Path | None:
    """The weight file of a folder, the best of those it has."""
    return next((file for name in WEIGHTS for file in sorted(folder.glob(name)) if file.is_file()), None)


def _patterns(weights: str) -> list[str]:
    """What is wanted of a repository whose weights are in that file."""
    parts = re.sub(r"(\.\w+)\.index\.json$", r"-*\1", weights)
    return [*SMALL_FILES, *({weights, parts} - {""})]


def _cached(name: str) -> Path | None:
    """The cached folder of a repository, if all that is wanted of it is there: an interrupted download is not."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    for weights in ("", *WEIGHTS):
        try:
            folder = Path(snapshot_download(name, local_files_only=True, allow_patterns=_patterns(weights)))
        except LocalEntryNotFoundError:
            continue
        if any(folder.glob(weights or PROMPTS)):
            return folder
    return None
