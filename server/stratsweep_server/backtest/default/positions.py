"""Collect the target positions that strategies return for many combinations, checked."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stratsweep_server.backtest.default.compilation import compiled
from stratsweep_server.backtest.default.portfolio import Portfolio
from stratsweep_server.backtest.default.trade_jumps import WORD
from stratsweep_server.market_data.bars import Bars, read_only
from stratsweep_server.texts import quoted

_Number = TypeVar("_Number", np.int8, np.float64)
_NUMBERS = (bool, int, float, np.bool_, np.integer, np.floating)
_KINDS_OF_OBJECTS = "OUSc"
"""Objects, texts, bytes and complex numbers: of these numpy makes no doubles."""


class PositionError(ValueError):
    """Report that a strategy returned something else than one position in [-1, 1] per bar."""


class Positions:
    """Hold target positions of combinations at the bars of all sleeves after the warm-up.

    Args:
        portfolio: The bars.
        count: The number of combinations.
    """

    def __init__(self, portfolio: Portfolio, count: int) -> None:
        self._portfolio = portfolio
        bar_count = int(portfolio.offsets[-1])
        self._width = bar_count
        word_count = -(-bar_count // WORD)
        # Whole positions (-1, 0, 1) take a byte each; others are floats beside them, and 0 here.
        self._whole = np.zeros((count, word_count * WORD), dtype=np.int8)
        self._is_fractional = np.zeros(count, dtype=np.bool_)

    def __len__(self) -> int:
        return len(self._whole)

    def put(self, strategy: str, sleeve: int, returned: ArrayLike) -> None:
        """Take what a vectorised strategy returned: a row of positions for every combination.

        Args:
            strategy: Its name, for messages.
            sleeve: The sleeve.
            returned: Numbers of shape (combinations, bars of the sleeve with its warm-up).

        Raises:
            PositionError: It is something else, or a position is not in [-1, 1].
        """
        shape = (len(self), len(self._portfolio.sleeves[sleeve]))
        matrix = _as_numbers(strategy, returned, self._portfolio.sleeves[sleeve])
        if matrix.shape != shape:
            raise PositionError(
                f"strategy {strategy!r} must return one row per combination and one position per "
                f"bar, {shape}; it returned {type(returned).__name__} of shape {matrix.shape}"
            )
        self._store(strategy, sleeve, slice(0, len(self)), matrix)

    def put_one(self, strategy: str, sleeve: int, row: int, returned: ArrayLike) -> None:
        """Take what a strategy returned for one combination; raises as `put` does."""
        bars = self._portfolio.sleeves[sleeve]
        bar_count = len(bars)
        array = _as_numbers(strategy, returned, bars)
        if array.shape != (bar_count,):
            what = f"{type(returned).__name__} of shape {array.shape}"
            raise PositionError(
                f"strategy {strategy!r} must return one position per bar, {bar_count}; "
                f"it returned {len(array) if array.ndim == 1 else what}"
            )
        self._store(strategy, sleeve, slice(row, row + 1), array[np.newaxis])

    def _store(
        self,
        strategy: str,
        sleeve: int,
        rows: slice,
        matrix: NDArray[Any],
    ) -> None:
        bars = self._portfolio.sleeves[sleeve]
        place = slice(*self._portfolio.offsets[sleeve : sleeve + 2].tolist())
        after = matrix[:, self._portfolio.warm_up_counts[sleeve] :]
        if matrix.dtype == np.int8:
            if not -1 <= matrix.min() <= matrix.max() <= 1:
                _refuse_invalid(strategy, bars, read_only(matrix.astype(np.float64)))
            self._whole[rows, place] = after
            return
        _refuse_invalid(strategy, bars, matrix)
        for row, targets in enumerate(after, start=rows.start):
            if not store_whole(targets, self._whole[row, place]):
                self._is_fractional[row] = True
                self._floats[row, place] = np.nan_to_num(targets, nan=0.0)

    @cached_property
    def _floats(self) -> NDArray[np.float64]:
        return np.zeros((len(self), self._width))

    def alike(self) -> Iterator[tuple[NDArray[np.intp], NDArray[np.int8] | NDArray[np.float64]]]:
        """Yield rows that are stored alike, and their positions in one symbol: `simulate_jumps`.

        Whole ones are int8 (rows, bars rounded up to whole words), others float64 (rows, bars).
        """
        whole = np.flatnonzero(~self._is_fractional)
        if len(whole):
            yield whole, _rows(self._whole, whole)
        fractional = np.flatnonzero(self._is_fractional)
        if len(fractional):
            yield fractional, _rows(self._floats, fractional)

    def targets(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return positions of some combinations, in ascending order, as float64 (rows, bars)."""
        if self._is_fractional[rows].all() and len(self._portfolio.sleeves) == 1:
            return _rows(self._floats, rows)
        targets = self._whole[rows, : self._width].astype(np.float64)
        if self._is_fractional[rows].any():
            targets += self._floats[rows]
        return targets


