"""Seeing why a model gives a video its name: where it attends, which frames it needs, which names are near."""

from vitaclip.explain.explanation import Explanation, explain_video

__all__ = ["Explanation", "explain_video"]
