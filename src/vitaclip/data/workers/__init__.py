"""Processes that may hang or die, watched from outside, and what travels between them."""
