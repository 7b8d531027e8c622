"""Small CLIPs with random weights, made and saved by the peers' own code.

OpenAI's package cannot be imported as it is, since it wants torchvision; its `model.py` alone can.
"""

import importlib.util
import sys
import warnings
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from tiny import tiny_tokenizer

VOCABULARY = tiny_tokenizer().vocab_size
START, END = VOCABULARY - 2, VOCABULARY - 1
IMAGE_SIZE, PATCH_SIZE, CONTEXT_LENGTH = 32, 16, 20
EMBED_DIM, VISION_WIDTH, TEXT_WIDTH, DEPTH = 24, 128, 64, 2
TEXTS = [[START, 5, 6, 7, END], [START, 9, END], [START, 1, 2, 3, 4, 5, 6, END]]
"""Token ids."""


def write_tokenizer(folder: Path) -> None:
    """A tokenizer.json of the right size."""
    tiny_tokenizer().vocabulary.save(folder)


def images() -> Tensor:
    return torch.randn(3, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(1))


def token_ids() -> Tensor:
    """(K, CONTEXT_LENGTH), zero after the end, as all peers take them."""
    return torch.tensor([row + [0] * (CONTEXT_LENGTH - len(row)) for row in TEXTS])


def ends() -> Tensor:
    return torch.tensor([len(row) - 1 for row in TEXTS])


@cache
def openai_module() -> ModuleType:
    """OpenAI's `clip/model.py`."""
    package = importlib.util.find_spec("clip")
    assert package is not None
    assert package.submodule_search_locations is not None
    file = Path(package.submodule_search_locations[0]) / "model.py"
    spec = importlib.util.spec_from_file_location("openai_clip_model", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def openai_clip(**sizes: int) -> Any:
    """OpenAI's CLIP with weights that tell inputs apart, and the sizes that its files carry as tensors."""
    values = {
        "embed_dim": EMBED_DIM,
        "image_resolution": IMAGE_SIZE,
        "vision_layers": DEPTH,
        "vision_width": VISION_WIDTH,
        "vision_patch_size": PATCH_SIZE,
        "context_length": CONTEXT_LENGTH,
        "vocab_size": VOCABULARY,
        "transformer_width": TEXT_WIDTH,
        "transformer_heads": TEXT_WIDTH // 64,
        "transformer_layers": DEPTH,
    }
    torch.manual_seed(0)
    model = openai_module().CLIP(**values | sizes).eval()
    spread(model)
    return model


def spread(model: torch.nn.Module) -> None:
    """Their own start gives features that are nearly alike, biases that are zero, norms that do nothing."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data *= 2
        else:
            parameter.data += 0.1 * torch.randn_like(parameter)


def openai_archive(model: Any, file: Path, half: bool = False) -> None:
    """Save as OpenAI publishes: a TorchScript archive that holds the sizes as tensors."""
    sizes = {"input_resolution": IMAGE_SIZE, "context_length": CONTEXT_LENGTH, "vocab_size": VOCABULARY}
    for name, value in sizes.items():
        vars(model).pop(name, None)
        model.register_buffer(name, torch.tensor(value))
    with warnings.catch_warnings():
        # Tracing is deprecated and talkative; OpenAI's files will stay what they are.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(model, (images(), token_ids()), check_trace=False)
        torch.jit.save(traced.half() if half else traced, str(file))


@torch.no_grad()
def openai_features(model: Any) -> tuple[Tensor, Tensor]:
    return model.encode_image(images()), model.encode_text(token_ids())


def transformers_clip(activation: str = "quick_gelu") -> Any:
    from transformers import CLIPConfig, CLIPModel

    config = CLIPConfig(
        text_config={
            "hidden_size": TEXT_WIDTH,
            "intermediate_size": 4 * TEXT_WIDTH,
            "num_hidden_layers": DEPTH,
            "num_attention_heads": 4,
            "vocab_size": VOCABULARY,
            "max_position_embeddings": CONTEXT_LENGTH,
            "bos_token_id": START,
            "eos_token_id": END,
            "hidden_act": activation,
        },
        vision_config={
            "hidden_size": VISION_WIDTH,
            "intermediate_size": 3 * VISION_WIDTH,
            "num_hidden_layers": DEPTH + 1,
            "num_attention_heads": 4,
            "image_size": IMAGE_SIZE,
            "patch_size": PATCH_SIZE,
            "hidden_act": activation,
        },
        projection_dim=EMBED_DIM,
    )
    torch.manual_seed(0)
    model: Any = CLIPModel(config)
    model.eval()
    spread(model)
    return model


@torch.no_grad()
def transformers_features(model: Any) -> tuple[Tensor, Tensor]:
    image = model.get_image_features(pixel_values=images())
    text = model.get_text_features(input_ids=token_ids())
    return tuple(getattr(part, "pooler_output", part) for part in (image, text))


def siglip(image_size: int, pad: int, entries: int = 90) -> Any:
    from transformers import SiglipConfig, SiglipModel

    sizes = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3}
    text = {"intermediate_size": 80, "vocab_size": entries, "max_position_embeddings": 12, "pad_token_id": pad}
    vision = {"intermediate_size": 96, "image_size": image_size, "patch_size": 8}
    config = SiglipConfig(text_config={**sizes, **text, "projection_size": 48}, vision_config={**sizes, **vision})
    return SiglipModel(config)


def metaclip2(activation: str, entries: int = 90) -> Any:
    from transformers import MetaClip2Config, MetaClip2Model

    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_act": activation, "projection_dim": 20}
    text = {"hidden_size": 32, "intermediate_size": 128, "vocab_size": entries, "max_position_embeddings": 12}
    vision = {"hidden_size": 48, "intermediate_size": 192, "image_size": 32, "patch_size": 8}
    config = MetaClip2Config(
        text_config={**sizes, **text, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1},
        vision_config={**sizes, **vision},
        projection_dim=20,
    )
    return MetaClip2Model(config)
