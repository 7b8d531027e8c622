"""Models out and in: folders with and without their backbone, published checkpoints, the hub."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard

import peers
from parity_case import CASES, FOLDER, load_case, read_case
from tiny import all_kinds, learned_text, tiny_backbone
from vitaclip.backbones.families.vitaclip import name_buffers, to_published
from vitaclip.backbones.loading import load_backbone, save_backbone
from vitaclip.model import VideoModel
from vitaclip.parts.config import ModelConfig
from vitaclip.saving.model_folder import SavedModel, model_card

NAMES = ("jump", "run", "sit down")
PARTS: dict[str, Any] = {"num_frames": 4, "context": all_kinds(2), "head": learned_text(3, per_class=True)}


@pytest.fixture
def model(tmp_path: Path) -> VideoModel:
    backbone = tiny_backbone()
    folder = save_backbone(backbone.clip, backbone.tokenizer, tmp_path / "clip")
    config = ModelConfig(backbone=str(folder), **PARTS)
    return VideoModel(load_backbone(folder), config, NAMES, seed=5).eval()


@pytest.fixture
def openai_clip(tmp_path: Path) -> Path:
    """With heads of 64, as the published code has them, so that nothing need be told."""
    torch.manual_seed(0)
    torch.save(peers.openai_clip().state_dict(), tmp_path / "clip.pt")
    peers.write_tokenizer(tmp_path)
    return tmp_path / "clip.pt"


@torch.no_grad()
def outputs(model: VideoModel) -> torch.Tensor:
    size = model.image_size
    video = torch.randint(0, 256, (2, 4, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    return model(video, model.encode_text(model.class_names))


def test_folder_with_its_backbone_is_enough(model: VideoModel, tmp_path: Path) -> None:
    folder = model.save_pretrained(tmp_path / "model", embed_backbone=True)
    (tmp_path / "clip").rename(tmp_path / "gone")
    moved = folder.rename(tmp_path / "moved")
    loaded = VideoModel.from_pretrained(moved)
    assert torch.equal(outputs(loaded), outputs(model))
    assert loaded.fingerprint == model.fingerprint
    again = VideoModel.from_pretrained(loaded.save_pretrained(tmp_path / "again", embed_backbone=True))
    assert torch.equal(outputs(again), outputs(model))


def test_embedded_backbone_keeps_the_input_size(model: VideoModel, tmp_path: Path) -> None:
    config = replace(model.config, image_size=32)
    larger = VideoModel(load_backbone(config.backbone, image_size=32), config, NAMES)
    for embed in (False, True):
        loaded = VideoModel.from_pretrained(larger.save_pretrained(tmp_path / f"model{embed}", embed_backbone=embed))
        assert loaded.image_size == 32
        assert torch.equal(outputs(loaded), outputs(larger.eval()))


def test_the_card_says_what_it_is(model: VideoModel, tmp_path: Path) -> None:
    card = (model.save_pretrained(tmp_path / "model") / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: vitaclip\n")
    for fact in (model.fingerprint, "jump, run, sit down", "per_class True", "global (count 2), local, summary, time"):
        assert fact in card
    elsewhere = replace(model.config, backbone="/home/me/clip.pt")
    card_of_path = model_card(elsewhere, SavedModel(elsewhere, (), model.fingerprint), 0)
    assert "`clip.pt`" in card_of_path
    assert "/home" not in card_of_path
    assert ModelCard(card).data.get("pipeline_tag") == "video-classification"


def test_the_hub_gets_the_folder(model: VideoModel, monkeypatch: pytest.MonkeyPatch) -> None:
    uploaded: dict[str, object] = {}

    class Api:
        def create_repo(self, repository: str, **options: object) -> None:
            uploaded["repository"] = repository, options

        def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> str:
            assert commit_message
            uploaded["files"] = sorted(str(p.relative_to(folder_path)) for p in Path(folder_path).rglob("*.*"))
            return f"https://hub/{repo_id}"

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    with pytest.raises(ValueError, match="embed_backbone=True"):
        model.push_to_hub("me/model")
    assert not uploaded
    assert model.push_to_hub("me/model", private=True, embed_backbone=True) == "https://hub/me/model"
    assert uploaded["repository"] == ("me/model", {"private": True, "exist_ok": True})
    inside = [f"backbone/{name}" for name in ("config.json", "model.safetensors", "tokenizer.json")]
    assert uploaded["files"] == ["README.md", *inside, "config.json", "prompts.safetensors"]


def test_published_checkpoints_come_back_bit_equal(openai_clip: Path, tmp_path: Path) -> None:
    config, names = ModelConfig(backbone=str(openai_clip), centre=False, **PARTS), ("w5 w6", "w7")
    model = VideoModel(load_backbone(config.backbone, activation="quick_gelu"), config, names).eval()
    file = model.save_published(tmp_path / "vita.pth")
    saved = torch.load(file, weights_only=True)["model"]
    assert all(name.startswith("module.") for name in saved)
    back = VideoModel.from_pretrained(file, class_names=names)
    assert torch.equal(outputs(back), outputs(model))
    for name, tensor in model.adapter_state().items():
        assert torch.equal(back.adapter_state()[name], tensor), name
    assert back.fingerprint == model.fingerprint
    again = torch.load(back.save_published(tmp_path / "again.pth"), weights_only=True)["model"]
    assert set(again) == set(saved)
    assert all(torch.equal(again[name], saved[name]) for name in saved)
    with pytest.raises(ValueError, match="for each of 2 classes, but 1 class names were given"):
        VideoModel.from_pretrained(file, class_names=["w1"])
    centred = VideoModel(load_backbone(config.backbone, activation="quick_gelu"), replace(config, centre=True), names)
    with pytest.raises(ValueError, match=r"trained with model.centre, which the published code does not know"):
        centred.save_published(tmp_path / "centred.pth")


@pytest.mark.parametrize("case", CASES)
def test_buffers_of_names_are_the_published_ones(case: str) -> None:
    """Of the tokens that the published tokenizer gave: start, context, name, full stop, end, padding."""
    parity = load_case(case, torch.float32)
    tokens = read_case(FOLDER / f"{case}.safetensors")[0]["input.tokenized_prompts"]
    embedding = torch.arange(49408.0)[:, None]
    context = parity.model.head.config.num_context
    room = tokens.shape[1] - 1 - context
    buffers = name_buffers(parity.class_names, parity.model.backbone.tokenizer, embedding, room)
    assert torch.equal(buffers["prompt_learner.token_prefix"], embedding[tokens[:, :1]])
    assert torch.equal(buffers["prompt_learner.token_suffix"], embedding[tokens[:, 1 + context :]])


def test_unpublishable_backbone_is_not_written(model: VideoModel, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="heads of 8; the published format tells neither"):
        model.save_published(tmp_path / "x.pth")
    assert not (tmp_path / "x.pth").exists()


def test_published_backbone_file_is_a_plain_clip(openai_clip: Path, tmp_path: Path) -> None:
    """What the published code starts from: its names, no prompts, no `module.`, perhaps no temperature."""
    clip = load_backbone(openai_clip, activation="quick_gelu")
    torch.save(to_published(clip.clip.state_dict(), {}), tmp_path / "backbone.pth")
    loaded = VideoModel.from_pretrained(tmp_path / "backbone.pth", num_frames=4)
    assert loaded.is_zero_shot
    assert loaded.fingerprint == clip.fingerprint
    with pytest.raises(ValueError, match="nothing was learned"):
        loaded.save_published(tmp_path / "x.pth")
