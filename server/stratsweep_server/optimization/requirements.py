"""Judge results by requirements: conditions on their metrics, each result by itself. Pure.

A metric without a value is NULL, as what has no value is in constraints: a comparison with it is
not true.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.optimization.condition_names import MetricNames
from stratsweep_server.optimization.conditions import compile_condition
from stratsweep_server.optimization.constraint_types import Expression, Kind, Values, variable

_BLOCK_ROWS = 1 << 16


class MetricColumns(Protocol):
    """Give metrics of outcomes, as every log of outcomes does."""

    def metric(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[np.float64]:
        """Return one metric of a range of outcomes (float64); NaN where it has no value."""


def compiled_requirement(
    text: str, metrics: Collection[str] = (), parameters: Collection[str] = ()
) -> Expression:
    """Return a requirement that can be evaluated on results.

    Args:
        text: Such as `trade_count >= 30`.
        metrics: What it may name; empty: anything.
        parameters: What is no metric, but a parameter.

    Raises:
        InvalidConditionError: It does not parse, names what is no metric, applies something to what
            it does not go with, or is not true or false.
    """
    return compile_condition(text, MetricNames(metrics, parameters), _metric)


class Requirements:
    """Hold requirements that have been found valid.

    Attributes:
        texts: What they say.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = tuple(texts)
        self._conditions = tuple(map(compiled_requirement, texts))

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self._conditions)

    def verdicts(
        self, log: MetricColumns, rows: NDArray[np.intp]
    ) -> Iterator[tuple[slice, NDArray[np.bool_]]]:
        """Yield which rows meet which requirement, some ten thousand rows at a time.

        Args:
            log: Where the results are.
            rows: Their row numbers.

        Yields:
            Which of `rows` (a slice), and whether they meet each requirement (a row each).
        """
        with np.errstate(all="ignore"):  # what has no value is NaN, and dealt with
            for start in range(0, len(rows), _BLOCK_ROWS):
                block = rows[start : start + _BLOCK_ROWS]
                verdicts = np.zeros((len(self._conditions), len(block)), dtype=np.bool_)
                results = _Results(log, block)
                for number, condition in enumerate(self._conditions):
                    if condition.kind is not Kind.NOTHING:
                        verdicts[number] = condition.evaluate(results)[0]
                yield slice(start, start + len(block)), verdicts


def qualifies(
    log: MetricColumns, requirements: Requirements, rows: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Return which results meet every requirement (bool).

    Args:
        log: Where the results are.
        requirements: What they have to meet.
        rows: Their row numbers.
    """
    qualified = np.ones(len(rows), dtype=np.bool_)
    if requirements:
        for block, verdicts in requirements.verdicts(log, rows):
            qualified[block] = verdicts.all(axis=0)
    return qualified


def rejected_counts(
    log: MetricColumns, requirements: Requirements, rows: NDArray[np.intp]
) -> list[int]:
    """Return how many results each requirement rejects. Arguments as in `qualifies`."""
    counts = np.zeros(len(requirements.texts), dtype=np.int64)
    for _, verdicts in requirements.verdicts(log, rows):
        counts += np.count_nonzero(~verdicts, axis=1)
    return [int(count) for count in counts]


class _Results:
    """Implement `Block` for some rows of a log, of which no texts and no aggregates are asked."""

    def __init__(self, log: MetricColumns, rows: NDArray[np.intp]) -> None:
        self._log = log
        self._start, self._stop = int(rows.min()), int(rows.max()) + 1
        self._places = rows - self._start
        self._columns: dict[str, NDArray[np.float64]] = {}
        self._known: dict[Expression, Values] = {}

    def column(self, name: str) -> NDArray[np.float64]:
        """Return the values of a metric."""
        if name not in self._columns:
            column = self._log.metric(name, self._start, self._stop)
            self._columns[name] = column[self._places]
        return self._columns[name]

    def once(self, part: Expression) -> Values:
        """Return the values of a part that is used more than once."""
        if part not in self._known:
            self._known[part] = part.evaluate(self)
        return self._known[part]

    def place(self, text: str) -> NoReturn:
        """Refuse: metrics are no texts."""
        raise NotImplementedError(text)

    def like(self, pattern: str) -> NoReturn:
        """Refuse: metrics are no texts."""
        raise NotImplementedError(pattern)

    def aggregate(self, function: str, part: Expression) -> NoReturn:
        """Refuse: a result is judged by itself."""
        raise NotImplementedError(function)


def _metric(name: str) -> Expression:
    return variable(name, Kind.FRACTION)
