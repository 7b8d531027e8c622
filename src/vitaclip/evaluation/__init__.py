"""Scoring videos, and what the scores come to."""
