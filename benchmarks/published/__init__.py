"""The published Vita-CLIP procedure, stated plainly, as something to be measured against: same numbers, all its work.

Written from the paper and from what is known of the published code. It has that code's parameter names, so that a model
of ours goes in by `vitaclip.backbones.families.vitaclip.to_published`. What it does and ours does not:

* prompts take part in attention as queries too, global ones in the MLP as well, and the results are dropped;
* q, k and v of the image tower are three layers, and its softmax is a tensor of its own between two einsums;
* the text tower runs over all 77 tokens of all classes in every micro-batch, and once for every test video.
"""

from published.model import PublishedModel
from published.procedure import score_video, train_step

__all__ = ["PublishedModel", "score_video", "train_step"]
