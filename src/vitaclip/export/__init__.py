"""A model for use without torch: `exporter` writes it, `Predictor` uses it and imports numpy, av, tokenizers and what
runs the files."""

from vitaclip.export.runner import Predictor

__all__ = ["Predictor"]
