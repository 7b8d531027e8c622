"""A short name for a CLIP's towers, so that prompts are never put on a backbone they were not trained with."""

import hashlib

from torch import nn

TEMPERATURE = "logit_scale"


def fingerprint(clip: nn.Module) -> str:
    """The first 16 hex digits of a SHA-256 over every tensor of the towers: its name, shape and float32 values.

    The temperature is left out: prompts bring their own, and a checkpoint of a trained model no longer has CLIP's.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(clip.state_dict().items()):
        if name != TEMPERATURE:
            digest.update(f"{name}:{tuple(tensor.shape)}:".encode())
            digest.update(tensor.detach().cpu().float().contiguous().numpy().data)
    return digest.hexdigest()[:16]
