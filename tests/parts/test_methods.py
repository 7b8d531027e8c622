"""What the published codes of EVL, X-CLIP and ViFi-CLIP got wrong, and what is right: a test for each fault."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from small_world import NAMES
from tiny import DECODE, METHODS, parameter_of, tiny_backbone, tiny_model
from vitaclip.backbones.vision import QueryAttention, Trace
from vitaclip.model import VideoModel
from vitaclip.parts.config import ModelConfig
from vitaclip.parts.heads.video_read import VideoReadHead
from vitaclip.parts.pools.evl_decoder import DecodePool, motion_weights
from vitaclip.runtime import RuntimeConfig, autocast
from vitaclip.training.config import OptimConfig
from vitaclip.training.optim import group_settings

every_method = pytest.mark.parametrize("method", METHODS)


def model_of(method: str, **settings: Any) -> VideoModel:
    """In float64, with values in everything that starts at zero."""
    model = tiny_model(NAMES, **{**METHODS[method], **settings}).double()
    generator = torch.Generator().manual_seed(1)
    for slot in model.parts().values():
        for parameter in slot.parameters():
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return model


def random_video(frames: int = 4, clips: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(clips, frames, 3, 16, 16, generator=generator, dtype=torch.float64)


def trace_of(model: VideoModel, video: Tensor) -> Trace:
    """Of the last block."""
    tower = model.backbone.vision
    *_, last = tower.run_blocks(tower.embed(video), all_tokens=True)
    return last


def close(ours: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-11)


@every_method
@pytest.mark.parametrize("frames", [1, 3, 4, 9])
def test_no_video_depends_on_its_batch_mates(method: str, frames: int) -> None:
    """X-CLIP's code takes T from the model, so that one frame a video mixes the videos."""
    model, video = model_of(method), random_video(frames)
    texts = model.encode_text(NAMES)
    together = model(video, texts)
    assert together.shape == (3, 3)
    close(together, torch.cat([model(clip[None], texts) for clip in video]))
    others = video.clone()
    others[1:] *= -2
    with torch.no_grad():
        assert torch.equal(model(video, texts)[0], model(others, texts)[0])


@pytest.mark.parametrize(("method", "name"), [("evl", "pool.time.1.positions"), ("xclip", "pool.positions")])
def test_positions_are_interpolated_to_other_frames(method: str, name: str) -> None:
    trained, other = model_of(method), model_of(method, num_frames=7)
    for parameter, value in trained.state_dict().items():
        if parameter.endswith("positions"):
            stretched = F.interpolate(value.T[None], size=7, mode="linear")[0].T
            other.state_dict()[parameter].copy_(stretched)
        else:
            other.state_dict()[parameter].copy_(value)
    assert len(parameter_of(other, name)) == 7
    texts = trained.encode_text(NAMES)
    close(trained(random_video(7), texts), other(random_video(7), texts))


@every_method
def test_second_class_list_gets_its_own_features(method: str) -> None:
    """X-CLIP's code keeps the first list's."""
    model, video = model_of(method), random_video()
    first = model(video, model.encode_text(NAMES))
    turned = [NAMES[n] for n in (2, 0, 1)]
    close(model(video, model.encode_text(turned)), first[:, [2, 0, 1]])
    close(model(video, model.encode_text(NAMES)), first)
    if method != "evl":
        assert not torch.allclose(model(video, model.encode_text(["run", "sit", "stand"])), first)


@pytest.mark.parametrize("method", ["evl", "evl zero-shot", "evl of vita-clip"])
def test_image_tower_trains_below_the_decoder(method: str) -> None:
    """EVL's code adds into the tower's own output in place, which its backward pass cannot bear."""
    model, video = model_of(method, train="image"), random_video()
    labels = torch.tensor([0, 2, 1])

    def loss() -> Tensor:
        return F.cross_entropy(model(video, model.encode_text(NAMES)), labels)

    loss().backward()
    weight = parameter_of(model, "backbone.vision.blocks.0.mlp.fc1.weight")
    assert weight.grad is not None
    step = 1e-5 * weight.grad / weight.grad.norm()
    with torch.no_grad():
        weight.add_(step)
        higher = loss()
        weight.sub_(2 * step)
        slope = (higher - loss()) / (2 * step.norm())
    assert float(slope) == pytest.approx(float(weight.grad.norm()), rel=1e-5)


