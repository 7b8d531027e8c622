"""The mathematics is that of the published code: features, logits, loss and every gradient."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from parity_case import CASES, load_case
from vitaclip.weights.published import to_published

# The gradients were stored in float32, so in float64 they can only agree to its rounding.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-9}
STORED_GRADIENT_TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-7}


def relative_error(ours: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest expected value."""
    return float((ours.double() - expected.double()).abs().max() / expected.double().abs().max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_parity_with_the_published_code(name: str, dtype: torch.dtype) -> None:
    case = load_case(name, dtype)
    model = case.model
    text = model.encode_text(case.class_names)
    logits = model(case.video, text)
    loss = F.cross_entropy(logits, case.labels)
    loss.backward()
    ours = {
        "video_features": model.encode_video(case.video, normalize=False),
        "text_features": model.encode_text(case.class_names, normalize=False),
        "logits": logits,
        "loss": loss.reshape(1),
    }
    errors = {key: relative_error(value.detach(), case.expected[key]) for key, value in ours.items()}
    assert max(errors.values()) < TOLERANCE[dtype], errors

    gradients = {key: p.grad for key, p in model.prompts.named_parameters() if p.grad is not None}
    published = to_published({}, gradients)
    assert {key for key in published if ".cls_proj." not in key} == set(case.gradients)
    errors = {
        key: relative_error(published[key], case.gradients[key])
        for key in case.gradients
        if not key.endswith("k_proj.bias")
    }
    assert max(errors.values()) < STORED_GRADIENT_TOLERANCE[dtype], errors
    # A bias on all keys shifts all scores of a query alike: its true gradient is 0 and both codes hold only rounding.
    for key in case.gradients:
        if key.endswith("k_proj.bias"):
            scale = case.gradients[key.replace("k_proj", "q_proj")].abs().max()
            assert published[key].abs().max() < TOLERANCE[dtype] * scale
            assert case.gradients[key].abs().max() < 1e-9 * scale


@pytest.mark.parametrize("name", CASES)
def test_only_the_prompts_get_gradients(name: str) -> None:
    case = load_case(name, torch.float32)
    F.cross_entropy(case.model(case.video, case.model.encode_text(case.class_names)), case.labels).backward()
    assert all(p.grad is None for p in case.model.clip.parameters())
    assert all(p.grad is not None for p in case.model.trainable_parameters().values())
