"""Compute indicators, functions of bars and parameters, once for each distinct parameter.

Of a thousand combinations of two averages, a hundred averages are different. `@indicator` computes
each of them once, keeps the recent ones, and says which combination uses which.

All indicators of a process keep them within one bound. Where there is no more room, a new column
takes that of what other plans keep: what runs now is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary, WeakSet

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stratsweep_server.market_data.bars import Bars, read_only

Integers: TypeAlias = int | NDArray[np.int64]
"""A whole number, or a column of them: one value per combination."""
Doubles: TypeAlias = float | NDArray[np.float64]
"""A number, or a column of them."""
Booleans: TypeAlias = bool | NDArray[np.bool_]
"""A switch, or a column of them."""
Texts: TypeAlias = str | NDArray[np.str_]
"""A text, or a column of them."""

KEPT_BYTES = 256 * 1024 * 1024
"""What all indicators of a process keep at most: 5,700 averages of 23 years of daily bars. More
only where one decision needs more."""

_FIRST_ROWS = 16


class _Now:
    """Hold what runs now, so that no column in use is dropped.

    Attributes:
        plan: Whose backtests run.
        decision: Counts what strategies are asked.
        kept_bytes: What all stores keep; counted anew before something is added.
    """

    plan: object = None
    decision = 0
    kept_bytes = 0


def begin_plan(plan: object) -> None:
    """Note whose backtests run from now on: what other plans keep is dropped first."""
    _Now.plan = plan
    begin_decision()


def begin_decision() -> None:
    """Note that a strategy is asked anew: columns that it was given before may be dropped."""
    _Now.decision += 1


def kept_bytes() -> int:
    """Return how many bytes all indicators of this process keep."""
    return sum(store.byte_count for store in _stores)


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Hold an indicator's values for each combination of a batch.

    Attributes:
        table: (distinct columns, bars): the values; read-only, and valid until the strategy has
            decided.
        rows: int64 (combinations): the row of the table that each combination uses.
    """

    table: NDArray[Any]
    rows: NDArray[np.int64]


class Indicator:
    """Wrap a function of bars and parameters so that it remembers its columns (see `indicator`)."""

    def __init__(self, function: Callable[..., ArrayLike]) -> None:
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", "indicator")
        self._function = function
        # Columns are dropped together with their bars, at the end of an optimization.
        self._stores: WeakKeyDictionary[Bars, _Store] = WeakKeyDictionary()

    def __reduce__(self) -> tuple[type[Indicator], tuple[Callable[..., ArrayLike]]]:
        """Travel without the columns: they belong to the bars of this process."""
        return Indicator, (self._function,)

    def __call__(self, bars: Bars, *parameters: Integers | Doubles | Booleans | Texts) -> Columns:
        """Return the indicator for each combination.

        Args:
            bars: The bars of a symbol.
            parameters: Columns of equal length, one value per combination; single values are a
                batch of one.

        Raises:
            ValueError: The function returned something else than a value per bar.
        """
        keys, inverse = _distinct(parameters)
        store = self._stores.get(bars)
        if store is None:
            store = self._stores[bars] = _Store(len(bars))
        rows = store.rows_of(keys, lambda key: self._compute(bars, key))
        return Columns(store.table, rows[inverse])

    def column(self, bars: Bars, *parameters: float | str | bool) -> NDArray[Any]:
        """Return the indicator for one value of each parameter; read-only, see `Columns.table`."""
        columns = self(bars, *parameters)
        column: NDArray[Any] = columns.table[columns.rows[0]]
        return column

    def _compute(self, bars: Bars, key: tuple[Any, ...]) -> NDArray[Any]:
        column = np.asarray(self._function(bars, *key))
        if column.shape != (len(bars),):
            raise ValueError(
                f"indicator {self.__name__!r} must return one value per bar, {len(bars)}; "
                f"it returned shape {column.shape}"
            )
        return column


