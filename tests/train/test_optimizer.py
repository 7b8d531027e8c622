"""What the optimiser does to which parameter, seen after a step."""

import pytest
import torch
from torch import Tensor, nn

from tiny import parameter_of, tiny_model
from vitaclip.model import VideoModel
from vitaclip.train.config import OptimConfig
from vitaclip.train.optim import build_optimizer

LEARNING_RATE, DECAY = 0.1, 0.5


def decay_after_a_step(model: VideoModel, config: OptimConfig) -> dict[str, float]:
    """By how much each parameter shrank in a step with no gradient: only weight decay can move it then."""
    before = {name: p.detach().clone() for name, p in model.trainable_parameters().items()}
    optimizer = build_optimizer(model, config)
    for parameter in model.trainable_parameters().values():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()

    def shrunk(name: str, now: Tensor) -> float:
        return 1 - (now.norm() / before[name].norm()).item()

    return {name: shrunk(name, p.detach()) for name, p in model.trainable_parameters().items()}


def model_without_zeros() -> VideoModel:
    model = tiny_model()
    with torch.no_grad():
        for parameter in model.trainable_parameters().values():
            parameter.add_(0.5)
    return model


@pytest.mark.parametrize("decayed", ["all", "matrices"])
def test_vectors_are_decayed_only_if_asked(decayed: str) -> None:
    model = model_without_zeros()
    config = OptimConfig(learning_rate=LEARNING_RATE, weight_decay=DECAY, decayed=decayed)  # type: ignore[arg-type]
    exempt = {id(parameter_of(model, "head.logit_scale"))}
    for module in model.context.modules():
        if isinstance(module, nn.LayerNorm):
            exempt |= {id(module.weight), id(module.bias)}
        if isinstance(module, nn.Linear):
            exempt.add(id(module.bias))
    names = {name for name, p in model.trainable_parameters().items() if id(p) in exempt}
    assert len(names) == 1 + 2 * (2 + 3)  # the temperature; in each of two blocks a norm and three linear layers
    for name, shrunk in decay_after_a_step(model, config).items():
        spared = decayed == "matrices" and name in names
        assert shrunk == pytest.approx(0 if spared else LEARNING_RATE * DECAY, abs=1e-6), name


def test_each_trained_parameter_is_in_one_group() -> None:
    model = tiny_model()
    trained = {id(p) for p in model.trainable_parameters().values()}
    for decayed, groups in (("all", 1), ("matrices", 2)):
        optimizer = build_optimizer(model, OptimConfig(decayed=decayed))  # type: ignore[arg-type]
        held = [id(p) for group in optimizer.param_groups for p in group["params"]]
        assert len(optimizer.param_groups) == groups
        assert len(held) == len(set(held))
        assert set(held) == trained
