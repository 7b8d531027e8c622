"""Scoring videos, and what the scores come to. The package can be called: `vitaclip.evaluate(model, videos)`."""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitaclip.evaluate.metrics import EvaluationResult


class _Evaluate(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> "EvaluationResult":
        """See `vitaclip.evaluate.evaluation.evaluate`, which is imported here, because torch comes with it."""
        from vitaclip.evaluate.evaluation import evaluate

        return evaluate(*arguments, **options)


sys.modules[__name__].__class__ = _Evaluate