def _rows(table: NDArray[_Number], rows: NDArray[np.intp]) -> NDArray[_Number]:
    """Return ascending rows of a table, not copied where they follow each other."""
    first, end = rows[0], rows[-1] + 1
    return table[first:end] if end - first == len(rows) else table[rows]


@compiled
def first_invalid_position(positions: NDArray[np.float64]) -> int:
    """Return the index of the first position that is neither NaN nor in [-1, 1], or -1."""
    for bar in range(len(positions)):
        if abs(positions[bar]) > 1.0:
            return bar
    return -1


@compiled
def store_whole(positions: NDArray[np.float64], whole: NDArray[np.int8]) -> bool:
    """Store positions as bytes if all are -1, 0, 1 or NaN, which is 0; else store zeros."""
    is_whole = True
    for bar in range(len(positions)):
        position = positions[bar]
        rounded = 1 if position == 1.0 else -1 if position == -1.0 else 0
        is_whole &= (position == rounded) | (position != position)  # noqa: PLR0124 - NaN
        whole[bar] = rounded
    if not is_whole:
        whole[:] = 0
    return is_whole


def _as_numbers(strategy: str, returned: ArrayLike, bars: Bars) -> NDArray[Any]:
    """Return what is whole by its type as int8, else as the float64 that kernels are for."""
    try:
        array = np.asarray(returned)
    except ValueError as error:  # rows of different lengths
        raise _no_numbers(strategy, returned, f" that is no table: {error}") from error
    if isinstance(returned, np.ma.MaskedArray):
        array = array.astype(np.object_)
        array[np.ma.getmaskarray(returned)] = None
    if array.dtype == np.bool_:
        return array.view(np.int8)
    if array.dtype == np.int8:
        return array
    if array.dtype.kind in _KINDS_OF_OBJECTS and array.ndim:
        return _from_objects(strategy, returned, array.astype(np.object_), bars)
    try:
        floats = array.astype(np.float64, order="C", casting="same_kind", copy=False)
    except TypeError as error:
        raise _no_numbers(strategy, returned, f" of {array.dtype}") from error
    return read_only(floats)


def _from_objects(
    strategy: str, returned: ArrayLike, array: NDArray[np.object_], bars: Bars
) -> NDArray[np.float64]:
    """Convert numbers and truths among None or pandas' NA, as a shift leaves them, to numbers."""
    types = set(map(type, array.flat))
    missing = {each for each in types if each is type(None) or each.__name__ == "NAType"}
    others = {each for each in types - missing if not issubclass(each, _NUMBERS)}
    if others:
        place = next(place for place, value in enumerate(array.flat) if type(value) in others)
        bar = place % array.shape[-1]
        found = array.flat[place]
        what = f" with {quoted(found)} ({type(found).__name__}) for {_bar(bars, bar)}"
        raise _no_numbers(strategy, returned, what)
    values = (np.nan if type(value) in missing else value for value in array.flat)
    try:
        floats = np.fromiter(values, np.float64, array.size)
    except OverflowError as error:
        raise _no_numbers(strategy, returned, " with a number that no double holds") from error
    return read_only(floats.reshape(array.shape))


def _no_numbers(strategy: str, returned: ArrayLike, what: str) -> PositionError:
    return PositionError(
        f"strategy {strategy!r} must return an array of numbers; it returned "
        f"{type(returned).__name__}{what}"
    )


def _bar(bars: Bars, bar: int) -> str:
    if bar >= len(bars):
        return f"bar {bar}"
    return f"bar {bar} ({np.datetime64(int(bars.time[bar]), 'ns')}) of {bars.symbol}"


def _refuse_invalid(strategy: str, bars: Bars, matrix: NDArray[np.float64]) -> None:
    for positions in matrix:
        invalid = first_invalid_position(positions)
        if invalid >= 0:
            raise PositionError(
                f"strategy {strategy!r} returned position {positions[invalid]} for "
                f"{_bar(bars, invalid)}; a position is a fraction of equity from -1 to 1, or NaN "
                "for none"
            )
