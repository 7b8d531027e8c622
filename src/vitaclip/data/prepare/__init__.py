"""From a data set as it was downloaded to our lists: official annotations, and the files that are really there."""

from vitaclip.data.prepare.annotations import DATASETS
from vitaclip.data.prepare.preparing import Counts, Preparation, prepare_dataset, write_preparation

__all__ = ["DATASETS", "Counts", "Preparation", "prepare_dataset", "write_preparation"]
