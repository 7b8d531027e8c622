"""What tests of long videos share: short windows, and the scores that a pass has kept."""

import json
from pathlib import Path

import numpy as np

from small_world import NAMES
from vitaclip.moments.config import MomentsConfig
from vitaclip.moments.scan import KeptScores

SETTINGS = MomentsConfig(lengths_s=(0.5, 1.0, 2.0), threshold=0.0)


def kept(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """The scores that a pass has kept, (W, K), and the changes of the picture, (N, 2)."""
    about = json.loads(file.read_bytes().split(b"\n", 1)[0])
    return KeptScores(file, about, len(NAMES)).joined()
