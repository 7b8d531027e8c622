"""From rows to batches: data sets, samples, and the loader that makes batches ahead."""
