"""The model against a plain restatement of the method, and what must hold whatever the settings."""

import warnings
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tiny import all_kinds, learned_text, parameter_of, tiny_backbone, tiny_model
from vitaclip.backbones.loading import load_backbone, save_backbone
from vitaclip.backbones.transformer import Attention, Block
from vitaclip.model import VideoModel
from vitaclip.parts.assembly import PlaceContext
from vitaclip.parts.config import ModelConfig
from vitaclip.parts.heads.learned_text import LearnedTextHead

NAMES = ("jump", "run up", "sit down")


def random_video(batch: int = 2, frames: int = 4, size: int = 16, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, frames, 3, size, size, generator=generator, dtype=dtype)


def scramble(model: VideoModel) -> VideoModel:
    """Double precision, and no parameter at a special value."""
    generator = torch.Generator().manual_seed(2)
    model = model.double()
    for parameter in model.adapter_params().values():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return model


def naive_attention(layer: Attention, queries: Tensor, keys: Tensor) -> Tensor:
    """(L, C) attends to (S, C), head by head."""
    width = queries.shape[-1]
    size = width // layer.heads
    weight, bias = layer.qkv.weight, layer.qkv.bias
    q, k, v = (
        x @ weight[i * width : (i + 1) * width].T + bias[i * width : (i + 1) * width]
        for i, x in enumerate((queries, keys, keys))
    )
    heads = []
    for h in range(layer.heads):
        part = slice(h * size, (h + 1) * size)
        heads.append((q[:, part] @ k[:, part].T / size**0.5).softmax(dim=-1) @ v[:, part])
    return layer.out(torch.cat(heads, dim=-1))


def naive_block(block: nn.Module, prompts: nn.Module, frames: list[Tensor]) -> list[Tensor]:
    """The published order: prompts join all tokens as queries too and are thrown away after attention.

    Token order [cls, local, global, patches, summary], as in the published code.
    """
    assert isinstance(block, Block)
    assert isinstance(prompts, PlaceContext)
    kinds: dict[str, Any] = dict(prompts)
    local = global_ = None
    summaries: list[Tensor | None] = [None] * len(frames)
    cls = torch.stack([x[0] for x in frames])
    if prompts.centre:
        cls = cls - sum(cls) / len(cls)
    if "local" in kinds:
        local = kinds["local"].prompts + kinds["cls_proj"](cls)
    if "summary" in kinds:
        c = kinds["cls_proj"](cls)
        normed = kinds["summary"].norm(c)
        summaries = list(c + naive_attention(kinds["summary"].attention, normed, normed))
    if "global" in kinds:
        global_ = kinds["global"].prompts
    result = []
    for x, summary in zip(frames, summaries, strict=True):
        groups = [x[:1], local, global_, x[1:], None if summary is None else summary[None]]
        tokens = torch.cat([group for group in groups if group is not None])
        before = 1 + sum(len(group) for group in (local, global_) if group is not None)
        normed = block.norm1(tokens)
        tokens = tokens + naive_attention(block.attention, normed, normed)
        kept = torch.cat([tokens[:1], tokens[before : before + len(x) - 1]])
        result.append(kept + block.mlp(block.norm2(kept)))
    return result


def naive_video(model: VideoModel, video: Tensor) -> Tensor:
    """Features (B, D) before normalisation, a video at a time."""
    vision, context = model.backbone.vision, model.context
    features = []
    for clip in video:
        frames = [vision.embed(frame[None])[0] for frame in clip]
        if "time" in context.input:
            frames = [x + parameter_of(model, "context.input.time.embed")[t] for t, x in enumerate(frames)]
        frames = [vision.norm_pre(x) for x in frames]
        for block, block_prompts in zip(vision.blocks, context.blocks, strict=True):
            frames = naive_block(block, block_prompts, frames)
        features.append(torch.stack([vision.norm_post(x[0]) @ vision.proj for x in frames]).mean(dim=0))
    return torch.stack(features)


KINDS = all_kinds(2)
SWITCHES = [{kind: KINDS[kind] for kind in kinds} for count in range(5) for kinds in combinations(KINDS, count)]


