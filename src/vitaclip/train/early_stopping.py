"""Early stopping: which validated step was best, and whether to stop."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class EarlyStopping:
    """The validations of a run. Its state is read from the metrics file, so a resumed run has it again."""

    metric: str = "val/top1"
    """The metric to watch; a higher value is better."""
    patience: int = 0
    """Number of validations without a better value after which training stops. 0: never."""
    values: dict[int, float] = field(default_factory=dict)
    """The metric after each validated step, in the order of steps."""

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add the validation after `step` steps."""
        self.values[step] = metrics[self.metric]

    @property
    def best_step(self) -> int | None:
        """The first step that reached the best value; None before any validation."""
        return next(iter(self.ranking()), None)

    def ranking(self) -> list[int]:
        """The validated steps, best first; of equal ones the earlier first."""
        return sorted(self.values, key=lambda step: -self.values[step])

    @property
    def should_stop(self) -> bool:
        """Whether the last `patience` validations found nothing better."""
        if not self.patience or self.best_step is None:
            return False
        return sum(step > self.best_step for step in self.values) >= self.patience
