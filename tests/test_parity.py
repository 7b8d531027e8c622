"""The mathematics is that of the published code: features, logits, loss and every gradient."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import method_case
from parity_case import CASES, FOLDER, load_case, measure_errors, read_case

NOT_HELD = {f"decoder.decoder_layers.{i}.attn.k_proj.bias" for i in range(4)}
"""A bias of all keys drops out of the softmax, so there is none here."""
BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "parity.py"

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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", method_case.CASES)
def test_parity_of_evl_xclip_and_vifi(name: str, dtype: torch.dtype) -> None:
    case = method_case.load_method_case(FOLDER / f"{name}.safetensors", dtype)
    errors = method_case.measure_method_errors(case)
    assert max(errors.outputs.values()) < TOLERANCE[dtype], errors
    assert max(errors.gradients.values()) < STORED_GRADIENT_TOLERANCE[dtype], errors
    assert max(errors.zero_gradients.values(), default=0) < TOLERANCE[dtype], errors
    assert errors.gradients.keys() | errors.zero_gradients.keys() >= case.gradients.keys() - NOT_HELD


@pytest.mark.parametrize("name", CASES)
def test_only_the_prompts_get_gradients(name: str) -> None:
    case = load_case(name, torch.float32)
    F.cross_entropy(case.model(case.video, case.model.encode_text(case.class_names)), case.labels).backward()
    assert all(p.grad is None for p in case.model.backbone.parameters())
    assert all(p.grad is not None for p in case.model.trainable_parameters().values())


def test_cases_under_published_names_are_measured(tmp_path: Path) -> None:
    name = CASES[1]
    tensors, meta = read_case(FOLDER / f"{name}.safetensors")
    kinds = {"weights": "state", "gradients": "grad"}
    renamed = {f"{kinds.get(k, k)}.{rest}": t for (k, rest), t in ((n.split("/", 1), t) for n, t in tensors.items())}
    heads = {"num_heads": int(meta["vision_heads"]), "text_transformer_heads": int(meta["text_heads"])}
    config = json.dumps(heads | {"text_prompt_pos": meta["class_token_position"]})
    save_file(renamed, tmp_path / "case.safetensors", {"config": config, "classes": meta["class_names"]})
    program = [sys.executable, str(BENCHMARK), "--cases", str(tmp_path)]
    run = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.count("| case |")) == (0, 3), run.stderr

    renamed["expected.logits"] = renamed["expected.logits"] * (1 + 1e-8)
    save_file(renamed, tmp_path / "case.safetensors", {"config": config, "classes": meta["class_names"]})
    assert subprocess.run(program, capture_output=True, check=False).returncode == 1

    save_file(renamed, tmp_path / "case.safetensors", {"config": config, "classes": "[]", "method": "other"})
    run = subprocess.run(program, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "a case of other, which is not built here" in run.stdout