@pytest.mark.parametrize("centre", [False, True], ids=["published", "centred"])
@pytest.mark.parametrize("context", SWITCHES, ids=lambda context: "-".join(context) or "none")
def test_video_features_equal_the_plain_restatement(context: dict[str, Any], centre: bool) -> None:
    model = scramble(tiny_model(context=context, centre=centre))
    video = random_video()
    ours = model.encode_video(video, normalize=False)
    torch.testing.assert_close(ours, naive_video(model, video), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "vision",
    [{"image_size": 21, "patch_size": 7}, {"width": 24, "heads": 3, "depth": 1}, {"patch_size": 4, "depth": 4}],
)
def test_any_patch_size_width_and_depth(vision: dict[str, int]) -> None:
    model = scramble(VideoModel(tiny_backbone(**vision), ModelConfig(backbone="tiny", num_frames=4), NAMES))
    video = random_video(size=vision.get("image_size", 16))
    ours = model.encode_video(video, normalize=False)
    torch.testing.assert_close(ours, naive_video(model, video), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("frames", [1, 3, 4, 8, 16])
def test_any_number_of_frames_works(frames: int) -> None:
    model = scramble(tiny_model())
    video = random_video(frames=frames)
    together = model.encode_video(video)
    alone = torch.cat([model.encode_video(clip[None]) for clip in video])
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-12)
    stretched = F.interpolate(parameter_of(model, "context.input.time.embed").T[None], size=frames, mode="linear")[0].T
    tokens = torch.zeros(1, frames, 5, 16, dtype=torch.float64)
    torch.testing.assert_close(model.context.input.change_tokens(tokens)[0, :, 0], stretched)


def test_bytes_are_normalised_with_backbone_statistics() -> None:
    model = tiny_model()
    pixels = torch.randint(0, 256, (1, 4, 3, 16, 16), dtype=torch.uint8)
    config = model.backbone.config
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (config.pixels.mean, config.pixels.std))
    torch.testing.assert_close(model.encode_video(pixels), model.encode_video((pixels / 255 - mean) / std))


def test_wrong_shapes_of_video_are_refused() -> None:
    with pytest.raises(ValueError, match=r"takes \(\.\.\., 3, 16, 16\); resize first"):
        tiny_model().encode_video(random_video(size=20, dtype=torch.float32))
    with pytest.raises(ValueError, match=r"give \(B, T, 3, H, W\)"):
        tiny_model().encode_video(torch.zeros(4, 3, 16, 16))


@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize("per_class", [False, True])
def test_context_stands_where_the_config_says(position: str, per_class: bool) -> None:
    text = {"head": learned_text(3, per_class=per_class, class_token_position=position)}
    model = scramble(tiny_model(NAMES, **text))
    assert isinstance(model.head, LearnedTextHead)
    tower, tokenizer = model.backbone.text, model.backbone.tokenizer
    features = []
    for k, name in enumerate(NAMES):
        context = model.head.context[k] if per_class else model.head.context

        def look_up(ids: list[int]) -> Tensor:
            return tower.token_embed(torch.tensor(ids, dtype=torch.int64))

        words, stop = look_up(tokenizer.encode(name)), look_up(tokenizer.encode("."))
        middle = {
            "end": [context, words, stop],
            "middle": [context[:1], words, context[1:], stop],
            "front": [words, context, stop],
        }[position]
        row = torch.cat([look_up([*tokenizer.start]), *middle, look_up([*tokenizer.end])])
        # Padded to the full context length: what stands past the end must not matter.
        padded = torch.cat([row, torch.ones(24 - len(row), 12, dtype=torch.float64)])
        features.append(tower(padded[None], torch.tensor([len(row) - 1]))[0])
    ours = model.encode_text(NAMES, normalize=False)
    torch.testing.assert_close(ours, torch.stack(features), rtol=1e-10, atol=1e-12)


def test_templates_are_averaged_as_unit_vectors() -> None:
    model = tiny_model()
    templates = ["a video of {}.", "a photo of {}."]
    parts = []
    for template in templates:
        tokens = model.backbone.tokenizer([template.format(name) for name in NAMES])
        parts.append(F.normalize(model.backbone.encode_ids(tokens.ids, tokens.end), dim=-1))
    expected = F.normalize(torch.stack(parts).mean(dim=0), dim=-1)
    torch.testing.assert_close(model.encode_text(NAMES, templates), expected)


