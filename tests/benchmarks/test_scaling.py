"""What the scaling benchmark holds its measurements against."""

import full_size
import operations
import pytest
import torch

from vitaclip.backbones import text as text_tower
from vitaclip.runtime import RuntimeConfig


def test_formula_counts_what_a_class_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the texts that are kept, a class still costs its gradient and the optimiser's state, counted here."""
    monkeypatch.setattr(text_tower, "MAX_STORED_TEXTS", 4)
    monkeypatch.setattr(operations, "MAX_STORED_TEXTS", 4)
    formula, counted = [], []
    for classes in (10, 30):
        model = full_size.build_model(classes=classes, frames=1, image_size=32, small=True)
        trainer = full_size.trainer_of(model, 2, 2, RuntimeConfig(precision="float32"))
        trainer.train_step(full_size.random_batch(model, 2))
        state = [value for values in trainer.optimizer.state.values() for value in values.values()]
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        counted.append(sum(each.numel() for each in [*state, *gradients]))
        formula.append(operations.kept_numbers(model, 2, full_size.text_lengths(model), by_products=False))
    assert formula[1] - formula[0] > counted[1] - counted[0]


def test_formula_counts_attention_by_products() -> None:
    """The weights and the scaled queries, against what torch keeps for training in bfloat16 and would in float32."""
    model = full_size.build_model(classes=10, frames=2, image_size=32, small=True)
    vision = model.backbone.config.vision
    kept: list[torch.Size] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.shape)
        return tensor

    pixels = full_size.random_pixels(3, 2, size=32)
    with (
        torch.autocast("cpu", torch.bfloat16),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        model.encode_video(pixels)
    tokens, seen = 1 + vision.num_patches, 1 + vision.num_patches + 8 + 2 + 1
    weights = [size for size in kept if size[-1] == seen and size.numel() == 3 * 2 * vision.heads * size[-2] * seen]
    assert weights, "no weights of attention are kept"
    lengths = full_size.text_lengths(model)
    more, less = (operations.kept_numbers(model, 3, lengths, by_products=by) for by in (True, False))
    assert more - less == 3 * 2 * vision.depth * tokens * (vision.heads * seen + vision.width)
