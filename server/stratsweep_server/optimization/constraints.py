"""Evaluate conditions over the parameters on the whole grid, in blocks and without eval.

Every constraint sees the whole grid, so their order does not matter, and an aggregate
(`slow > avg(slow)`) means the one over the grid. What they may say is in `constraint_text`, what it
means in `constraint_types`. A constraint is evaluated on the combinations of the parameters that it
reads, some ten thousand at a time, with texts as places in their order; so memory is bounded by the
grid's size whatever is asked.
"""

from __future__ import annotations

import heapq
import time
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.execution.grid import ParameterAxis, axis_column
from stratsweep_server.optimization.axes import expand
from stratsweep_server.optimization.background import checkpoint
from stratsweep_server.optimization.condition_names import ParameterNames
from stratsweep_server.optimization.conditions import InvalidConditionError, compile_condition
from stratsweep_server.optimization.config import DoubleRange, IntegerRange, ParameterValues
from stratsweep_server.optimization.constraint_types import (
    Expression,
    Kind,
    Values,
    variable,
)
from stratsweep_server.optimization.like import LikePattern
from stratsweep_server.optimization.limits import MAX_CONSTRAINT_SECONDS

_BLOCK_ROWS = 1 << 16
_SORTED_TEXTS = 10_000
"""At a time: the interpreter switches between threads only before and after a sort."""


def grid_parameters(axes: Mapping[str, ParameterValues]) -> dict[str, Expression]:
    """Return by name the parameters of a grid, with sound values, that a constraint may name."""
    return {name: _parameter(name, values) for name, values in axes.items()}


def compiled(
    text: str, parameters: Mapping[str, Expression], metrics: Collection[str] = ()
) -> Expression:
    """Return a constraint that can be evaluated on the grid.

    Args:
        text: Such as `fast < slow`.
        parameters: What `grid_parameters` says of the grid.
        metrics: What is none of them, but a metric.

    Raises:
        InvalidConditionError: It does not parse, names what the grid does not have, applies
            something to what it does not go with, or is not true or false.
    """
    return compile_condition(text, ParameterNames(parameters, metrics), parameters.__getitem__)


def accepted_indices(
    axes: Sequence[ParameterAxis], constraints: Sequence[str]
) -> NDArray[np.int64]:
    """Return the indices (int64, ascending) of combinations for which every constraint is true.

    Args:
        axes: The grid's axes.
        constraints: See `compiled`.

    Raises:
        InvalidConditionError: One that cannot be applied, or all of them take too long.
    """
    parameters = grid_parameters({axis.name: axis.values for axis in axes})
    conditions = [compiled(text, parameters) for text in constraints]
    grid = _Grid(axes, conditions)
    shape = [len(axis.values) for axis in axes]
    accepted = np.ones(shape, dtype=np.bool_)
    with np.errstate(all="ignore"):  # what has no value is NaN, and dealt with
        for condition in conditions:
            # Of one combination for each parameter that it does not read: true for all of those.
            read = [len(axis.values) if axis.name in condition.names else 1 for axis in axes]
            accepted &= grid.truths(condition).reshape(read)
    return np.flatnonzero(accepted)


class _Grid:
    """Hold the values of the parameters that constraints read, and what is of the whole grid."""

    def __init__(self, axes: Sequence[ParameterAxis], conditions: Sequence[Expression]) -> None:
        names = frozenset[str]().union(*(condition.names for condition in conditions))
        read = {axis.name: axis.values for axis in axes if axis.name in names}
        is_text = {name: isinstance(values[0], str) for name, values in read.items()}
        texts = {str(text) for name in read if is_text[name] for text in read[name]}
        self._texts = _in_order(texts.union(*(condition.texts for condition in conditions)))
        self.places = {text: place for place, text in enumerate(self._texts)}
        self.columns: dict[str, NDArray[Any]] = {
            name: np.array([self.places[str(text)] for text in values], dtype=np.int64)
            if is_text[name]
            else axis_column(values)
            for name, values in read.items()
        }
        self._likes: dict[str, NDArray[np.bool_]] = {}
        self._aggregates: dict[tuple[str, Expression], Values] = {}
        self._start = time.thread_time()

    def truths(self, condition: Expression) -> NDArray[np.bool_]:
        """Return where a condition is true, in grid order of the parameters that it reads."""
        if condition.kind is Kind.NOTHING:
            return np.zeros(1, dtype=np.bool_)
        truths = np.empty(self._size(condition.names), dtype=np.bool_)
        for block in self._blocks(condition.names):
            truths[block.rows] = condition.evaluate(block)[0]
        return truths

    def like(self, pattern: str) -> NDArray[np.bool_]:
        """Return which of the texts, in their order, match a pattern."""
        if pattern not in self._likes:
            matches = np.empty(len(self._texts), dtype=np.bool_)
            like = LikePattern(pattern)
            for place, text in enumerate(self._texts):
                matches[place] = like.matches(text)
                if place % 1_000 == 0:
                    self._go_on()
            self._likes[pattern] = matches
        return self._likes[pattern]

    def aggregate(self, function: str, part: Expression) -> Values:
        """Return the min, max or avg of a part over the whole grid, of what is defined."""
        key = function, part
        if key not in self._aggregates:
            # All combinations of the parameters that it does not read have the same values.
            blocks = (_defined(part.evaluate(block)) for block in self._blocks(part.names))
            columns = (column for column in blocks if len(column))
            value = _average(columns) if function == "avg" else _extreme(function, columns)
            if value is not None:
                self._aggregates[key] = value, True
            elif function == "avg" or part.kind is Kind.FRACTION:
                self._aggregates[key] = np.float64(np.nan), True
            else:
                self._aggregates[key] = np.int64(0), np.False_
        return self._aggregates[key]

    def _blocks(self, names: frozenset[str]) -> Iterator[_Block]:
        strides, size = {}, 1
        for name in reversed([name for name in self.columns if name in names]):
            strides[name] = size
            size *= len(self.columns[name])
        for start in range(0, size, _BLOCK_ROWS):
            self._go_on()
            yield _Block(self, strides, start, min(start + _BLOCK_ROWS, size))

    def _size(self, names: frozenset[str]) -> int:
        return prod(len(self.columns[name]) for name in names)

    def _go_on(self) -> None:
        checkpoint()
        if time.thread_time() - self._start > MAX_CONSTRAINT_SECONDS:
            raise InvalidConditionError(
                f"take more than {MAX_CONSTRAINT_SECONDS:g} s to evaluate on this grid; "
                "write fewer or shorter ones"
            )


