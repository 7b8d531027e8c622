"""Exported models give the answers of the model itself. The exporter compares every output on the spot; here, what the
other program reads and says is compared too."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from small_world import NAMES, Refusal, small_model
from tiny import DECODE, METHODS, learned_text, tiny_backbone, tiny_model, tiny_tokenizer
from vitaclip.backbones.config import TextLayoutConfig
from vitaclip.backbones.loading import Backbone, fingerprint
from vitaclip.backbones.model import CLIP
from vitaclip.backbones.tokenizer import Tokenizer
from vitaclip.cli import main
from vitaclip.data.config import DataConfig
from vitaclip.export import Predictor
from vitaclip.export.exporter import LARGEST_ERROR, Format, export_model
from vitaclip.export.runner import DESCRIPTION
from vitaclip.model import VideoModel
from vitaclip.parts.config import ModelConfig
from vitaclip.predictor import Predictor as TorchPredictor
from vitaclip.runtime import RuntimeConfig
from vitaclip.untrusted import read_json

OTHERS = ("run", "sit_down")
TOWERS: dict[str, dict[str, Any]] = {
    "clip": {},
    "siglip": {"class_token": False, "norm_pre": False, "pool": "attention"},
    "pe": {"rope": "pe", "pool": "attention"},
    "eva02": {"rope": "eva02", "gated": True, "inner_norm": True},
}
COOP = {"context": {}, "head": learned_text(3, per_class=True, class_token_position="middle")}
CASES: list[tuple[str, dict[str, Any], Format]] = [
    ("clip", {**METHODS["evl"], "pool": {**DECODE, "blocks": 1}}, "onnx"),
    ("siglip", METHODS["xclip"], "onnx"),
    ("siglip", COOP, "torch"),
    ("clip", METHODS["vifi prompted"], "onnx"),
    ("pe", {"context": {}, "head": "linear", "train": "image"}, "onnx"),
    ("pe", {"head": learned_text(3)}, "torch"),
    ("eva02", {"context": {}, "head": "templates", "templates": ("a video of {}.", "{} in a photo")}, "openvino"),
]


def tower_model(tower: str, settings: dict[str, Any]) -> VideoModel:
    """A tiny model on a tower of this kind, whose text tower is SigLIP's if the kind is."""
    backbone, config = tiny_backbone(**TOWERS[tower]), ModelConfig(backbone="tiny", num_frames=4, **settings)
    if tower == "siglip":
        layout = TextLayoutConfig(feature="last", clean="canonicalize")
        text = replace(backbone.clip.config.text, order="all", context_length=16, layout=layout)
        torch.manual_seed(0)
        clip = CLIP(replace(backbone.clip.config, text=text, similarity="sigmoid")).eval()
        tokenizer = Tokenizer(tiny_tokenizer().vocabulary, layout, full_length=True)
        backbone = Backbone(clip, tokenizer, "tiny", fingerprint(clip.state_dict()))
    return VideoModel(backbone, config, NAMES).eval()


def torch_predictor(model: VideoModel) -> TorchPredictor:
    return TorchPredictor(model, runtime=RuntimeConfig(device="cpu", precision="float32"), data=DataConfig(workers=0))


def agree(found: dict[str, float], expected: TorchPredictor, clip: Path) -> None:
    scores = expected.predict(clip).scores
    assert scores is not None
    assert set(found) == set(expected.class_names)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert [found[name] for name in expected.class_names] == pytest.approx(scores.tolist(), abs=1e-5)


@pytest.fixture
def clip(world: Path) -> Path:
    return world / "videos" / "jump_up" / "0.mp4"