def indicator(function: Callable[..., ArrayLike]) -> Indicator:
    """Make a function of bars and single parameters accept columns, and remember what it computed.

    Example:
        >>> import numpy as np
        >>> from stratsweep_server.backtest import Bars, indicator
        >>> @indicator
        ... def highest_close(bars: Bars, period: int):
        ...     "Return the highest close of the last bars."
        ...     highest = np.full(len(bars), np.nan)
        ...     windows = np.lib.stride_tricks.sliding_window_view(bars.close, period)
        ...     highest[period - 1 :] = windows.max(axis=1)
        ...     return highest

    Args:
        function: Takes the bars of a symbol and one value of each parameter, and returns one value
            per bar, always of the same type; NaN while it has none.
    """
    return Indicator(function)


class _Store:
    """Columns of one indicator on the same bars, in one table.

    Attributes:
        plan: Whose backtests used it last.
        decision: The last one that used it.
    """

    def __init__(self, bar_count: int) -> None:
        self.plan: object = None
        self.decision = -1
        self._bar_count = max(bar_count, 1)
        self._row_of: dict[tuple[Any, ...], int] = {}
        self._in_use: set[tuple[Any, ...]] = set()
        self._table: NDArray[Any] | None = None
        _stores.add(self)

    @property
    def table(self) -> NDArray[Any]:
        if self._table is None:
            raise RuntimeError("nothing was computed")
        return read_only(self._table)

    @property
    def byte_count(self) -> int:
        return 0 if self._table is None else len(self._row_of) * self._table.strides[0]

    def rows_of(
        self,
        keys: Sequence[tuple[Any, ...]],
        compute: Callable[[tuple[Any, ...]], NDArray[Any]],
    ) -> NDArray[np.int64]:
        """Return the row of each key, after computing those that are not there."""
        if self.decision != _Now.decision:
            self._in_use.clear()
        self.plan, self.decision = _Now.plan, _Now.decision
        self._in_use.update(keys)
        missing = [key for key in keys if key not in self._row_of]
        if missing:
            _Now.kept_bytes = kept_bytes()
        for key in missing:
            column = compute(key)
            row = self._free_row(column)
            self._table[row] = column  # type: ignore[index]  # there is one now
            self._row_of[key] = row
        return np.array([self._row_of[key] for key in keys], dtype=np.int64)

    def drop(self) -> None:
        """Forget everything; what was handed out stays valid."""
        self._row_of.clear()
        self._table = None

    def _is_of_other_plan(self, other: _Store) -> bool:
        return other.plan is not self.plan

    def _is_of_other_decision(self, other: _Store) -> bool:
        return other.decision != self.decision

    def _free_row(self, column: NDArray[Any]) -> int:
        if not _make_room(column.nbytes, self._is_of_other_plan):
            # The newest goes first: combinations come in the order of the grid, over and over the
            # same columns, and dropping the oldest would drop each one just before it is needed.
            for key in reversed(self._row_of):
                if key not in self._in_use:
                    return self._row_of.pop(key)
            _make_room(column.nbytes, self._is_of_other_decision)
        _Now.kept_bytes += column.nbytes
        count = len(self._row_of)
        if self._table is None or count == len(self._table):
            table = np.empty((max(2 * count, _FIRST_ROWS), self._bar_count), column.dtype)
            if self._table is not None:
                table[:count] = self._table
            self._table = table
        return count


_stores: WeakSet[_Store] = WeakSet()


def _make_room(byte_count: int, may_go: Callable[[_Store], bool]) -> bool:
    """Drop stores until there is room for so many bytes; return whether there is."""
    if _Now.kept_bytes + byte_count <= KEPT_BYTES:
        return True
    # As with columns, the most recently used goes first: plans and symbols come round and round.
    for store in sorted(filter(may_go, _stores), key=lambda store: store.decision, reverse=True):
        _Now.kept_bytes -= store.byte_count
        store.drop()
        if _Now.kept_bytes + byte_count <= KEPT_BYTES:
            return True
    return False


def _distinct(
    parameters: Sequence[ArrayLike],
) -> tuple[list[tuple[Any, ...]], NDArray[np.int64]]:
    """Return the distinct tuples of values, and the place among them of each combination's."""
    if not parameters:
        return [()], np.zeros(1, dtype=np.int64)
    columns = [np.atleast_1d(np.asarray(parameter)) for parameter in parameters]
    codes: NDArray[np.int64] = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        values, places = np.unique(column, return_inverse=True)
        codes = codes * len(values) + places
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    return list(zip(*(column[first].tolist() for column in columns), strict=True)), inverse
