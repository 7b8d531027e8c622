"""One file for each family of weights: the key that tells it, its key table, its config."""
