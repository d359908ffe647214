"""Run combinations again, to see whether a strategy gives the same results whatever ran before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from stratsweep.config import ConfigOptions, OptimizationConfig
from stratsweep.events import OptimizationResult
from stratsweep.outcomes import ParameterResult
from stratsweep.parameters import ParameterValue

# Of a grid, not of a combination.
_NOT_REPEATED = {"parameters", "constraints", "requirements", "max_ranked_results"}


@dataclass(frozen=True, slots=True)
class RepeatDifference:
    """Describe a combination that gave something else when it ran again.

    Attributes:
        combination_index: The combination's 0-based number in grid order, as in the ranking.
        parameters: The values of the grid's parameters, in grid order.
        metrics: Those that differ, by name: the value in the ranking, and the one when it ran
            again; None where there was none.
        message: Why it gave no metrics when it ran again; empty where it did.
    """

    combination_index: int
    parameters: Mapping[str, ParameterValue]
    metrics: Mapping[str, tuple[float | None, float | None]]
    message: str = ""


@dataclass(frozen=True, slots=True)
class RepeatCheck:
    """Say what came of running some combinations again.

    Attributes:
        checked_count: The number of combinations that ran again.
        differences: Those that gave something else, in the order of the ranking.
    """

    checked_count: int
    differences: Sequence[RepeatDifference]


def rows_to_repeat(ranked: Sequence[ParameterResult], count: int) -> list[ParameterResult]:
    """Return rows that are spread evenly over a ranking, first and last included, the last first.

    Raises:
        ValueError: `count` is not positive.
    """
    if count < 1:
        raise ValueError(f"count is {count}; at least one combination runs again")
    count = min(count, len(ranked))
    if count < 2:
        return list(ranked[:count])
    return [ranked[place * (len(ranked) - 1) // (count - 1)] for place in reversed(range(count))]


def repeat_options(config: OptimizationConfig, row: ParameterResult) -> ConfigOptions:
    """Return the keywords for an optimization of one combination alone."""
    options = {
        name: value for name, value in config.as_options().items() if name not in _NOT_REPEATED
    }
    options["parameters"] = {name: [value] for name, value in row.parameters.items()}
    return cast(ConfigOptions, options)


def difference(row: ParameterResult, again: OptimizationResult) -> RepeatDifference | None:
    """Compare a row with the result of its combination alone; None where all bits are the same."""
    message = ""
    values: Mapping[str, float] = {}
    if again.ranked:
        values = again.ranked[0].metrics
    else:
        message = again.failures[0].message if again.failures else again.message or again.state
    metrics = {
        name: (row.metrics.get(name), values.get(name))
        for name in sorted({*row.metrics, *values})
        if not _are_same(row.metrics.get(name), values.get(name))
    }
    if not metrics and not message:
        return None
    return RepeatDifference(row.combination_index, row.parameters, metrics, message)


def repeat_check(
    rows: Sequence[ParameterResult], results: Sequence[OptimizationResult]
) -> RepeatCheck:
    """Return what came of running rows again, in the order of `rows_to_repeat`."""
    found = map(difference, reversed(rows), reversed(results))
    return RepeatCheck(len(rows), tuple(each for each in found if each is not None))


def _are_same(first: float | None, again: float | None) -> bool:
    if first is None or again is None:
        return first is again
    return float(first).hex() == float(again).hex()  # 0.0 and -0.0 are not the same
