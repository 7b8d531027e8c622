"""Backbones of every format, made and saved by the peers' own code, give the peers' features.

open_clip cannot be imported without torchvision, so its files are made here from its documented layout: OpenAI's key
names, with `text.` before those of the text tower in its `CustomTextCLIP`, beside an `open_clip_config.json`.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import peers
from vitaclip.backbones.config import TextConfig
from vitaclip.backbones.loading import find_tokenizer, load_backbone, save_backbone

Features = tuple[Tensor, Tensor]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    peers.write_tokenizer(tmp_path)
    return tmp_path


@torch.no_grad()
def assert_features(path: Path, expected: Features, tolerance: float = 1e-5, **options: Any) -> None:
    clip = load_backbone(path, **options).clip
    ours = (clip.vision(peers.images()), clip.encode_ids(peers.token_ids(), peers.ends()))
    for mine, theirs in zip(ours, expected, strict=True):
        assert theirs.std(dim=0).mean() > 0.1, "the oracle must tell its inputs apart"
        assert float((mine - theirs).abs().max() / theirs.abs().max()) < tolerance


@pytest.mark.parametrize("pickles", [False, True])
def test_transformers_folder_in_parts(folder: Path, pickles: bool) -> None:
    model = peers.transformers_clip()
    model.save_pretrained(folder, max_shard_size="200KB")
    parts = sorted(folder.glob("model-*.safetensors"))
    assert len(parts) > 2
    if pickles:
        for part in parts:
            torch.save(load_file(part), part.with_suffix(".bin"))
            part.unlink()
        index = folder / "model.safetensors.index.json"
        (folder / "pytorch_model.bin.index.json").write_text(index.read_text().replace(".safetensors", ".bin"))
        index.unlink()
    assert_features(folder, peers.transformers_features(model))


def test_older_transformers_folder(folder: Path) -> None:
    """A pickle of tensors instead of safetensors, position counters among the weights, and little in the config."""
    model = peers.transformers_clip()
    model.save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    counters = {"text_model.embeddings.position_ids": torch.arange(peers.CONTEXT_LENGTH)[None]}
    torch.save(model.state_dict() | counters, folder / "pytorch_model.bin")
    config = json.loads((folder / "config.json").read_text())
    kept = {tower: {"num_attention_heads": 4} for tower in ("text_config", "vision_config")}
    (folder / "config.json").write_text(json.dumps({"model_type": config["model_type"], **kept}))
    assert_features(folder, peers.transformers_features(model))


@pytest.mark.parametrize("file", ["preprocessor_config.json", "processor_config.json"])
@pytest.mark.parametrize(
    "settings",
    [{"image_mean": [0.1, 0.6, 0.3], "image_std": [0.3, 0.2, 0.9]}, {"do_normalize": False}, {}],
)
def test_pixel_statistics_are_the_image_processors(folder: Path, file: str, settings: dict[str, Any]) -> None:
    """Against transformers' own processing of the same pictures; open_clip's config beside it may say what it likes."""
    from transformers import CLIPImageProcessor

    model = peers.transformers_clip()
    model.save_pretrained(folder)
    processor = CLIPImageProcessor(do_resize=False, do_center_crop=False, **settings)
    content = {"image_processor": processor.to_dict()} if file == "processor_config.json" else processor.to_dict()
    (folder / file).write_text(json.dumps(content))
    (folder / "open_clip_config.json").write_text(json.dumps(open_clip_config()))
    generator = torch.Generator().manual_seed(3)
    pictures = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=generator)
    with torch.no_grad():
        theirs = model.get_image_features(**processor(images=list(pictures), return_tensors="pt"))
        theirs = getattr(theirs, "pooler_output", theirs)
        clip = load_backbone(folder).clip
        ours = clip.vision(clip.normalize_pixels(pictures))
    assert float((ours - theirs).abs().max() / theirs.abs().max()) < 1e-5


def test_open_clips_statistics_hold_without_processor(folder: Path) -> None:
    peers.transformers_clip().save_pretrained(folder)
    (folder / "open_clip_config.json").write_text(json.dumps(open_clip_config()))
    config = load_backbone(folder).clip.config
    assert (config.pixels.mean, config.pixels.std) == ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


@pytest.mark.parametrize(
    "wrong", [{"image_mean": [0.5, 0.5]}, {"image_std": "abc"}, {"rescale_factor": 1.0, "image_mean": [0, 0, 0]}]
)
def test_wrong_pixel_statistics_are_one_line(folder: Path, wrong: dict[str, Any]) -> None:
    peers.transformers_clip().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(wrong))
    with pytest.raises(ValueError, match=r"preprocessor_config\.json: .*must"):
        load_backbone(folder)


@pytest.mark.parametrize("prefix", ["model.", "model.clip.", "net._orig_mod.module."])
def test_prefix_of_all_names_is_taken_off(folder: Path, prefix: str) -> None:
    model = peers.openai_clip()
    state = {f"{prefix}{name}": value for name, value in model.state_dict().items()}
    torch.save({"state_dict": state}, folder / "clip.ckpt")
    assert_features(folder / "clip.ckpt", peers.openai_features(model), activation="quick_gelu")
    torch.save({"state_dict": {**state, "loss.weight": torch.ones(2)}}, folder / "clip.ckpt")
    with pytest.raises(ValueError, match=r"before its names, but there are 1 others \['loss.weight'\]"):
        load_backbone(folder / "clip.ckpt", activation="quick_gelu")


@pytest.mark.parametrize(
    ("tower", "wrong", "message"),
    [
        ("vision_config", {"hidden_act": "relu"}, "hidden_act is 'relu'; known are quick_gelu"),
        ("vision_config", {"hidden_size": 4096}, "its config says width = 4096, its weights 128; copy both"),
        ("text_config", {"num_hidden_layers": 7}, "its config says depth = 7, its weights 2; copy both"),
    ],
)
def test_configs_of_other_models_are_refused(folder: Path, tower: str, wrong: dict[str, Any], message: str) -> None:
    peers.transformers_clip().save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config[tower] |= wrong
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message):
        load_backbone(folder)


@pytest.mark.parametrize(("half", "tolerance"), [(False, 1e-5), (True, 1e-2)])  # half: the weights were rounded
def test_openais_archive_is_read(folder: Path, half: bool, tolerance: float) -> None:
    model = peers.openai_clip()
    expected = peers.openai_features(model)
    peers.openai_archive(model, folder / "ViT.pt", half=half)
    assert load_backbone(folder / "ViT.pt").clip.vision.proj.dtype == torch.float32
    assert_features(folder / "ViT.pt", expected, tolerance)
    with pytest.raises(ValueError, match=r"'gelu' asked for, but these weights were trained with 'quick_gelu'"):
        load_backbone(folder / "ViT.pt", activation="gelu")


def test_plain_state_dict_needs_its_activation(folder: Path) -> None:
    model = peers.openai_clip()
    torch.save(model.state_dict(), folder / "clip.pt")
    assert_features(folder / "clip.pt", peers.openai_features(model), activation="quick_gelu")
    with pytest.raises(ValueError, match=r"do not tell their activation.*quick_gelu.*gelu"):
        load_backbone(folder / "clip.pt")


def open_clip_config(**changes: Any) -> dict[str, Any]:
    vision = {"image_size": 32, "layers": 2, "width": 128, "patch_size": 16, "head_width": 64}
    text = {"context_length": 20, "vocab_size": peers.VOCABULARY, "width": 64, "heads": 1, "layers": 2}
    model = {"embed_dim": 24, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text} | changes
    return {"model_cfg": model, "preprocess_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}}


@pytest.mark.parametrize("custom_text", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
def test_open_clip_files(folder: Path, custom_text: bool, wrapped: bool) -> None:
    model = peers.openai_clip()
    state = model.state_dict()
    if custom_text:
        text = ("transformer.", "token_embedding.", "positional_embedding", "ln_final.", "text_projection")
        state = {f"text.{name}" if name.startswith(text) else name: value for name, value in state.items()}
    if wrapped:  # as its trainer saves
        state = {"epoch": 3, "name": "run", "state_dict": {f"module.{k}": v for k, v in state.items()}}
    torch.save(state, folder / "open_clip_pytorch_model.bin")
    (folder / "open_clip_config.json").write_text(json.dumps(open_clip_config()))
    assert_features(folder, peers.openai_features(model))
    config = load_backbone(folder).clip.config
    assert (config.pixels.mean, config.pixels.std) == ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


REFUSED: dict[str, dict[str, Any]] = {
    "CoCa's pool": {"vision_cfg": {"attentional_pool": True}},
    "blocks of BERT or T5": {"text_cfg": {"hf_model_name": "roberta-base"}},
    "CoCa's decoder": {"multimodal_cfg": {"layers": 12}},
    "a ResNet": {"vision_cfg": {"layers": [3, 4, 6, 3]}},
    "no convolutions": {"vision_cfg": {"timm_model_name": "convnext_base"}},
    r"variable grids \(NaFlex\)": {"vision_cfg": {"timm_model_name": "naflexvit_so400m_patch16_siglip"}},
    "layer scale": {"vision_cfg": {"ls_init_value": 1e-4}},
    "config says patch_size = 14, its weights 16": {"vision_cfg": {"width": 128, "layers": 2, "patch_size": 14}},
    "a model of sound": {"audio_cfg": {"layers": 12}},
    "not understood": {"text_cfg": {"window": 3}},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_other_open_clip_models_are_refused_with_reason(folder: Path, reason: str) -> None:
    torch.save(peers.openai_clip().state_dict(), folder / "open_clip_pytorch_model.bin")
    (folder / "open_clip_config.json").write_text(json.dumps(open_clip_config(**REFUSED[reason])))
    with pytest.raises(ValueError, match=reason):
        load_backbone(folder)


def test_unknown_family_names_those_that_are_near(folder: Path) -> None:
    state = {name.replace("visual.", "vision."): value for name, value in peers.openai_clip().state_dict().items()}
    torch.save(state, folder / "clip.pt")
    with pytest.raises(ValueError, match=r"near are .*OpenAI and open_clip \('visual\.conv1\.weight' where it has"):
        load_backbone(folder / "clip.pt")


def test_each_key_is_accounted_for(folder: Path) -> None:
    state = peers.openai_clip().state_dict() | {"visual.transformer.resblocks.0.ls_1.gamma": torch.ones(1)}
    torch.save(state, folder / "clip.pt")
    with pytest.raises(ValueError, match=r"0 keys missing \[\], 1 unknown \['visual.transformer.resblocks.0.ls_1"):
        load_backbone(folder / "clip.pt", activation="gelu")


def test_every_format_has_the_same_fingerprint(folder: Path) -> None:
    model = peers.openai_clip()
    torch.save(model.state_dict(), folder / "plain.pt")
    peers.openai_archive(model, folder / "archive.pt")
    plain = load_backbone(folder / "plain.pt", activation="quick_gelu")
    ours = save_backbone(plain.clip, plain.tokenizer, folder / "ours")
    prints = {plain.fingerprint, load_backbone(folder / "archive.pt").fingerprint, load_backbone(ours).fingerprint}
    assert len(prints) == 1


def test_other_input_size_resamples_positions(folder: Path) -> None:
    model = peers.openai_clip()
    torch.save(model.state_dict(), folder / "clip.pt")
    own = load_backbone(folder / "clip.pt", activation="quick_gelu")
    larger = load_backbone(folder / "clip.pt", activation="quick_gelu", image_size=64)
    assert larger.clip.config.vision.image_size == 64
    assert larger.clip.vision.pos_embed.shape == (17, peers.VISION_WIDTH)
    assert torch.equal(larger.clip.vision.pos_embed[0], own.clip.vision.pos_embed[0])
    assert larger.fingerprint == own.fingerprint, "it is the same backbone"
    with pytest.raises(ValueError, match="must be at least 16, a patch"):
        load_backbone(folder / "clip.pt", activation="quick_gelu", image_size=15)


def test_tokenizer_beside_weights_goes_first(tmp_path: Path) -> None:
    text = TextConfig(vocab_size=49_408, context_length=77, width=64, depth=1, heads=1)
    assert find_tokenizer(tmp_path, text).encode("a dog") == [320, 1929]  # CLIP's own, which needs no network
    (tmp_path / "merges.txt").write_text("{half", "utf-8")
    with pytest.raises(ValueError, match=r"merges\.txt: no tokenizer"):
        find_tokenizer(tmp_path, text)
    peers.write_tokenizer(tmp_path)
    assert find_tokenizer(tmp_path, text).vocab_size == peers.VOCABULARY