@every_method
def test_what_trains_is_chosen_by_part(method: str) -> None:
    """X-CLIP's code matches pieces of parameter names, ViFi-CLIP's optimises what is frozen."""
    model = model_of(method)
    trained = {".".join(name.split(".")[:2]) for name in model.trainable_parameters() if name.startswith("backbone.")}
    towers = {"both": {"backbone.vision", "backbone.text"}, "image": {"backbone.vision"}, "none": set()}
    assert trained == towers[model.config.train]
    assert ("head.logit_scale" in model.trainable_parameters()) == (method not in ("evl", "xclip"))
    assert "backbone.text.token_embed.weight" not in model.trainable_parameters()
    assert set(model.backbone.vision.state_dict()) <= {n.removeprefix("backbone.vision.") for n in model.state_dict()}


def test_decoder_starts_at_random_unless_as_published() -> None:
    token = parameter_of(tiny_model(NAMES, **METHODS["evl"]), "pool.token")
    assert 0.005 < token.detach().std() < 0.05
    published = tiny_model(NAMES, context={}, pool={**DECODE, "start_at_zero": True}, head="classifier")
    assert not parameter_of(published, "pool.token").any()


@every_method
def test_tower_keeps_activations_where_something_trains_there(method: str) -> None:
    model, video = model_of(method), random_video()
    learns = method not in ("evl", "evl zero-shot")
    assert model.tower_features(video).requires_grad == learns
    assert model(video, model.encode_text(NAMES)).requires_grad
    assert model.tower_features(video.requires_grad_()).requires_grad


def test_motion_equals_a_loop_over_patches() -> None:
    model = tiny_model(NAMES, **METHODS["evl"]).double()
    assert isinstance(model.pool, DecodePool)
    motion: Any = model.pool.time[1].motion
    for weight in (motion.before, motion.after):
        nn.init.normal_(weight)
    trace = trace_of(model, random_video(frames=3, clips=1))
    block, width, heads, side = trace.block, 16, 2, 2
    query, key = F.linear(
        block.norm1(trace.input)[0, :, 1:],
        block.attention.qkv.weight[: 2 * width],
        block.attention.qkv.bias[: 2 * width],
    ).split(width, dim=-1)
    expected = torch.zeros(3, side**2, width, dtype=torch.float64)
    for t in range(3):
        for other, table in ((t - 1, motion.before), (t + 1, motion.after)):
            if other not in range(3):
                continue
            for p in range(side**2):
                for part in torch.arange(width).chunk(heads):
                    scores = key[other][:, part] @ query[t, p, part] / len(part) ** 0.5
                    for q, weight in enumerate(scores.softmax(dim=0)):
                        rows, columns = p // side - q // side, p % side - q % side
                        bin_number = (rows + side - 1) * (2 * side - 1) + columns + side - 1
                        expected[t, p] += weight * table[bin_number] / heads
    close(motion(motion_weights(trace, model.backbone.vision))[0], expected)


def test_folded_attention_equals_plain_with_any_key_bias() -> None:
    torch.manual_seed(0)
    ours, plain = QueryAttention(16, 8, 2).double(), nn.MultiheadAttention(8, 2, batch_first=True).double()
    query, tokens = torch.randn(3, 16, dtype=torch.float64), torch.randn(3, 10, 16, dtype=torch.float64)
    key_bias = torch.randn(8, dtype=torch.float64)
    projected = [ours.query(query)[:, None], ours.key(tokens) + key_bias, ours.value(tokens)]
    with torch.no_grad():
        plain.in_proj_weight.copy_(torch.eye(8).repeat(3, 1))
        plain.out_proj.weight.copy_(torch.eye(8))
    mixed, weights = plain(*projected, average_attn_weights=False)
    close(ours(query, tokens), ours.out(mixed[:, 0]))
    close(ours.weights(query, tokens), weights[:, :, 0])


