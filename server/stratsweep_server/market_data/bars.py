"""Bars: the OHLCV rows of one symbol, in memory or memory-mapped from a shared file."""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import IO, TypeVar

import numpy as np
from numpy.typing import NDArray

NANOSECONDS_PER_YEAR = 365.25 * 86_400 * 1e9

_NANOSECONDS_PER_DAY = 86_400 * 10**9
_EPOCH = date(1970, 1, 1).toordinal()
_INT64 = np.iinfo(np.int64)

_Scalar = TypeVar("_Scalar", bound=np.generic)

_COLUMNS = ("time", "open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Bars:
    """The bars of one symbol in ascending order of time; all arrays have one element per bar.

    Attributes:
        symbol: The symbol's name.
        time: int64, nanoseconds since 1970-01-01 UTC (times without a zone are taken as UTC).
        open: float64, price of the first trade, positive.
        high: float64, highest price, at least `open`, `low` and `close`.
        low: float64, lowest price, positive.
        close: float64, price of the last trade, positive.
        volume: float64, units traded; NaN where the file has none.
    """

    symbol: str
    time: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.time)

    @property
    def byte_count(self) -> int:
        """Size of the arrays in bytes."""
        return sum(getattr(self, name).nbytes for name in _COLUMNS)

    def make_read_only(self) -> None:
        """Make numpy refuse to write to the arrays, and to the views that `between` gives."""
        for name in _COLUMNS:
            getattr(self, name).setflags(write=False)

    def reversed(self) -> Bars:
        """Return a copy with the last bar first."""
        columns = (np.ascontiguousarray(getattr(self, name)[::-1]) for name in _COLUMNS)
        return Bars(self.symbol, *columns)

    def between(
        self, start_date: date | None, end_date: date | None, warm_up_bar_count: int = 0
    ) -> Bars:
        """Select the bars within whole UTC days, both ends included: views, nothing is copied.

        Args:
            start_date: First day; None for no limit.
            end_date: Last day; None for no limit.
            warm_up_bar_count: Bars before the first day to add, as far as there are so many.
        """
        first = 0 if start_date is None else self._first_index_from(start_date.toordinal())
        end = len(self) if end_date is None else self._first_index_from(end_date.toordinal() + 1)
        first = max(first - warm_up_bar_count, 0)
        return Bars(self.symbol, *(getattr(self, name)[first:end] for name in _COLUMNS))

    def _first_index_from(self, ordinal: int) -> int:
        midnight = (ordinal - _EPOCH) * _NANOSECONDS_PER_DAY
        return int(np.searchsorted(self.time, min(max(midnight, _INT64.min), _INT64.max)))


def write_bars(file: IO[bytes], bars: Sequence[Bars]) -> None:
    """Write the bars of several symbols to a file that `map_bars` maps without copying.

    Args:
        file: Empty and unbuffered, so that what does not fit is an error here.
        bars: At least one bar of each symbol.

    Raises:
        OSError: They cannot be written.
    """
    for each in bars:
        for name in _COLUMNS:
            rest = np.ascontiguousarray(getattr(each, name)).view(np.uint8)
            while len(rest):
                rest = rest[file.write(rest.data) :]


def map_bars(descriptor: int, counts: Mapping[str, int]) -> dict[str, Bars]:
    """Map a file that `write_bars` wrote: read-only, shared between processes, nothing copied.

    Args:
        descriptor: Of the file; it may be closed afterwards.
        counts: The number of each symbol's bars, in the order in which they were written.
    """
    values = np.frombuffer(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ), dtype=np.float64)
    bars, start = {}, 0
    for symbol, count in counts.items():
        end = start + count * len(_COLUMNS)
        time, *prices = values[start:end].reshape(len(_COLUMNS), count)
        bars[symbol] = Bars(symbol, time.view(np.int64), *prices)
        start = end
    return bars


def read_only(array: NDArray[_Scalar]) -> NDArray[_Scalar]:
    """Return a view of an array that cannot be written through; nothing is copied."""
    view = array.view()
    view.flags.writeable = False
    return view


def combined_time(bars: Sequence[Bars]) -> NDArray[np.int64]:
    """Merge the times of several symbols' bars: int64 nanoseconds, ascending, each once.

    Args:
        bars: At least one symbol's.
    """
    return np.unique(np.concatenate([one.time for one in bars]))


def date_of(time: int) -> date:
    """Return the UTC day of a time in nanoseconds since 1970-01-01."""
    return date.fromordinal(_EPOCH + int(time) // _NANOSECONDS_PER_DAY)


def periods_per_year(time: NDArray[np.int64]) -> float:
    """Bars per year of 365.25 days at the bars' own spacing: (bars - 1) / years they span.

    Args:
        time: int64 nanoseconds, ascending, at least two.
    """
    return float((len(time) - 1) * NANOSECONDS_PER_YEAR / (time[-1] - time[0]))
