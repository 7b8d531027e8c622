"""Position embeddings for other input sizes."""

import torch

from vitaclip.backbones.vision import resize_positions


def test_the_same_size_changes_nothing() -> None:
    positions = torch.randn(1 + 9, 4)
    torch.testing.assert_close(resize_positions(positions, 3), positions)


def test_a_linear_ramp_stays_one() -> None:
    """Rows and columns keep their meaning: a value that grows to the right still does, and by the same slope."""
    ramp = torch.arange(8.0).expand(8, 8)
    positions = torch.cat([torch.zeros(1, 2), torch.stack([ramp, ramp.T], dim=-1).reshape(64, 2)])
    grid = resize_positions(positions, 16)[1:].view(16, 16, 2)
    inner = grid[4:12, 4:12]
    centres = (torch.arange(16.0) + 0.5) / 2 - 0.5
    torch.testing.assert_close(inner[..., 0], centres[4:12].expand(8, 8), atol=1e-3, rtol=0)
    torch.testing.assert_close(inner[..., 1], centres[4:12, None].expand(8, 8), atol=1e-3, rtol=0)
