"""Pools, a file each."""