@pytest.mark.parametrize("templates", [None, ["a photo of {}."]])
def test_many_names_are_encoded_part_by_part(templates: list[str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    model, names = tiny_model(NAMES), [f"{word} {number}" for word in ("jump", "run up") for number in range(20)]
    sizes: list[int] = []
    model.backbone.text.register_forward_pre_hook(lambda _module, inputs: sizes.append(len(inputs[0])))
    with torch.no_grad():
        whole = model.encode_text(names, templates)
        monkeypatch.setattr("vitaclip.model.TEXTS_AT_ONCE", 16)
        torch.testing.assert_close(model.encode_text(names, templates), whole)
    assert sizes == [40, 16, 16, 8]


@pytest.mark.parametrize("training", [False, True])
def test_words_that_a_small_world_lacks_are_warned_of(training: bool) -> None:
    model = VideoModel.from_pretrained("miniature").train(training)
    with pytest.warns(UserWarning, match="never read 'opening', 'door': what it answers for names with them"):
        model.encode_text(["opening a door"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.encode_text(["blue key growing"])
        trained = VideoModel(load_backbone("miniature"), model.config, ["opening a door"])
        trained.encode_text(["Opening a door", "blue key growing"])


def test_per_class_context_refuses_other_names() -> None:
    model = tiny_model(NAMES, head=learned_text(3, per_class=True))
    with pytest.raises(ValueError, match=r"one context for each of its own 3 classes.*pass templates"):
        model.encode_text(["stand", "run"])
    assert model.encode_text(["stand", "run"], ["a video of {}."]).shape == (2, 8)


def test_context_words_are_counted_in_tokens() -> None:
    text = {"head": learned_text(4, per_class=True, init_words="a_video of jump")}
    model = tiny_model(NAMES, **text)
    assert isinstance(model.head, LearnedTextHead)
    ids = model.backbone.tokenizer.encode("a video of jump")
    expected = model.backbone.text.token_embed.weight[ids].expand(3, 4, 12)
    torch.testing.assert_close(model.head.context.data, expected)
    with pytest.raises(ValueError, match="makes 4 tokens; set num_context = 4"):
        tiny_model(NAMES, head=learned_text(3, init_words="a video of jump"))


def test_texts_that_do_not_fit_are_refused() -> None:
    model = tiny_model()
    with pytest.raises(ValueError, match=r"'a video' must hold \{\} exactly once"):
        model.encode_text(NAMES, ["a video"])
    with pytest.raises(ValueError, match=r"class 'very very.*make 86 tokens.*takes 77"):
        model.encode_text(["very " * 80])
    with pytest.raises(ValueError, match="empty"):
        model.encode_text([])


def test_seed_decides_start_and_nothing_else() -> None:
    backbone = tiny_backbone()
    state = torch.random.get_rng_state()
    models = [VideoModel(backbone, ModelConfig(backbone="tiny"), NAMES, seed) for seed in (0, 0, 1)]
    assert torch.equal(state, torch.random.get_rng_state())
    first, again, other = (parameter_of(model, "context.input.time.embed") for model in models)
    assert torch.equal(again, first)
    assert not torch.equal(other, first)


def test_random_prompts_start_in_the_published_range() -> None:
    model = tiny_model(num_frames=64, context=all_kinds(64))
    bound = (6 / (3 * 8**2 + 16)) ** 0.5
    for block in model.context.blocks:
        assert isinstance(block, PlaceContext)
        for kind in ("global", "local"):
            prompts = block[kind].get_parameter("prompts")
            assert 0.95 * bound < float(prompts.detach().abs().max()) <= bound
    assert abs(float(parameter_of(model, "context.input.time.embed").detach().std()) - 0.02) < 0.004


@pytest.fixture
def backbone_folder(tmp_path: Path) -> Path:
    backbone = tiny_backbone()
    return save_backbone(backbone.clip, backbone.tokenizer, tmp_path / "backbone")


def test_another_backbone_is_refused(backbone_folder: Path, tmp_path: Path) -> None:
    backbone = load_backbone(backbone_folder)
    model = VideoModel(backbone, ModelConfig(backbone=str(backbone_folder)), NAMES)
    folder = model.save_pretrained(tmp_path / "model")
    with torch.no_grad():
        backbone.clip.vision.proj.add_(1)
    save_backbone(backbone.clip, backbone.tokenizer, backbone_folder)
    changed = load_backbone(backbone_folder).fingerprint
    with pytest.raises(ValueError, match=rf"{backbone.fingerprint}.*{changed}"):
        VideoModel.from_pretrained(folder)


def test_logits_are_compared_in_float32_under_autocast() -> None:
    model = tiny_model(NAMES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        text = model.encode_text(NAMES)
        logits = model(random_video(dtype=torch.float32), text)
    assert text.dtype == logits.dtype == torch.float32


def test_missing_models_and_backbones_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"neither a model folder.*nor"):
        VideoModel.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"no weights in it; one of these is looked for: model.safetensors"):
        load_backbone(tmp_path)
    with pytest.raises(ValueError, match=r"no such file or folder.*miniature"):
        load_backbone("nowhere")
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ValueError, match="this run is not finished"):
        VideoModel.from_pretrained(tmp_path)
