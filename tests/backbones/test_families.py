"""Image-text families against their own codes: golden cases where those do not run here, else transformers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import peers
from tiny import all_kinds, tiny_backbone, tiny_tokenizer
from tower_case import CASES, feature_places, read_tower, tower_errors
from vitaclip.backbones.families.family import read_architecture
from vitaclip.backbones.families.longclip import TABLE as LONGCLIP
from vitaclip.backbones.families.timm import VISION
from vitaclip.backbones.known import KnownBackbone, known_backbones, licence_notice
from vitaclip.backbones.loading import Backbone, load_backbone, read_clip, save_backbone
from vitaclip.backbones.model import CLIP, without_values
from vitaclip.backbones.reading import StateFile
from vitaclip.backbones.transformer import rotations
from vitaclip.model import VideoModel
from vitaclip.parts.config import ModelConfig

NAMES = sorted(folder.name for folder in CASES.iterdir())


@pytest.mark.parametrize("case", NAMES)
def test_golden_towers_are_reproduced_in_float64(case: str) -> None:
    assert max(tower_errors(CASES / case).values()) < 1e-9


PEERS: dict[str, tuple[Callable[[], Any], list[list[int]]]] = {
    "CLIP, quick_gelu": (peers.transformers_clip, peers.TEXTS),
    "CLIP, gelu": (lambda: peers.transformers_clip("gelu"), peers.TEXTS),
    "SigLIP, an image with a rest": (lambda: peers.siglip(35, 1), [[5, 6, 7, 1], [9, 1], [8, 7, 6, 5, 4, 1]]),
    "SigLIP 2": (lambda: peers.siglip(32, 0), [[5, 6, 7, 1], [9, 1], [8, 7, 6, 5, 4, 1]]),
    "MetaCLIP 2, quick_gelu": (lambda: peers.metaclip2("quick_gelu"), [[0, 5, 6, 2], [0, 9, 2], [0, 4, 4, 4, 2]]),
    "MetaCLIP 2, gelu": (lambda: peers.metaclip2("gelu"), [[0, 5, 6, 2], [0, 9, 2], [0, 4, 4, 4, 2]]),
}


@pytest.mark.parametrize("name", PEERS)
@torch.no_grad()
def test_transformers_families_are_reproduced(name: str, tmp_path: Path) -> None:
    make, texts = PEERS[name]
    torch.manual_seed(0)
    model = make().eval()
    peers.spread(model)
    model.save_pretrained(tmp_path)
    weights = read_clip(tmp_path)
    clip, layout = CLIP.from_state(weights.config, weights.state).double(), weights.config.text.layout
    size, length = weights.config.vision.image_size, weights.config.text.context_length
    ids = torch.tensor([row + [layout.pad] * (length - len(row)) for row in texts])
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    theirs = [model.double().get_image_features(images), model.get_text_features(ids)]
    ours = [clip.vision(images), clip.encode_ids(ids, feature_places(ids, weights.config.text))]
    for mine, expected in zip(ours, (getattr(each, "pooler_output", each) for each in theirs), strict=True):
        assert expected.std(dim=0).mean() > 0.01
        torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "make", [lambda: peers.siglip(32, 1), lambda: peers.metaclip2("gelu"), peers.transformers_clip]
)
@pytest.mark.parametrize("image_size", [16, 64])
@torch.no_grad()
def test_other_input_sizes_are_transformers(make: Callable[[], Any], image_size: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = make().eval().double()
    peers.spread(model)
    model.save_pretrained(tmp_path)
    weights = read_clip(tmp_path)
    clip = CLIP.from_state(weights.config, weights.state).double().resized(image_size)
    images = torch.randn(2, 3, image_size, image_size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    theirs = model.get_image_features(images, interpolate_pos_encoding=True)
    expected = getattr(theirs, "pooler_output", theirs)
    torch.testing.assert_close(clip.vision(images), expected, rtol=1e-5, atol=1e-5)  # saved in float32


@pytest.mark.parametrize(("case", "last"), [("pe", 8), ("pe_timm", 4), ("eva02", 14)])
def test_rope_of_other_input_sizes_is_the_familys(case: str, last: float) -> None:
    """On a grid of twice the side: PE's own code goes on counting, timm's PE and EVA-02 stretch to a fixed one."""
    options: dict[str, dict[str, Any]]
    options = {"pe": {"rope": "pe"}, "pe_timm": {"rope": "pe", "rope_side": 4}, "eva02": {"rope": "eva02"}}
    config = tiny_backbone(image_size=32, **options[case]).clip.resized(64).config.vision
    angles = torch.atan2(*rotations(config, torch.zeros(1, dtype=torch.float64)).flip(0))  # type: ignore[union-attr]
    assert torch.allclose(angles[-1, 0].cos(), torch.tensor(last, dtype=torch.float64).cos())


def test_pe_positions_are_resampled_bilinearly() -> None:
    """Twice the side: a new position is 3/4 of the nearest old one and 1/4 of the next, along both axes."""
    weights = read_tower(CASES / "pe")
    clip = CLIP.from_state(weights.config, weights.state)
    old, new = (c.vision.pos_embed[1:].unflatten(0, (c.config.vision.grid_side, -1)) for c in (clip, clip.resized(64)))
    rows = 0.75 * old[1] + 0.25 * old[0]
    torch.testing.assert_close(new[2, 2], 0.75 * rows[1] + 0.25 * rows[0])


def test_long_positions_are_joined() -> None:
    positions, long = torch.randn(248, 4), torch.randn(248, 4)
    joined = LONGCLIP[-1].to_ours([positions, long])[0]
    assert torch.equal(joined, torch.cat([positions[:20], long[20:]]))


def test_missing_biases_of_keys_are_zero() -> None:
    row = next(row for row in VISION if row.kind == "biases")
    assert [name.rpartition(".")[2] for name in row.theirs] == ["q_bias", "k_bias?", "v_bias"]
    query, value = torch.randn(3), torch.randn(3)
    assert torch.equal(row.to_ours([query, None, value])[0], torch.cat([query, torch.zeros(3), value]))


def golden_model(case: str, **settings: Any) -> VideoModel:
    """A video model on the tower of a case, in float64."""
    weights = read_tower(CASES / case)
    clip = CLIP.from_state(weights.config, weights.state)
    config = ModelConfig(backbone=case, num_frames=3, head="templates", **settings)
    return VideoModel(Backbone(clip, tiny_tokenizer(), case, "0" * 16), config, seed=1).double().eval()


def golden_video(case: str) -> Tensor:
    """Two videos of three frames, the second backwards."""
    images = load_file(CASES / case / "golden.safetensors")["pixel_values"].double()
    return torch.stack([images, images.flip(0)])


@pytest.mark.parametrize("case", NAMES)
@torch.no_grad()
def test_without_prompts_each_tower_is_frozen(case: str) -> None:
    model, video = golden_model(case, context={}), golden_video(case)
    expected = model.backbone.vision(video).mean(dim=1)
    assert torch.equal(model.encode_video(video, normalize=False), expected)


@pytest.mark.parametrize("case", NAMES)
@torch.no_grad()
def test_prompts_keep_their_promises_on_each_tower(case: str) -> None:
    model, video = golden_model(case, context=all_kinds(2)), golden_video(case)
    both = model.encode_video(video, normalize=False)
    alone = torch.cat([model.encode_video(each[None], normalize=False) for each in video])
    torch.testing.assert_close(alone, both, rtol=1e-12, atol=1e-12)
    assert (both[0] - both[1]).abs().max() > 1e-6 * both.abs().max(), "prompts see the order of frames"
    assert torch.isfinite(model.encode_video(video.repeat(1, 2, 1, 1, 1))).all()
    assert torch.isfinite(model.encode_video(video[:, :1])).all()


def test_context_is_not_turned_and_trains() -> None:
    """With RoPE, a class token given as context once more does what a second class token in the frame would."""
    model, video = golden_model("pe", context={"global": {"count": 2}}), golden_video("pe")
    model.train().encode_video(video).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.context.parameters())
    block, x = model.backbone.vision.blocks[0], torch.randn(1, 17, 64, dtype=torch.float64)
    rope = rotations(model.backbone.config.vision, x)
    assert rope is not None
    twice = block(torch.cat([x[:, :1], x], dim=1), rope=torch.cat([rope[:, :1], rope], dim=1))
    torch.testing.assert_close(block(x, [x[:, :1]], rope=rope), twice[:, 1:], rtol=1e-12, atol=1e-12)


def test_a_tower_trains_after_inference() -> None:
    model, video = golden_model("eva02", context={"global": {"count": 2}}), golden_video("eva02")
    with torch.inference_mode():
        before = model.encode_video(video)
    model.train().encode_video(video).sum().backward()
    assert torch.equal(model.encode_video(video).detach(), before)


@pytest.mark.parametrize("case", NAMES)
def test_towers_of_all_families_are_saved_and_read(case: str, tmp_path: Path) -> None:
    weights = read_tower(CASES / case)
    clip = CLIP.from_state(weights.config, weights.state)
    again = read_clip(save_backbone(clip, tiny_tokenizer(), tmp_path / "own"))
    assert again.config == weights.config
    assert all(torch.equal(again.state[name], value) for name, value in weights.state.items())


@pytest.mark.parametrize("known", known_backbones(), ids=lambda known: known.name)
def test_listed_backbones_have_stated_parameters_and_heads(known: KnownBackbone) -> None:
    with without_values():
        clip = CLIP(known.config)
        read = read_architecture(clip.state_dict(), {"pool": known.config.vision.pool})
    counts = (sum(p.numel() for p in tower.parameters()) for tower in (clip.vision, clip.text))
    assert known.parameters == " + ".join(f"{count / 1e6:.0f}" for count in counts)
    assert (read.vision.heads, read.text.heads) == (known.config.vision.heads, known.config.text.heads)


@pytest.mark.filterwarnings("ignore")
def test_naflex_is_refused(tmp_path: Path) -> None:
    from transformers import Siglip2Config, Siglip2Model

    sizes = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 80}
    vision = {"num_patches": 16, "patch_size": 8}
    config = Siglip2Config(text_config={**sizes, "vocab_size": 90}, vision_config={**sizes, **vision})
    Siglip2Model(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"images of variable size \(NaFlex\) are not built"):
        load_backbone(tmp_path)


def test_tokenizer_is_missed_before_weights_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peers.siglip(32, 0).save_pretrained(tmp_path)
    monkeypatch.setattr(StateFile, "read", lambda self: pytest.fail("the weights were read"))
    with pytest.raises(ValueError, match="no tokenizer in it"):
        load_backbone(tmp_path)


def test_restrictive_licences_are_said(tmp_path: Path) -> None:
    folder = tmp_path / "metaclip-2"
    backbone = tiny_backbone()
    with pytest.warns(UserWarning, match="not for commercial use"):
        load_backbone(save_backbone(backbone.clip, backbone.tokenizer, folder))
    assert "not for commercial use" in licence_notice("facebook/metaclip-2-worldwide-huge-quickgelu")
    assert "research" in licence_notice("timm/MobileCLIP2-L-14-OpenCLIP")
    assert not licence_notice("facebook/PE-Core-B16-224")
