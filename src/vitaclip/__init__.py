"""Vita-CLIP: a frozen CLIP and a handful of learned prompts that teach it video."""

__version__ = "0.1.0"
