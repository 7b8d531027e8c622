"""How long a run is, and its learning rate."""

import pytest

from vitaclip.train.config import OptimConfig
from vitaclip.train.optim import cosine, total_steps


def test_schedule_is_a_half_cosine() -> None:
    assert [cosine(step, 4) for step in (0, 2, 4)] == pytest.approx([1.0, 0.5, 0.0])


def test_warm_up_is_linear_up_to_cosine() -> None:
    factors = [cosine(step, 9, warmup_steps=3) for step in range(10)]
    assert factors[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert factors[3:] == pytest.approx([cosine(step, 6) for step in range(7)])


@pytest.mark.parametrize(("epochs", "videos", "batch", "steps"), [(1, 10, 5, 2), (3, 10, 4, 8), (50, 816, 64, 638)])
def test_epochs_are_rounded_up_to_steps(epochs: int, videos: int, batch: int, steps: int) -> None:
    assert total_steps(OptimConfig(steps=0, epochs=epochs, batch_size=batch), videos) == steps


def test_steps_do_not_depend_on_the_videos() -> None:
    assert total_steps(OptimConfig(steps=7), 1) == total_steps(OptimConfig(steps=7), 10_000) == 7


def test_warm_up_as_long_as_run_is_refused() -> None:
    with pytest.raises(ValueError, match="warmup_steps = 4: must be fewer than all steps, here 4"):
        total_steps(OptimConfig(steps=0, epochs=2, batch_size=5, warmup_steps=4), 10)
