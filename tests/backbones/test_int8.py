"""Linear layers in int8 beside the same in float."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitaclip.backbones.config import Activation
from vitaclip.backbones.int8 import Int8Layers
from vitaclip.backbones.transformer import MLP
from vitaclip.model import VideoModel
from vitaclip.runtime import RuntimeConfig, has_int8
from vitaclip.training.config import TrainConfig

CPU = torch.device("cpu")
pytestmark = pytest.mark.skipif(not has_int8(CPU), reason="this CPU has no instructions for int8")


def tokens(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def closed(layers: Int8Layers, seen: Tensor) -> Int8Layers:
    layers(seen)
    layers.close()
    return layers


def error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@torch.no_grad()
@pytest.mark.parametrize("activation", ["quick_gelu", "gelu", "gelu_tanh", "silu"])
def test_an_mlp_is_within_two_per_cent(activation: Activation) -> None:
    mlp, x = MLP(64, 256, activation), tokens(3, 5, 64)
    layers = Int8Layers([mlp.fc1, mlp.fc2], activation)
    torch.testing.assert_close(layers(x), mlp(x))
    layers.close()
    assert 0 < error(layers(x), mlp(x)) < 0.02


@torch.no_grad()
def test_channels_of_a_layer_are_computed_alone() -> None:
    layer, x = nn.Linear(64, 96), tokens(4, 7, 64)
    layers = closed(Int8Layers([layer]), x)
    torch.testing.assert_close(layers(x, slice(32, None)), layers(x)[..., 32:], rtol=0, atol=0)
    torch.testing.assert_close(layers(x[0]), layers(x)[0], rtol=0, atol=0)


@torch.no_grad()
def test_frames_beyond_the_range_leave_others_alone() -> None:
    mlp, x = MLP(64, 256, "gelu"), tokens(3, 5, 64)
    layers = closed(Int8Layers([mlp.fc1, mlp.fc2], "gelu"), x)
    large = torch.cat([x[:2], 50 * tokens(1, 5, 64, seed=1)])
    found = layers(large)
    torch.testing.assert_close(found[:2], layers(x)[:2], rtol=0, atol=0)
    torch.testing.assert_close(found[2:], layers(large[2:]), rtol=0, atol=0)
    assert error(found[2], mlp(large[2])) < 0.02


def test_a_model_in_int8_goes_back_to_float() -> None:
    model, video = VideoModel.from_pretrained("miniature"), torch.randint(256, (2, 8, 3, 64, 64), dtype=torch.uint8)
    names = ["red arrow moving left", "blue key growing"]
    expected = model.encode_video(video), model.encode_text(names)
    model.prepare(RuntimeConfig(device="cpu", precision="int8"))
    for found, exact in zip((model.encode_video(video), model.encode_text(names)), expected, strict=True):
        similar = F.cosine_similarity(found, exact)
        assert similar.min() > 0.99
        assert similar.max() < 0.999999
    model.prepare(RuntimeConfig(device="cpu", precision="float32"))
    torch.testing.assert_close(model.encode_video(video), expected[0], rtol=0, atol=0)


def test_int8_refuses_training_and_compiling() -> None:
    with pytest.raises(ValueError, match=r"runtime.*int8 has no gradients"):
        TrainConfig(out="run", runtime=RuntimeConfig(precision="int8"))
    with pytest.raises(ValueError, match="int8 is not compiled"):
        RuntimeConfig(precision="int8", compile=True)
