"""What training is timed against computes the numbers of the package: else the comparison would be worth nothing."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from published import PublishedModel, score_video, train_step

from parity_case import CASES, load_case, relative_error
from tiny import all_kinds, learned_text, tiny_model
from vitaclip.backbones.families.vitaclip import to_published
from vitaclip.evaluation.scoring import ViewEncoder, fuse_views

NAMES = ("jump", "run up", "very long name moving left")
SETTINGS = [
    ({"num_frames": 4, "context": all_kinds(2)}, {"head": learned_text(3, per_class=True)}),
    (
        {"num_frames": 4, "context": {"local": {}, "summary": {}, "time": {}}},
        {"head": learned_text(3, class_token_position="front")},
    ),
    ({"num_frames": 4, "context": {"global": {}, "local": {}}}, {"head": learned_text(2)}),
    (
        {"num_frames": 4, "context": {"global": {}, "summary": {}, "time": {}}, "train_cls_proj": False},
        {"head": learned_text(1)},
    ),
]


def pixels(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (*shape, 4, 3, 16, 16), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize(("video", "text"), SETTINGS)
def test_step_has_our_logits_and_gradients(video: dict[str, Any], text: dict[str, Any]) -> None:
    model = tiny_model(NAMES, centre=False, **video, **text).double()
    published = PublishedModel(model, NAMES)
    clips, labels = pixels(4), torch.tensor([0, 1, 2, 1])
    normalised = model.backbone.normalize_pixels(clips)

    logits = model(clips, model.encode_text(NAMES))
    torch.testing.assert_close(published(normalised), logits, rtol=1e-10, atol=1e-10)
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    expected = to_published({}, {name: p.grad for name, p in model.adapter_params().items() if p.grad is not None})

    optimizer = torch.optim.SGD(published.parameters(), lr=0)
    assert train_step(published, optimizer, normalised, labels, 2) == pytest.approx(loss.item(), rel=1e-12)
    gradients = {name: p.grad for name, p in published.named_parameters() if p.grad is not None}
    assert gradients.keys() == expected.keys()
    scale = max(float(gradient.abs().max()) for gradient in expected.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-10, atol=1e-12 * scale, msg=name)


def test_a_test_video_has_the_probabilities_of_ours() -> None:
    model = tiny_model(NAMES, centre=False).double()
    views = pixels(1, 3)
    ours = fuse_views(model, ViewEncoder(model).encode(views).double(), model.encode_text(NAMES))[0]
    published = score_video(PublishedModel(model, NAMES), model.backbone.normalize_pixels(views[0]))
    torch.testing.assert_close(published, ours, rtol=1e-5, atol=1e-7)  # our features leave the device in float32


@pytest.mark.parametrize("name", CASES)
def test_it_computes_what_the_published_code_computed(name: str) -> None:
    case = load_case(name, torch.float64)
    published = PublishedModel(case.model, tuple(case.class_names))
    logits = published(case.video)
    F.cross_entropy(logits, case.targets).backward()
    assert relative_error(logits.detach(), case.expected["logits"]) < 1e-9
    for key, parameter in published.named_parameters():
        # The true gradient of a key's bias is 0 (see parity_case); cls_proj is frozen there.
        if parameter.grad is not None and "cls_proj" not in key and not key.endswith("k_proj.bias"):
            assert relative_error(parameter.grad, case.gradients[key]) < 1e-7, key
