"""From a data set as it was downloaded to our lists: official annotations, and the files that are really there."""
