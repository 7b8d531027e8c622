"""The version of the package, saved with results."""

__version__ = "0.1.0"
