"""Heads, a file each."""
