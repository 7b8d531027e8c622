"""Checkpoints of EVL, X-CLIP and ViFi-CLIP as their training codes save them: against transformers, and refusals."""

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import transformers

import peers
from parity_case import load_case, published_names
from vitaclip import VideoModel
from vitaclip.backbones.families import evl
from vitaclip.backbones.loading import load_backbone, save_backbone
from vitaclip.backbones.tokenizer import Tokenizer, read_vocabulary
from vitaclip.parts.config import ModelConfig

PIXELS = (0.485, 0.456, 0.406)


@pytest.fixture
def yacs(monkeypatch: pytest.MonkeyPatch) -> type[Any]:
    """The config class of these codes, which pickles name and this package does not know."""
    module = ModuleType("yacs.config")
    node = type("CfgNode", (dict,), {"__module__": "yacs.config"})
    module.CfgNode = node  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "yacs", ModuleType("yacs"))
    monkeypatch.setitem(sys.modules, "yacs.config", module)
    return node


def write_checkpoint(file: Path, model: VideoModel, rows: Any, prefix: str, **beside: Any) -> None:
    ours = {name.removeprefix("backbone."): value for name, value in model.state_dict().items()}
    state = published_names(ours, rows)
    torch.save({"model": {prefix + name: value.clone() for name, value in state.items()}, **beside}, file)


def test_yacs_config_beside_weights_is_read(tmp_path: Path, yacs: type[Any]) -> None:
    case = load_case("xclip_default", torch.float32)
    settings = yacs(BASE=[""], TRAIN=yacs(EPOCHS=30))
    settings.__dict__["immutable"] = {"names": set()}
    write_checkpoint(tmp_path / "x.pth", case.model, case.rows, "", epoch=29, config=settings)
    peers.write_tokenizer(tmp_path)
    del sys.modules["yacs.config"]
    model = VideoModel.from_pretrained(tmp_path / "x.pth")
    expected = case.model.encode_video(case.video)
    assert torch.equal(model.encode_video(case.video), expected)
    assert model.backbone.config.pixels.mean == PIXELS
    assert (model.config.train, model.config.num_frames) == ("image", 4)


def test_command_in_a_yacs_config_runs_nothing(tmp_path: Path, yacs: type[Any]) -> None:
    class Command:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    case = load_case("xclip_default", torch.float32)
    write_checkpoint(tmp_path / "x.pth", case.model, case.rows, "", config=yacs(BASE=Command()))
    with pytest.raises(ValueError, match=r"x\.pth: holds more than weights: it asks for .*system"):
        VideoModel.from_pretrained(tmp_path / "x.pth")
    assert not (tmp_path / "ran").exists()


def test_checkpoint_without_backbone_asks_for_it(tmp_path: Path) -> None:
    case = load_case("evl_all", torch.float32)
    write_checkpoint(tmp_path / "evl.pth", case.model, case.rows, "module.")
    with pytest.raises(ValueError, match=r"evl\.pth: weights of the published EVL code without the backbone"):
        VideoModel.from_pretrained(tmp_path / "evl.pth")


def test_backbone_of_another_size_is_refused(tmp_path: Path) -> None:
    case = load_case("evl_all", torch.float32)
    write_checkpoint(tmp_path / "evl.pth", case.model, case.rows, "module.")
    with pytest.raises(ValueError, match="128 channels and 3 patches a side, the one given has 128 and 4"):
        VideoModel.from_pretrained(tmp_path / "evl.pth", backbone="miniature", class_names=case.class_names)


def test_evl_checkpoint_gives_the_saved_logits(tmp_path: Path) -> None:
    names = ("moving left", "growing", "shrinking")
    config = ModelConfig(context={}, pool={"name": "decode", "blocks": 2}, head="classifier", num_frames=4)
    saved = VideoModel(load_backbone("miniature"), config, names).eval()
    write_checkpoint(tmp_path / "evl.pth", saved, evl.TABLE, "module.", next_step=2)
    with pytest.raises(ValueError, match="for each of 3 classes, but 0 class names were given"):
        VideoModel.from_pretrained(tmp_path / "evl.pth", backbone="miniature")
    model = VideoModel.from_pretrained(tmp_path / "evl.pth", backbone="miniature", class_names=names)
    video = torch.randint(0, 256, (2, 4, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model(video, model.encode_text(names)), saved(video, saved.encode_text(names)))


@pytest.mark.parametrize("missing", ["prompt_learner.ctx", "image_encoder.VPT", "image_encoder.ln_post.weight", ""])
def test_prompts_that_vifi_lacks_are_an_error(tmp_path: Path, missing: str) -> None:
    """ViFi-CLIP's code leaves them at a random start, and damage with them."""
    case = load_case("vifi_prompts_every_block", torch.float32)
    backbone = save_backbone(case.model.backbone, Tokenizer(read_vocabulary()), tmp_path / "clip")
    write_checkpoint(tmp_path / "whole.pth", case.model, case.rows, "module.")
    state = torch.load(tmp_path / "whole.pth")["model"]
    torch.save({"model": {n: v for n, v in state.items() if n != f"module.{missing}"}}, tmp_path / "vifi.pth")
    if missing:
        with pytest.raises(
            ValueError, match=r"fit the model.s config: 1 .*(deep_tokens|head)|vifi.pth: .*missing .*ln_post"
        ):
            VideoModel.from_pretrained(tmp_path / "vifi.pth", backbone=backbone)
    else:
        assert (
            VideoModel.from_pretrained(tmp_path / "vifi.pth", backbone=backbone).config.head == case.model.config.head
        )


@pytest.fixture(scope="module")
def xclip_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    torch.manual_seed(0)
    vision = {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 1, "num_hidden_layers": 2}
    text = {"hidden_size": 32, "intermediate_size": 128, "num_attention_heads": 2, "num_hidden_layers": 1}
    vision |= {"image_size": 32, "patch_size": 16, "num_frames": 3}
    mit = {"mit_hidden_size": 128, "mit_intermediate_size": 512, "mit_num_attention_heads": 4}
    config = transformers.XCLIPConfig(
        text_config=text | {"vocab_size": 656, "bos_token_id": 654, "eos_token_id": 655},
        vision_config=vision | mit,
        projection_dim=128,
        prompt_num_attention_heads=4,
    )
    model: Any = transformers.XCLIPModel(config)
    model.double().eval()
    model.config._attn_implementation = "eager"
    folder = tmp_path_factory.mktemp("xclip")
    model.float().save_pretrained(folder)
    peers.write_tokenizer(folder)
    return folder, model.double()


@pytest.mark.filterwarnings("ignore:.*heads in mit")
def test_transformers_xclip_gives_its_logits(xclip_folder: tuple[Path, Any]) -> None:
    folder, theirs = xclip_folder
    ours = VideoModel.from_pretrained(folder).double()
    video = torch.randn(2, 3, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    names = ("moving left", "growing")
    tokens = ours.backbone.tokenizer(names, 77)
    with torch.no_grad():
        expected = theirs(input_ids=tokens.ids, pixel_values=video).logits_per_video
        logits = ours(video, ours.encode_text(names))
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


def test_heads_unlike_the_published_are_named(xclip_folder: tuple[Path, Any]) -> None:
    with pytest.warns(
        UserWarning, match=r"4 heads in mit and 4 in the prompts, where the X-CLIP that was trained has 2"
    ):
        VideoModel.from_pretrained(xclip_folder[0])
