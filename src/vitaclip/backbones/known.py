"""The image-text models whose weights are known: their sizes, published figures and licences (`known.yaml`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from vitaclip.backbones.config import CLIPConfig
from vitaclip.settings import from_dict
from vitaclip.untrusted import read_yaml

FILE = Path(str(files("vitaclip.backbones"))) / "known.yaml"
_RESTRICTIVE_LICENCES = {
    "metaclip": "CC-BY-NC 4.0, not for commercial use",
    "mobileclip": "Apple AMLR, for research only",
    "dfn": "Apple AMLR, for research only",
}
"""By a word that names of such weights hold; not in the file, whose reading takes as long as that of a small model."""


@dataclass(frozen=True, kw_only=True)
class KnownBackbone:
    """A row of `known.yaml`, whose head says what its fields mean."""

    name: str
    family: str
    vision: Mapping[str, Any]
    text: Mapping[str, Any]
    embed_dim: int
    parameters: str
    frame_gflop: float
    text_gflop: float
    licence: str
    source: str
    languages: str
    also: str = ""
    similarity: str = "softmax"
    imagenet: float | None = None
    video: float | None = None

    @property
    def config(self) -> CLIPConfig:
        """Its architecture; pixels are the family's."""
        shapes = {"vision": self.vision, "text": self.text, "embed_dim": self.embed_dim}
        return from_dict(CLIPConfig, {**shapes, "similarity": self.similarity})


@cache
def known_backbones() -> tuple[KnownBackbone, ...]:
    """All of them, in the order of the file."""
    return tuple(from_dict(KnownBackbone, row) for row in read_yaml(FILE)["backbones"])


def licence_notice(source: str) -> str:
    """What has to be said when weights of this name are loaded; nothing for licences that allow any use.

    >>> licence_notice("facebook/metaclip-2-worldwide-huge-quickgelu")
    'CC-BY-NC 4.0, not for commercial use'
    """
    return next((licence for word, licence in _RESTRICTIVE_LICENCES.items() if word in source.lower()), "")
