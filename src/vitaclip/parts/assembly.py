"""The kinds of context of a model, put together at every place of the tower.

Axes: B videos, T frames, L tokens of a frame, C channels of the image tower.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from vitaclip.backbones.config import VisionConfig
from vitaclip.parts.config import ModelConfig
from vitaclip.parts.contract import INPUT, ContextKind, Part, without_autocast
from vitaclip.parts.registry import find_part, read_settings

PROJECTION = "cls_proj"


class PlaceContext(nn.ModuleDict):
    """The kinds that stand at one place, and the projection of the frame tokens that some of them share.

    With c = cls_proj(frame token of the T frames); with `centre` the mean over the frames is taken out before.
    """

    def __init__(self, chosen: Mapping[str, Any], tower: VisionConfig, config: ModelConfig, place: int) -> None:
        super().__init__()
        self.centre = config.centre
        kinds = {name: _kind(name) for name in chosen}

        def build(*, late: bool) -> None:
            for name, kind in kinds.items():
                if kind.starts_after_projection == late:
                    self[name] = kind(chosen[name], tower, config.num_frames, place)

        build(late=False)
        if any(kind.needs_projection for kind in kinds.values()):
            self[PROJECTION] = nn.Linear(tower.width, tower.width).requires_grad_(config.train_cls_proj)
        build(late=True)

    def groups(self, frame_tokens: Tensor) -> dict[str, Tensor]:
        """Context by kind, of shapes that broadcast over (B, T, tokens, C), from frame tokens (B, T, C).

        A CPU computes it in the tokens' own precision: casting the weights to bfloat16 takes longer than products of so
        few tokens.
        """
        projected = frame_tokens
        with without_autocast("cpu"):
            if PROJECTION in self:
                centred = frame_tokens - frame_tokens.mean(dim=1, keepdim=True) if self.centre else frame_tokens
                projected = self[PROJECTION](centred)
            groups = {name: kind(projected if kind.needs_projection else frame_tokens) for name, kind in self.kinds()}
        return {name: group for name, group in groups.items() if group is not None}

    def change_tokens(self, tokens: Tensor) -> Tensor:
        """(B, T, L, C) -> (B, T, L or more, C)."""
        for _, kind in self.kinds():
            tokens = kind.change_tokens(tokens)
        return tokens

    def kinds(self) -> list[tuple[str, ContextKind]]:
        """The kinds in alphabetical order, whatever order they started in."""
        return [(name, kind) for name, kind in sorted(self.items()) if isinstance(kind, ContextKind)]


class Context(Part):
    """The context of a whole tower: at the input, and at each block."""

    slot = name = "context"

    def __init__(self, config: ModelConfig, tower: VisionConfig) -> None:
        super().__init__()
        chosen = {name: read_settings("context", name, settings) for name, settings in config.context.items()}

        def at(place: int) -> PlaceContext:
            here = {n: c for n, c in chosen.items() if place in _kind(n).places(c, tower.depth)}
            return PlaceContext(here, tower, config, place)

        self.input = at(INPUT)
        self.blocks = nn.ModuleList(at(block) for block in range(tower.depth))

    def __getitem__(self, block: int) -> PlaceContext:
        """What stands at a block."""
        place = self.blocks[block]
        assert isinstance(place, PlaceContext)
        return place


def _kind(name: str) -> type[ContextKind]:
    kind = find_part("context", name)
    assert issubclass(kind, ContextKind)
    return kind