class _Block:
    """Implement `Block` for some combinations of the parameters that a constraint reads.

    Attributes:
        rows: Which.
    """

    def __init__(self, grid: _Grid, strides: Mapping[str, int], start: int, stop: int) -> None:
        self.rows = slice(start, stop)
        self._grid = grid
        self._strides = strides
        self._indices = np.arange(start, stop)
        self._columns: dict[str, NDArray[Any]] = {}
        self._known: dict[Expression, Values] = {}

    def column(self, name: str) -> NDArray[Any]:
        """Return the values of a parameter; a text's are places in the order of all texts."""
        if name not in self._columns:
            values = self._grid.columns[name]
            rounds = self._indices // self._strides[name]
            self._columns[name] = values[rounds - rounds // len(values) * len(values)]
        return self._columns[name]

    def place(self, text: str) -> int:
        """Return the place of a text in the order of all texts."""
        return self._grid.places[text]

    def like(self, pattern: str) -> NDArray[np.bool_]:
        """Return which of all texts, in their order, match a pattern."""
        return self._grid.like(pattern)

    def once(self, part: Expression) -> Values:
        """Return the values of a part that is used more than once."""
        if part not in self._known:
            self._known[part] = part.evaluate(self)
        return self._known[part]

    def aggregate(self, function: str, part: Expression) -> Values:
        """Return the min, max or avg of a part over the whole grid."""
        return self._grid.aggregate(function, part)


def _parameter(name: str, values: ParameterValues) -> Expression:
    if isinstance(values, DoubleRange):
        return variable(name, Kind.FRACTION)
    numbers = expand(values) if isinstance(values, IntegerRange) else values
    if isinstance(numbers, range):
        return variable(name, Kind.WHOLE, (numbers[0], numbers[-1]))
    types = {type(value) for value in (numbers[:1] if isinstance(numbers, array) else numbers)}
    if types == {int}:
        least, most = np.min(numbers), np.max(numbers)
        return variable(name, Kind.WHOLE, (int(least), int(most)))
    kinds = {str: Kind.TEXT, bool: Kind.TRUTH}
    return variable(name, kinds.get(types.pop(), Kind.FRACTION))


def _in_order(texts: Iterable[str]) -> list[str]:
    unsorted = list(texts)
    blocks = [
        sorted(unsorted[start : start + _SORTED_TEXTS])
        for start in range(0, len(unsorted), _SORTED_TEXTS)
    ]
    return list(heapq.merge(*blocks))


def _defined(values: Values) -> NDArray[Any]:
    column, defined = np.broadcast_arrays(*np.atleast_1d(*values))
    is_number = column == column  # noqa: PLR0124 - not NaN
    chosen: NDArray[Any] = column[defined & is_number]
    return chosen


def _extreme(function: str, columns: Iterable[NDArray[Any]]) -> np.generic | None:
    reduce = np.min if function == "min" else np.max
    extremes = [reduce(column) for column in columns]
    return reduce(np.array(extremes)) if extremes else None


def _average(columns: Iterable[NDArray[Any]]) -> np.generic | None:
    """Return the mean: of whole numbers exact and rounded once."""
    total: float = 0
    count = 0
    for column in columns:
        count += len(column)
        if column.dtype == np.int64:
            high, low = int((column >> 32).sum()), int((column & 0xFFFFFFFF).sum())
            total += (high << 32) + low
        else:
            total += float(column.sum())
    return np.float64(total / count) if count else None
