"""The mathematics is that of the published codes: features, logits, loss and every gradient."""

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import parity
from parity_case import CASES, FOLDER, METHOD_CASES, load_case, measure_errors, read_case

NOT_HELD = {f"decoder.decoder_layers.{i}.attn.k_proj.bias" for i in range(4)}
"""A bias of all keys drops out of the softmax, so there is none here."""

# The gradients were stored in float32, so in float64 they can only agree to its rounding.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-9}
STORED_GRADIENT_TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-7}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", [*CASES, *METHOD_CASES])
def test_parity_with_the_published_code(name: str, dtype: torch.dtype) -> None:
    case = load_case(name, dtype)
    errors = measure_errors(case)
    assert max(errors.outputs.values()) < TOLERANCE[dtype], errors
    assert max(errors.gradients.values()) < STORED_GRADIENT_TOLERANCE[dtype], errors
    assert max(errors.zero_gradients.values(), default=0) < TOLERANCE[dtype], errors
    assert errors.gradients.keys() | errors.zero_gradients.keys() >= case.gradients.keys() - NOT_HELD


@pytest.mark.parametrize("name", CASES)
def test_only_the_prompts_get_gradients(name: str) -> None:
    case = load_case(name, torch.float32)
    F.cross_entropy(case.model(case.video, case.model.encode_text(case.class_names)), case.targets).backward()
    assert all(p.grad is None for p in case.model.backbone.parameters())
    assert all(p.grad is not None for p in case.model.trainable_parameters().values())


def test_other_cases_are_measured_and_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors, meta = read_case(FOLDER / f"{CASES[1]}.safetensors")
    monkeypatch.setattr(sys, "argv", ["parity.py", "--cases", str(tmp_path)])

    def status(**changed: str) -> int:
        save_file(tensors, tmp_path / "case.safetensors", meta | changed)
        with pytest.raises(SystemExit) as ended:
            parity.main()
        return int(ended.value.code or 0)

    assert status() == 0
    assert capsys.readouterr().out.count("| case |") == 3
    assert status(method="other") == 1
    assert "a case of other, which is not built here" in capsys.readouterr().out
    tensors["expected.logits"] = tensors["expected.logits"] * (1 + 1e-8)
    assert status() == 1
