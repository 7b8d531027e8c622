"""Hub names of all families, by the client's real code, against a hub on this machine whose repositories hold tiny
models in the files that the real ones have."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer as Library
from tokenizers import models
from torch import Tensor

import peers
from fake_hub import hub, use_hub
from tokenizer_peers import learn_pieces
from tower_case import CASES
from vitaclip.backbones.config import CLIPConfig, TextConfig, VisionConfig
from vitaclip.backbones.families import openai, pe, timm
from vitaclip.backbones.families.open_clip import with_options
from vitaclip.backbones.families.table import Row, to_theirs
from vitaclip.backbones.loading import load_backbone
from vitaclip.backbones.model import CLIP
from vitaclip.backbones.vocabulary import bpe_of_merges
from vitaclip.cli import main

SIZES = {"width": 64, "depth": 2, "heads": 1}
TEXT = {"width": 64, "layers": 2, "heads": 1, "context_length": 20, "vocab_size": 1800}
MAP_POOL = {"matrix", "bias", "plain", "pool"}
LAST = {"no_causal_mask": True, "pool_type": "last", "proj_bias": True, "hf_tokenizer_name": "timm/ViT-B-16-SigLIP2"}


def clip_of(vision: dict[str, Any], text: dict[str, Any], **more: Any) -> CLIP:
    """A tiny CLIP with a class token in 32 px, if these fields do not say otherwise."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 1800, "context_length": 20, **SIZES}
    image = VisionConfig(image_size=32, patch_size=16, **{**SIZES, **vision})
    return CLIP(CLIPConfig(vision=image, text=TextConfig(**{**sizes, **text}), embed_dim=64, **more))


def foreign(clip: CLIP, table: Sequence[Row]) -> dict[str, Tensor]:
    """Its weights under a family's names; pools of a single query, which are only read, are undone here."""
    ours, theirs = dict(clip.state_dict()), {}
    for row in (row for row in table if len(row.ours) > 2):
        weights = [name for name in row.ours if name.endswith("weight")]
        biases = [ours.get(f"{name[:-6]}bias", torch.zeros(64)) for name in weights]
        theirs[row.theirs[0]], theirs[row.theirs[1]] = torch.cat([ours[n] for n in weights]), torch.cat(biases)
        ours = {name: value for name, value in ours.items() if name not in row.ours}
    return theirs | to_theirs(ours, [row for row in table if len(row.ours) <= 2])


def write_timm(folder: Path, clip: CLIP, tower: str, kinds: set[str], text: dict[str, Any], **more: Any) -> None:
    """A repository of open_clip with a tower of timm, whose names have these kinds of rows."""
    vision = {"image_size": 32, "timm_model_name": tower, "timm_model_kwargs": {"num_heads": 1}, **more}
    rows = [row for row in timm.VISION if row.kind in kinds | {""}]
    rows += with_options([row for row in openai.TABLE if not row.ours[0].startswith("vision.")])
    layer = "text layer" if "proj_bias" in text else "text matrix"
    left_out = {"text layer", "text matrix"} - {layer}
    save_file(
        {n: t.contiguous() for n, t in foreign(clip, [row for row in rows if row.kind not in left_out]).items()},
        folder / "open_clip_model.safetensors",
    )
    config = {"embed_dim": 64, "vision_cfg": vision, "text_cfg": TEXT | text}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))


def siglip_timm(folder: Path) -> None:
    vision = {"class_token": False, "norm_pre": False, "pool": "attention", "projection": "none"}
    clip = clip_of(vision, {"order": "all", "projection": "bias"}, similarity="sigmoid")
    write_timm(folder, clip, "vit_base_patch16_siglip_224", MAP_POOL, LAST, timm_pool="map", timm_proj="none")


def pe_timm(folder: Path) -> None:
    clip = clip_of({"rope": "pe", "pool": "attention", "pool_heads": 8, "projection": "bias"}, {})
    kinds = MAP_POOL | {"class token", "norm_pre", "head"}
    write_timm(folder, clip, "vit_pe_core_base_patch16_224", kinds, {}, timm_pool="map", timm_proj=None)


def eva01(folder: Path) -> None:
    clip = clip_of({"norm_pre": False, "projection": "bias"}, {})
    write_timm(folder, clip, "eva_giant_patch14_224", {"matrix", "biases", "plain", "class token", "head"}, {})


def mobileclip2(folder: Path) -> None:
    kinds = {"matrix", "bias", "plain", "class token", "norm_pre", "head"}
    clip = clip_of({"projection": "bias"}, {"order": "all"})
    write_timm(folder, clip, "vit_large_patch14_clip_224", kinds, {"no_causal_mask": True})


def pe_file(folder: Path) -> None:
    clip = clip_of({"rope": "pe", "pool": "attention", "pool_heads": 8}, {})
    torch.save(foreign(clip, pe.TABLE), folder / "PE-Core-any.pt")


def longclip(folder: Path) -> None:
    state = foreign(clip_of({}, {"context_length": 248}), openai.TABLE)
    torch.save(state | {"positional_embedding_res": state["positional_embedding"]}, folder / "longclip-B.pt")


