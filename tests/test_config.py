"""Configs check themselves and survive being written down."""

import json

import pytest
import yaml

from tiny import learned_text
from vitaclip.backbones.config import CLIPConfig, VisionConfig
from vitaclip.data.config import AugmentConfig, DataConfig, VideoLimits, ViewsConfig
from vitaclip.parts.config import ModelConfig
from vitaclip.settings import from_dict, to_dict
from vitaclip.training.config import OptimConfig, TrainConfig

TOWER = VisionConfig(image_size=32, patch_size=16, width=8, depth=1, heads=2)
WRONG = [
    (ModelConfig, {"num_frames": 0}, "ModelConfig.num_frames = 0: must be at least 1"),
    (ModelConfig, {"train": "towers"}, "choose one of none, image, text, both"),
    (ModelConfig, {"templates": ()}, "at least one template"),
    (ModelConfig, {"templates": "a {}"}, "ModelConfig.templates = 'a {}': must be a list"),
    (ModelConfig, {"num_frames": 8.0}, "num_frames = 8.0: must be a whole number"),
    (ModelConfig, {"centre": 1}, "centre = 1: must be true or false"),
    (ModelConfig, {"head": learned_text(10**6)}, "must be at least 1 and at most 10,000"),
    (OptimConfig, {"learning_rate": float("nan")}, "learning_rate = nan: must be a finite number"),
    (OptimConfig, {"learning_rate": True}, "learning_rate = True: must be a number"),
    (TrainConfig, {"model": {}}, "model = {}: must be a mapping of its settings"),
    (AugmentConfig, {"crop_scale": (0.5,)}, "give 2 values"),
    (AugmentConfig, {"crop_scale": (0.5, 1.5)}, "at most 1"),
    (CLIPConfig, {"vision": TOWER, "text": None, "embed_dim": 8}, "text = None: must be a mapping of its settings"),
    (ViewsConfig, {"sampling": "random"}, "choose one of dense, segments, or leave it empty"),
    (ModelConfig, {"context": {"global": {"count": 0}}}, "GlobalConfig.count = 0: .*leave the kind out"),
    (ModelConfig, {"context": {"globl": {}}}, "no part 'globl' .did you mean 'global'.*--plugins"),
    (ModelConfig, {"context": {"local": {"count": 3}}}, "part 'local' has no setting 'count'; its settings: none"),
    (ModelConfig, {"context": {"local": True}}, "local = True: give settings"),
    (ModelConfig, {"pool": "max"}, "model.pool: there is no part 'max'"),
    (ModelConfig, {"head": {"num_context": 3}}, "name the part"),
    (ModelConfig, {"head": learned_text(0)}, "choose model.head = templates"),
    (ModelConfig, {"head": {"name": "linear", "num_context": 3}}, "'linear' has no setting 'num_context'; .*: none"),
    (AugmentConfig, {"crop_scale": (0.5, 0.1)}, "smaller first"),
    (OptimConfig, {"steps": 0}, "set one of the two"),
    (OptimConfig, {"learning_rate": 0.0}, "above 0"),
    (OptimConfig, {"epochs": 5}, r"OptimConfig.epochs = 5: steps = 30000 too; set one of the two, and"),
    (OptimConfig, {"warmup_steps": 10, "steps": 10}, "fewer than all steps"),
    (TrainConfig, {"early_stop_patience": 2, "validate_every": 5}, "needs data.val and validate_every > 0"),
    (ViewsConfig, {"frames": 1_000_000_000}, "at most 10,000"),
    (TrainConfig, {"out": ""}, "name the run folder"),
    (VisionConfig, {"image_size": 15, "patch_size": 16, "width": 8, "depth": 1, "heads": 2}, "at least 16, a patch"),
    (VisionConfig, {"image_size": 32, "patch_size": 16, "width": 8, "depth": 1, "heads": 3}, "must divide width = 8"),
]


@pytest.mark.parametrize(("cls", "values", "message"), WRONG)
def test_wrong_field_is_named_with_value_and_remedy(cls: type[object], values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cls(**values)


def test_unknown_fields_are_named() -> None:
    with pytest.raises(ValueError, match="OptimConfig has no field 'lr'; its fields are steps, "):
        from_dict(TrainConfig, {"optim": {"lr": 1e-3}})
    with pytest.raises(ValueError, match=r"DataConfig has no field 'worker' \(did you mean 'workers'\?\); its fields"):
        DataConfig(worker=0)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="missing"):
        from_dict(CLIPConfig, {"embed_dim": 3})


def test_model_config_says_all_settings_of_parts() -> None:
    config = ModelConfig(context={"time": None, "global.count": "4", "local": {}}, head="learned_text")
    assert config.context == {"global": {"count": 4}, "local": {}}
    assert isinstance(config.head, dict)
    assert {"num_context": 8, "per_class": False, "init_words": ""}.items() <= config.head.items()
    assert config.pool == {"name": "mean"}


def test_configs_survive_json_and_yaml() -> None:
    config = TrainConfig(
        model=ModelConfig(head=learned_text(2), templates=("{}", "a {}.")),
        data=DataConfig(limits=VideoLimits(frames=5)),
    )
    assert from_dict(TrainConfig, json.loads(json.dumps(to_dict(config)))) == config
    assert from_dict(TrainConfig, yaml.safe_load(json.dumps(to_dict(config)))) == config
