"""A short name for a set of weights, so that prompts are never put on a backbone they were not trained with."""

import hashlib

from torch import nn


def fingerprint(module: nn.Module) -> str:
    """The first 16 hex digits of a SHA-256 over every tensor of the module: its name, shape and float32 values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}:{tuple(tensor.shape)}:".encode())
        digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
