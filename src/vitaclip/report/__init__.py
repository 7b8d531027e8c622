"""The report of an evaluation: one HTML page, JSON, and predictions as CSV."""
