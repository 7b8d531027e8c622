"""The mathematics is that of the published code: features, logits, loss and every gradient."""

import pytest
import torch
import torch.nn.functional as F

from parity_case import CASES, load_case, measure_errors

# The gradients were stored in float32, so in float64 they can only agree to its rounding.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-9}
STORED_GRADIENT_TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-7}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_parity_with_the_published_code(name: str, dtype: torch.dtype) -> None:
    errors = measure_errors(load_case(name, dtype))
    assert max(errors.outputs.values()) < TOLERANCE[dtype], errors
    assert max(errors.gradients.values()) < STORED_GRADIENT_TOLERANCE[dtype], errors
    assert max(errors.zero_gradients.values()) < TOLERANCE[dtype], errors


@pytest.mark.parametrize("name", CASES)
def test_only_the_prompts_get_gradients(name: str) -> None:
    case = load_case(name, torch.float32)
    F.cross_entropy(case.model(case.video, case.model.encode_text(case.class_names)), case.labels).backward()
    assert all(p.grad is None for p in case.model.backbone.parameters())
    assert all(p.grad is not None for p in case.model.trainable_parameters().values())