@pytest.mark.slow
@pytest.mark.parametrize(("tower", "settings", "to"), CASES)
def test_every_method_and_tower_is_exported(
    tower: str, settings: dict[str, Any], to: Format, clip: Path, tmp_path: Path
) -> None:
    if to == "openvino":
        pytest.importorskip("openvino")
    model = tower_model(tower, settings)
    about = export_model(model, tmp_path, to=to)
    assert all(error <= LARGEST_ERROR for outputs in about["errors"].values() for error in outputs.values())
    exported, ours = Predictor(tmp_path), torch_predictor(model)
    agree(exported.predict(clip), ours, clip)
    np.testing.assert_allclose(exported.encode(exported.load(clip)), ours.encode(clip), atol=1e-5)
    exported.set_classes(NAMES[1:])
    ours.set_classes(NAMES[1:])
    agree(exported.predict(clip), ours, clip)
    if model.head.takes_templates:
        exported.set_classes(OTHERS)
        ours.set_classes(OTHERS)
        agree(exported.predict(clip), ours, clip)
    else:
        with pytest.raises(ValueError, match=r"serves its own 3 classes alone, not 'run'"):
            exported.set_classes(OTHERS)


@pytest.fixture(scope="module")
def exported(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small world's model as the command exports it."""
    folder = tmp_path_factory.mktemp("export")
    model = small_model(world).save_pretrained(folder / "run" / "model")
    assert main(["export", str(model.parent), "--to", "onnx", "--out", str(folder / "onnx")]) == 0
    return folder / "onnx"


WITHOUT_TORCH = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {others}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
from vitaclip.export import Predictor
predictor = Predictor(sys.argv[1])
print(predictor.predict(sys.argv[2]))
predictor.set_classes(sys.argv[3:])
print(predictor.predict(sys.argv[2]))
"""
DEPENDENCIES = {"torch", "PIL", "safetensors", "huggingface_hub", "httpx2", "jsonargparse", "docstring_parser", "yaml"}
DEPENDENCIES |= {"rich", "jinja2", "matplotlib", "filelock", "onnx", "onnxscript", "openvino"}


@pytest.mark.slow
def test_predictor_needs_no_torch(exported: Path, clip: Path, world: Path) -> None:
    code = WITHOUT_TORCH.format(others=DEPENDENCIES)
    command = [sys.executable, "-c", code, str(exported), str(clip), *OTHERS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ours = torch_predictor(small_model(world))
    for line, names in zip(done.stdout.splitlines(), (NAMES, OTHERS), strict=True):
        ours.set_classes(names)
        agree(eval(line), ours, clip)


@pytest.mark.slow
def test_files_say_what_they_take(exported: Path) -> None:
    about = read_json(exported / DESCRIPTION)
    assert about["video"]["sampling"] == {"kind": "dense", "num_frames": 4, "stride": 2}
    assert about["video"]["size"] == 16
    video = onnx.load(exported / "video.onnx")
    assert {each.key for each in video.metadata_props} >= {"vitaclip"}
    axes = [axis.dim_param or axis.dim_value for axis in video.graph.input[0].type.tensor_type.shape.dim]
    assert axes == ["batch", "frames", 3, 16, 16]


def test_export_is_refused_in_one_line(tmp_path: Path, refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other.txt").touch()
    said = refusal("export", "miniature", "--out", tmp_path)
    assert said == f"{tmp_path}: holds other things; name a new or empty folder"
    with pytest.raises(ValueError, match=r"in float32; give model\.cpu\(\)\.float\(\)"):
        export_model(tiny_model(NAMES).double(), tmp_path / "new")
    monkeypatch.setattr("vitaclip.export.exporter.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs openvino, .* pip install 'vitaclip\[openvino\]'"):
        export_model(tiny_model(NAMES), tmp_path / "new", to="openvino")


def test_output_that_is_not_the_models_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitaclip.export.exporter.write", lambda *_: None)
    monkeypatch.setattr("vitaclip.export.exporter.open_graph", lambda file: lambda inputs: [np.zeros((2, 8))] * 2)
    with pytest.raises(ValueError, match=r"features of \[\(2, 5, .* differ by 1\.0e\+00"):
        export_model(tiny_model(NAMES), tmp_path, to="torch")
    assert not list(tmp_path.iterdir())
