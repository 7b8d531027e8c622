"""Weights on disk, ours and others, and the way between them."""
