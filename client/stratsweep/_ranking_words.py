"""A ranking in words: which end of the target is first, and which results are left out or last."""

from __future__ import annotations

from stratsweep._ranking_columns import metric_named
from stratsweep.config import OptimizationDirection
from stratsweep.events import OptimizationResult

_FIRST = {OptimizationDirection.MAXIMIZE: "largest", OptimizationDirection.MINIMIZE: "smallest"}


def order_of(result: OptimizationResult) -> str:
    """Return which end of the target is first."""
    return f"{_FIRST[result.config.direction]} {_target(result)} first"


def shortfalls(result: OptimizationResult) -> list[str]:
    """Return how many results are left out of the ranking, and how many have no target."""
    parts = []
    if result.unqualified_count:
        parts.append(f"{result.unqualified_count:,} left out by requirements")
    if result.without_target_count:
        parts.append(f"{result.without_target_count:,} without {_target(result)}")
    return parts


def why_without_target(result: OptimizationResult) -> str:
    """Return why results have no value of the target, as the metric's definition says."""
    target = metric_named(_target(result), result.metrics)
    sentences = target.description.removesuffix(".").split(". ")
    absence = next((each for each in sentences if each.startswith("Absent")), "")
    reason = f"is a{absence[1:]}" if absence else "has no finite value in some results"
    return f"{target.name} {reason}; what lacks it is last"


def _target(result: OptimizationResult) -> str:
    return result.config.optimization_target
