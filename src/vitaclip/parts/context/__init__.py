"""Kinds of context, a file each."""
