"""The probes measure what they say: perfect and blind stand-ins score as they must."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vitaclip.clip import CLIP
from vitaclip.miniature import captions, pretrain, probes, stills, world
from vitaclip.miniature.vocabulary import train_tokenizer


@pytest.fixture(scope="module")
def held_out() -> stills.Stills:
    return stills.render_stills(5, 0, 400, 64)


def test_features_are_those_of_the_clip(held_out: stills.Stills) -> None:
    torch.manual_seed(0)
    clip = CLIP(pretrain.clip_config(600)).eval()
    feature, cls = probes.image_features(clip, held_out.pixels[:7], batch_size=3)
    with torch.no_grad():
        direct = clip.encode_image(clip.normalize_pixels(held_out.pixels[:7]))
        assert torch.allclose(feature, nn.functional.normalize(direct, dim=-1), atol=1e-6)
        assert torch.allclose(clip.vision.project(cls), direct, atol=1e-5)


def test_an_oracle_scores_everything_and_a_blind_one_by_chance(
    held_out: stills.Stills, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [9 if name == "motion" else len(values) for name, values in captions.ATTRIBUTES.items()]
    codes = torch.from_numpy(held_out.codes.astype(np.int64))
    truth = torch.cat([nn.functional.one_hot(codes[:, i], size) for i, size in enumerate(sizes)], dim=1).float()
    starts = np.cumsum([0, *sizes])
    words = {
        name: list(values) if name != "direction" else [f"pointing {value}" for value in values]
        for name, values in captions.ATTRIBUTES.items()
    }

    def read(_clip: object, _tokenizer: object, texts: list[str]) -> Tensor:
        rows = torch.zeros(len(texts), sum(sizes))
        for row, text in zip(rows, texts, strict=True):
            for index, name in enumerate(words):
                for value, word in enumerate(words[name]):
                    ends = text.endswith(word) if name in ("motion", "direction") else word in text.split()
                    if ends and name not in ("column", "row"):
                        row[starts[index] + value] = 1
            for value in range(9):
                if text.endswith(" " + captions.place_words(value % 3, value // 3)):
                    row[starts[captions.COLUMN] + value % 3] = row[starts[captions.ROW] + value // 3] = 1
        return rows

    monkeypatch.setattr(probes, "text_features", read)
    monkeypatch.setattr(probes, "image_features", lambda *_: (truth, truth))
    clip, tokenizer = CLIP(pretrain.clip_config(600)), train_tokenizer(caption_count=50)
    scores = probes.zero_shot_scores(clip, tokenizer, held_out)
    assert scores == dict.fromkeys(scores, 1.0)
    blind = torch.zeros_like(truth)
    monkeypatch.setattr(probes, "image_features", lambda *_: (blind, blind))
    scores = probes.zero_shot_scores(clip, tokenizer, held_out)
    assert max(scores.values()) < 0.35


def test_pose_scores_are_one_for_the_pose_itself_and_nothing_for_noise(
    held_out: stills.Stills, monkeypatch: pytest.MonkeyPatch
) -> None:
    resting = held_out.codes[:, captions.MOTION] == captions.NO_MOTION
    poses = torch.from_numpy(held_out.poses[resting])
    angle = torch.deg2rad(poses[:, world.ANGLE])
    told = torch.cat([poses[:, :3], angle.sin()[:, None], angle.cos()[:, None]], dim=1)
    noise = torch.randn(told.shape, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(probes, "image_features", lambda *_: (told, noise))
    scores = probes.pose_scores(CLIP(pretrain.clip_config(600)), held_out)
    assert min(scores["feature"].values()) > 0.999
    assert max(scores["cls"].values()) < 0.1
