"""A model for use without torch: `exporter` writes it, `runner` uses it."""

from vitaclip.export.runner import Predictor

__all__ = ["Predictor"]
