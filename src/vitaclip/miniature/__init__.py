"""The offline world: a renderer of small videos, the tiny CLIP that knows it, and the demo on both."""
