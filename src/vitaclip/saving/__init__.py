"""The ways of a model to disk and back."""
