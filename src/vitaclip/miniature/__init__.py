"""The offline world: a renderer of small videos, captioned stills, and the tiny CLIP trained on the stills."""
