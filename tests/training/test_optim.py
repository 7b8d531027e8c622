"""How long a run is, its learning rate, what the optimiser does to which parameter, and the moving average."""

import math
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import nn

from tiny import parameter_of, tiny_model
from vitaclip.training.config import OptimConfig
from vitaclip.training.optim import EMA, Schedule, build_optimizer, set_learning_rate

LEARNING_RATE, DECAY = 0.1, 0.5


def rates(steps: int, factor: float = 1.0, **settings: object) -> list[float]:
    config = OptimConfig(learning_rate=1.0, steps=steps, **settings)  # type: ignore[arg-type]
    return [Schedule(config, 100).rate(step, factor) for step in range(steps + 1)]


def test_schedule_is_a_half_cosine() -> None:
    assert rates(4)[::2] == pytest.approx([1.0, 0.5, 0.0])


def test_warm_up_is_linear_up_to_cosine() -> None:
    found = rates(9, warmup_steps=3)
    assert found[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert found[3:] == pytest.approx(rates(6))


def test_floor_is_the_same_part_of_every_rate() -> None:
    assert rates(4, factor=0.1, floor=0.2) == pytest.approx([0.1 * rate for rate in rates(4, floor=0.2)])
    assert rates(4, floor=0.2)[::2] == pytest.approx([1.0, 0.6, 0.2])


def test_timm_cosine_is_the_published_schedule() -> None:
    """Restated from its definition, with X-CLIP's numbers: 30 epochs of 10 steps, 5 of warm-up."""
    published: dict[str, Any] = {"schedule": "timm_cosine", "warmup_steps": 50, "floor": 0.01, "backbone_rate": 0.1}
    for factor in (0.1, 1.0):
        expected = [
            factor * step / 50 if step < 50 else 1e-3 + (factor - 1e-3) * 0.5 * (1 + math.cos(math.pi * step / 300))
            for step in range(301)
        ]
        assert rates(300, factor, **published) == pytest.approx(expected)
    assert rates(300, **published)[0] == 0


@pytest.mark.parametrize(("epochs", "videos", "batch", "steps"), [(1, 10, 5, 2), (3, 10, 4, 8), (50, 816, 64, 638)])
def test_epochs_are_rounded_up_to_steps(epochs: int, videos: int, batch: int, steps: int) -> None:
    assert Schedule(OptimConfig(steps=0, epochs=epochs, batch_size=batch), videos).steps == steps


def test_warm_up_may_be_given_in_epochs() -> None:
    assert Schedule(OptimConfig(steps=0, epochs=30, warmup_epochs=5, batch_size=10), 100).warmup_steps == 50


def test_warm_up_as_long_as_run_is_refused() -> None:
    with pytest.raises(ValueError, match="warmup_steps = 4: must be fewer than all steps, here 4"):
        Schedule(OptimConfig(steps=0, epochs=2, batch_size=5, warmup_steps=4), 10)


@pytest.mark.parametrize("decayed", ["all", "matrices"])
def test_vectors_are_decayed_only_if_asked(decayed: str) -> None:
    """By how much each parameter shrinks in a step with no gradient: only weight decay can move it then."""
    model = tiny_model()
    exempt = {id(parameter_of(model, "head.logit_scale"))}
    for module in model.context.modules():
        if isinstance(module, nn.LayerNorm):
            exempt |= {id(module.weight), id(module.bias)}
        if isinstance(module, nn.Linear):
            exempt.add(id(module.bias))
    trained = model.trainable_parameters()
    names = {name for name, p in trained.items() if id(p) in exempt}
    assert len(names) == 1 + 2 * (2 + 3)  # the temperature; in each of two blocks a norm and three linear layers
    optimizer = build_optimizer(
        model,
        OptimConfig(learning_rate=LEARNING_RATE, weight_decay=DECAY, decayed=decayed),  # type: ignore[arg-type]
    )
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(map(id, trained.values()))  # each once
    for parameter in trained.values():
        parameter.data.add_(0.5)
        parameter.grad = torch.zeros_like(parameter)
    before = {name: p.detach().norm().item() for name, p in trained.items()}
    optimizer.step()
    for name, parameter in trained.items():
        expected = 0 if decayed == "matrices" and name in names else LEARNING_RATE * DECAY
        assert 1 - parameter.detach().norm().item() / before[name] == pytest.approx(expected, abs=1e-6), name


def test_ema_equals_recursion_written_out() -> None:
    parameter = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    average = EMA({"p": parameter}, decay=0.4)
    expected = parameter.detach().clone()
    for step in range(1, 30):
        with torch.no_grad():
            parameter.add_(torch.tensor([step, 0.5]))
        average.update(step)
        kept = min(0.4, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * parameter.detach()
        torch.testing.assert_close(average.values["p"], expected)
    assert not average.values["p"].requires_grad


def test_applied_ema_is_undone_exactly_even_after_error() -> None:
    parameter = nn.Parameter(torch.rand(5))
    average = EMA({"p": parameter}, decay=0.9)
    start = parameter.detach().clone()
    with torch.no_grad():
        parameter.add_(torch.rand(5))
    trained = parameter.detach().clone()
    inside = []
    with suppress(KeyError), average.applied():
        inside.append(parameter.detach().clone())
        raise KeyError
    assert torch.equal(inside[0], start)
    assert torch.equal(parameter, trained)
    assert torch.equal(average.values["p"], start)
    average.apply()
    assert torch.equal(parameter, start)


def test_backbone_has_a_rate_of_its_own() -> None:
    model = tiny_model(train="image", pool="integrate", head="video_read", context={"summary": {}})
    config = OptimConfig(learning_rate=LEARNING_RATE, weight_decay=DECAY, decayed="no_positions", backbone_rate=0.1)
    optimizer = build_optimizer(model, config)
    set_learning_rate(optimizer, 0, Schedule(config, 1))
    rates = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    for name, expected in {
        "backbone.vision.blocks.0.mlp.fc1.weight": (0.1 * LEARNING_RATE, DECAY),
        "backbone.vision.pos_embed": (0.1 * LEARNING_RATE, 0),
        "pool.positions": (LEARNING_RATE, 0),
        "pool.blocks.0.mlp.fc1.weight": (LEARNING_RATE, DECAY),
        "head.alpha": (LEARNING_RATE, 0),
    }.items():
        assert rates[id(parameter_of(model, name))] == pytest.approx(expected), name
