"""Seeing why a model gives a video its name: where it attends, which frames it needs, which names are near."""
