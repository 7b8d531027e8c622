"""Golden cases of image-text towers: what the families' own codes computed, and how far the package is from it.

A case is a folder: the files that the family's own code saved, `golden.safetensors` (inputs and outputs; those computed
in float64 have names that end in `.f64`), and `meta.json`.

Axes: K texts, L tokens.
"""

import json
from contextlib import AbstractContextManager
from pathlib import Path
from unittest.mock import patch

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import normalize

from vitaclip.backbones.config import TextConfig
from vitaclip.backbones.families import family, pe
from vitaclip.backbones.families.family import CLIPWeights
from vitaclip.backbones.hub import find_weights
from vitaclip.backbones.loading import read_clip
from vitaclip.backbones.model import CLIP
from vitaclip.backbones.reading import open_state

CASES = Path(__file__).parent / "towers"
GOLDEN, META = "golden.safetensors", "meta.json"


def read_tower(folder: Path) -> CLIPWeights:
    """The weights of a case. A small PE-Core has other heads than its width says, so they stand in its meta.json."""
    meta = json.loads((folder / META).read_text())
    file = find_weights(folder) or next(folder.glob("*.pt"))
    if meta["family"].startswith("pe") and file.suffix == ".pt":
        with toy_heads(meta["vision"]["heads"], meta["text"]["heads"]):
            return pe.read(open_state(file).read(), folder, None)
    return read_clip(file)


def toy_heads(vision: int, text: int) -> AbstractContextManager[object]:
    """While it is open, the heads of the one model that is read, which its weights do not tell, are these."""
    return patch.object(family, "_heads", side_effect=(vision, text))


def feature_places(ids: Tensor, text: TextConfig) -> Tensor:
    """(K,) where the features of texts (K, L) are: at the last place, or at the first token that ends a text."""
    if text.layout.feature == "last":
        return torch.full((len(ids),), ids.shape[1] - 1)
    ends = ids == (ids.max() if text.layout.end is None else text.layout.end[-1])
    return ends.int().argmax(dim=1)


@torch.no_grad()
def tower_errors(folder: Path, dtype: torch.dtype = torch.float64) -> dict[str, float]:
    """Largest difference over largest expected value of each output."""
    weights, golden = read_tower(folder), load_file(folder / GOLDEN)
    clip = CLIP.from_state(weights.config, weights.state).to(dtype).eval()
    ids = golden["input_ids"]
    found = {
        "image_features": clip.vision(golden["pixel_values"].to(dtype)),
        "text_features": clip.encode_ids(ids, feature_places(ids, weights.config.text)),
    }
    image, text = (normalize(found[f"{kind}_features"], dim=-1) for kind in ("image", "text"))
    found |= {"image_embeds": image, "text_embeds": text}
    found["logits_per_image"] = clip.logits(image, text)
    suffix = ".f64" if dtype == torch.float64 else ""
    errors = {}
    for name, ours in found.items():
        theirs = golden[name + suffix].to(dtype)
        errors[name] = float((ours - theirs).abs().max() / theirs.abs().max())
    return errors