def test_texts_start_from_what_they_are() -> None:
    """With alpha = 0 the video changes no text; the length of a text counts where it changes one."""
    model, video = model_of("xclip"), random_video()
    assert isinstance(model.head, VideoReadHead)
    model.head.alpha.data.zero_()
    texts, features = model.encode_text(NAMES), model.encode_video(video)
    cosines = F.normalize(features[:, 0], dim=-1) @ F.normalize(texts, dim=-1).T
    close(model.logits(features, texts), model.head.logit_scale.exp() * cosines)
    close(model.logits(features, 3 * texts), model.logits(features, texts))
    model.head.alpha.data += 1
    assert not torch.allclose(model.logits(features, 3 * texts), model.logits(features, texts))


@every_method
def test_low_precision_rounds_no_gradient(method: str) -> None:
    """ViFi-CLIP's code rounds prompts and their gradients to float16 in every step."""
    model = model_of(method).float()
    with autocast(RuntimeConfig(device="cpu", precision="bfloat16"), torch.device("cpu")):
        loss = model(random_video().float(), model.encode_text(NAMES)).logsumexp(dim=-1).mean()
    loss.backward()
    for name, parameter in model.adapter_params().items():
        assert parameter.grad is not None, name
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all()


@pytest.mark.parametrize("method", ["evl", "xclip"])
def test_positions_norms_and_token_can_go_without_decay(method: str) -> None:
    model, optim = model_of(method), OptimConfig(weight_decay=0.5, decayed="no_positions")
    decayed = {n for n, p in model.trainable_parameters().items() if group_settings(n, p, optim)["weight_decay"]}
    names = "norm", "bias", "positions", "pos_embed", "token", "cls_embed"
    assert not [name for name in decayed if any(word in name.split(".")[-1] for word in names) or "norm" in name]
    assert "backbone.vision.proj" in decayed or "pool.time.0.motion.before" in decayed


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"pool": {"name": "decode", "blocks": 3}, "head": "classifier"},
            "the last 3 blocks, this backbone has 2; let",
        ),
        (
            {"pool": {**DECODE, "heads": 3}, "head": "classifier"},
            "heads = 3 do not divide .* 16 channels; choose others",
        ),
        ({"pool": DECODE, "head": "templates"}, "the space of the texts, .* set model.pool.project = true, or choose"),
        ({"pool": "mean", "head": "video_read"}, r"takes features of shape \(5, 8\), .* gives \(8,\); choose another"),
        ({"pool": "integrate", "head": "classifier"}, "one feature of a video, .* integrate with patches = false"),
        ({"pool": "integrate", "head": "templates"}, r"shape \(8,\), but model.pool gives \(5, 8\); choose another"),
        ({"pool": {"name": "integrate", "heads": 3}, "head": "video_read"}, "heads = 3 do not divide D = 8; choose"),
        ({"context": {"deep_tokens": {"depth": 3}}}, "depth = 3 is more than the 2 blocks .* choose a smaller one"),
    ],
)
def test_parts_that_do_not_fit_are_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        tiny_model(NAMES, **{"context": {}, **settings})
    assert "\n" not in str(caught.value)


def test_equal_widths_are_still_two_spaces() -> None:
    config = ModelConfig(backbone="tiny", context={}, pool=DECODE, head="linear")
    with pytest.raises(ValueError, match=r"set model\.pool\.project = true"):
        VideoModel(tiny_backbone(width=8), config, NAMES)


def test_classifier_serves_its_own_names_alone() -> None:
    model = model_of("evl")
    with pytest.raises(ValueError, match=r"one vector for each of its own 3 classes, .* give some of its own names"):
        model.encode_text(["run"])
    with pytest.raises(ValueError, match="'classifier' reads no texts; leave the templates out"):
        model.encode_text(NAMES, ["a video of {}."])
    with pytest.raises(ValueError, match="a classifier needs the class names"):
        tiny_model(**METHODS["evl"])
