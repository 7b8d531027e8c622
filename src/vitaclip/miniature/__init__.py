"""The offline world: a renderer of small videos, the tiny CLIP that knows it, and the demo on both."""

from importlib.resources import files
from pathlib import Path

CLIP = Path(str(files("vitaclip.miniature"))) / "assets" / "clip.mp4"
"""A video that comes with the package: a blue key that grows, which the shipped prompts were never trained on."""