def open_clip(folder: Path) -> None:
    save_file(foreign(clip_of({}, {}), openai.TABLE), folder / "open_clip_model.safetensors")
    vision = {"image_size": 32, "patch_size": 16, "width": 64, "layers": 2}
    config = {"embed_dim": 64, "quick_gelu": True, "vision_cfg": vision, "text_cfg": TEXT}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))


def golden(case: str) -> Callable[[Path], object]:
    return lambda folder: copytree(CASES / case, folder, dirs_exist_ok=True)


def transformers(make: Callable[[], Any]) -> Callable[[Path], object]:
    return lambda folder: make().save_pretrained(folder)


def clip_tokens(folder: Path) -> None:
    bpe_of_merges([]).save(folder)


def pieces(folder: Path) -> None:
    (folder / "spiece.model").write_bytes(learn_pieces(model_type="unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1))


def words(folder: Path) -> None:
    Library(models.WordLevel({"[UNK]": 0, "jump": 3}, "[UNK]")).save(str(folder / "tokenizer.json"))


Write = Callable[[Path], object]
FORMS: dict[tuple[str, ...], tuple[Write, Write]] = {
    (
        *("google/siglip-base-patch16-224", "google/siglip-large-patch16-384", "google/siglip-so400m-patch14-224"),
        *("google/siglip2-base-patch16-224", "google/siglip2-base-patch32-256", "google/siglip2-large-patch16-512"),
        *("google/siglip2-so400m-patch14-384", "google/siglip2-giant-opt-patch16-256"),
    ): (transformers(lambda: peers.siglip(32, 1, 1800)), pieces),
    (
        *("facebook/metaclip-2-worldwide-huge-quickgelu", "facebook/metaclip-2-worldwide-s16"),
        "facebook/metaclip-2-mt5-worldwide-b32",
    ): (transformers(lambda: peers.metaclip2("gelu", 1800)), pieces),
    (
        *("openai/clip-vit-base-patch16", "facebook/metaclip-b16-fullcc2.5b", "zer0int/LongCLIP-L-Diffusers"),
        "wkcn/TinyCLIP-ViT-39M-16-Text-19M-YFCC15M",
    ): (transformers(peers.transformers_clip), clip_tokens),
    (
        *("timm/ViT-B-16-SigLIP", "timm/ViT-SO400M-14-SigLIP-384", "timm/ViT-B-16-SigLIP-i18n-256"),
        *("timm/ViT-B-16-SigLIP2", "timm/ViT-L-16-SigLIP2-384", "timm/ViT-gopt-16-SigLIP2-384"),
    ): (siglip_timm, pieces),
    ("timm/PE-Core-B-16", "timm/PE-Core-T-16-384", "timm/PE-Core-L-14-336", "timm/PE-Core-bigG-14-448"): (
        pe_timm,
        clip_tokens,
    ),
    (
        "timm/eva02_base_patch16_clip_224.merged2b_s8b_b131k",
        "timm/eva02_large_patch14_clip_336.merged2b_s6b_b61k",
    ): (golden("eva02"), clip_tokens),
    ("timm/eva_giant_patch14_clip_224.laion400m_s11b_b41k",): (eva01, clip_tokens),
    ("timm/MobileCLIP2-L-14-OpenCLIP",): (mobileclip2, clip_tokens),
    (
        *("apple/DFN2B-CLIP-ViT-B-16", "apple/DFN5B-CLIP-ViT-H-14-378", "laion/CLIP-ViT-B-16-laion2B-s34B-b88K"),
        "timm/vit_huge_patch14_clip_224.metaclip2_worldwide",
    ): (open_clip, clip_tokens),
    ("UCSC-VLAA/openvision-vit-base-patch16-224", "UCSC-VLAA/ViT-L-14-CLIPA-datacomp1B"): (golden("openvision"), words),
    tuple(f"facebook/PE-Core-{size}" for size in ("B16-224", "T16-384", "S16-384", "L14-336", "G14-448")): (
        pe_file,
        clip_tokens,
    ),
    ("BeichenZhang/LongCLIP-B", "BeichenZhang/LongCLIP-L"): (longclip, clip_tokens),
}
"""The names of each form, and what writes its weights and its tokenizer. Sizes differ in the real ones alone."""
SMALL = ("--optim.steps", "1", "--optim.batch_size", "2", "--data.workers", "0", "--model.num_frames", "2")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("names", FORMS, ids=lambda names: names[0])
def test_hub_names_train_and_load(
    names: tuple[str, ...], world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, tokenizer = FORMS[names]
    for name in names:
        repository = tmp_path / "hub" / name
        repository.mkdir(parents=True)
        weights(repository)
        tokenizer(repository)
    with hub(tmp_path / "hub") as server:
        use_hub(monkeypatch, tmp_path / "cache", server.address)
        training = ["train", "--data.train", str(world / "videos"), "--model.backbone", names[0], *SMALL]
        assert main([*training, "--model.head.num_context", "2", "--out", str(tmp_path / "run")]) == 0
        assert [load_backbone(name).name for name in names] == list(names)
