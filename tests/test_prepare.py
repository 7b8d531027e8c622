"""Settings that change how fast and in how much memory, and not what is computed."""

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor

from tiny import tiny_model
from vitaclip.backbones.transformer import Block
from vitaclip.model import VideoModel
from vitaclip.runtime import RuntimeConfig

NAMES = ("jump", "run up", "sit down")


def random_video() -> Tensor:
    return torch.randn(2, 4, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def gradients(model: VideoModel) -> dict[str, Tensor]:
    """Of the loss of two clips, by parameter."""
    loss = F.cross_entropy(model(random_video(), model.encode_text(NAMES)), torch.tensor([0, 2]))
    names, parameters = zip(*model.trainable_parameters().items(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


def kept_bytes(model: VideoModel) -> int:
    """What a forward pass keeps for the way back, weights aside."""
    kept: dict[int, int] = {}
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        features = model.encode_video(random_video())  # held, so that no storage is used twice
    assert features.requires_grad
    return sum(kept.values())


def test_checkpointed_activations_give_gradients_from_less_memory() -> None:
    model = tiny_model(NAMES).double()
    expected, needed = gradients(model), kept_bytes(model)
    model.prepare(RuntimeConfig(checkpoint_activations=True))
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-12, atol=1e-14, msg=name)
    assert kept_bytes(model) < 0.5 * needed
    model.prepare(RuntimeConfig())
    assert kept_bytes(model) == needed


def test_a_compiled_block_gives_the_same_numbers() -> None:
    """Through torch's own tracing and differentiation, without the code generator, which takes minutes."""
    block = tiny_model(NAMES).backbone.vision.blocks[0]
    assert isinstance(block, Block)
    x = random_video().flatten(-2)[..., :2, :16].float().requires_grad_()
    context = [torch.ones(3, 16), x[:, :, 0].detach()[:, None]]
    compiled = torch.compile(block, backend="aot_eager", fullgraph=True)
    for keep in (None, 1):
        plain, traced = (run(x, context, keep=keep) for run in (block, compiled))
        torch.testing.assert_close(traced, plain)
        torch.testing.assert_close(*(torch.autograd.grad(y.square().sum(), x) for y in (traced, plain)))


def test_a_copy_of_a_compiled_model_is_uncompiled() -> None:
    """So that it can go to another process; compiled code cannot."""
    model = tiny_model(NAMES).double().prepare(RuntimeConfig(compile=True))
    assert vars(model).keys() > {"_first_tokens"}
    copied = deepcopy(model)
    torch.testing.assert_close(
        copied.encode_video(random_video()), tiny_model(NAMES).double().encode_video(random_video())
    )
