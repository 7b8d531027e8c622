"""Videos in, probabilities out: every view through the model, softmax averaged over a video's views.

Axes: B videos, V views, T frames, H x W pixels, K classes, D embedding.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from vitaclip.data import EvalBatch
from vitaclip.evaluate.metrics import Scores
from vitaclip.model import VitaCLIP
from vitaclip.processes import Processes

Autocast = Callable[[], AbstractContextManager[object]]


@torch.no_grad()
def probabilities(model: VitaCLIP, video: Tensor, text_features: Tensor, autocast: Autocast = nullcontext) -> Tensor:
    """Mean over views of the softmax (the published fusion).

    Args:
        model: in evaluation mode.
        video: (B, V, T, 3, H, W) uint8.
        text_features: (K, D), of unit length.
        autocast: context of the forward pass.

    Returns:
        (B, K) float32 on the CPU.
    """
    with autocast():
        logits = model(video.flatten(end_dim=1).to(model.device), text_features)
    return logits.softmax(dim=-1).unflatten(0, video.shape[:2]).mean(dim=1).cpu()


def score_videos(
    model: VitaCLIP,
    batches: Iterable[EvalBatch],
    text_features: Tensor,
    autocast: Autocast = nullcontext,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Scores:
    """Score each video of the batches once.

    Args:
        model: any mode; it is in evaluation mode afterwards.
        batches: from `vitaclip.data.eval_batches`.
        text_features: (K, D), computed once by the caller.
        autocast: context of the forward pass.
        on_progress: called with the number of videos just done.
    """
    model.eval()
    rows: list[Tensor] = []
    labels: list[Tensor] = []
    scores: list[Tensor] = []
    left_out: list[str] = []
    for batch in batches:
        left_out += batch.skipped
        if len(batch.labels):
            rows.append(torch.tensor(batch.rows))
            labels.append(batch.labels)
            scores.append(probabilities(model, batch.video, text_features, autocast))
        on_progress(len(batch.labels) + len(batch.skipped))
    num_classes = len(text_features)
    return Scores(
        probabilities=torch.cat([torch.empty(0, num_classes), *scores]),
        labels=torch.cat([torch.empty(0, dtype=torch.int64), *labels]),
        rows=torch.cat([torch.empty(0, dtype=torch.int64), *rows]),
        left_out=tuple(left_out),
    )


def gather_scores(own: Scores, processes: Processes) -> Scores:
    """The scores of all processes as one. Their shares follow each other, so the videos keep the order of the list."""
    if processes.count == 1:
        return own
    shares = processes.gather(own)
    return Scores(
        probabilities=torch.cat([share.probabilities for share in shares]),
        labels=torch.cat([share.labels for share in shares]),
        rows=torch.cat([share.rows for share in shares]),
        left_out=tuple(line for share in shares for line in share.left_out),
    )
