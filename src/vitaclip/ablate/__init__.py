"""Ablations and baselines: variants of one config, trained and tested over seeds, in one table."""
