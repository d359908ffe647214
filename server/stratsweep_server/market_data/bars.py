"""Hold the OHLCV rows of one symbol, in memory or memory-mapped from a shared file."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import IO, Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

UTC = "UTC"
NANOSECONDS_PER_YEAR = 365.25 * 86_400 * 1e9

_NANOSECONDS_PER_DAY = 86_400 * 10**9
_EPOCH = date(1970, 1, 1).toordinal()
_INT64 = np.iinfo(np.int64)

_Scalar = TypeVar("_Scalar", bound=np.generic)

_COLUMNS = ("time", "open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Bars:
    """Hold the bars of one symbol in ascending order of time, one array element per bar.

    Attributes:
        symbol: The symbol's name.
        time: int64, nanoseconds since 1970-01-01 UTC (times without a zone are taken as UTC).
        open: float64, price of the first trade, positive.
        high: float64, highest price, at least `open`, `low` and `close`.
        low: float64, lowest price, positive.
        close: float64, price of the last trade, positive.
        volume: float64, units traded; NaN where the file has none.
        timezone: IANA name of the zone whose days the bars are of; UTC where bars have dates
            without a time of day, which are kept as midnight UTC.
        warm_up_count: How many of the first bars come before the first day: indicators may use
            them, nothing trades on them.
    """

    symbol: str
    time: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]
    timezone: str = field(default=UTC, kw_only=True)
    warm_up_count: int = field(default=0, kw_only=True)

    def __len__(self) -> int:
        return len(self.time)

    @property
    def byte_count(self) -> int:
        """Return the size of the arrays in bytes."""
        return sum(getattr(self, name).nbytes for name in _COLUMNS)

    def make_read_only(self) -> None:
        """Make numpy refuse to write to the arrays, and to the views that `between` gives."""
        for name in _COLUMNS:
            getattr(self, name).setflags(write=False)

    def reversed(self) -> Bars:
        """Return a copy with the last bar first."""
        columns: dict[str, Any] = {
            name: np.ascontiguousarray(getattr(self, name)[::-1]) for name in _COLUMNS
        }
        return replace(self, **columns)

    def between(
        self, start_date: date | None, end_date: date | None, warm_up_bar_count: int = 0
    ) -> Bars:
        """Select the bars within whole days of their zone, both ends included: views, no copies.

        Args:
            start_date: First day; None for no limit.
            end_date: Last day; None for no limit.
            warm_up_bar_count: Bars before the first day to add, as far as there are so many.
        """
        first = 0 if start_date is None else self._first_index_from(start_date.toordinal())
        end = len(self) if end_date is None else self._first_index_from(end_date.toordinal() + 1)
        begin = max(first - warm_up_bar_count, 0)
        return self._slice(begin, end, warm_up_count=min(first, end) - begin)

    def after_warm_up(self) -> Bars:
        """Select the bars that trade: views, nothing is copied."""
        return self._slice(self.warm_up_count, len(self), warm_up_count=0)

    def _slice(self, begin: int, end: int, warm_up_count: int) -> Bars:
        columns: dict[str, Any] = {name: getattr(self, name)[begin:end] for name in _COLUMNS}
        return replace(self, **columns, warm_up_count=warm_up_count)

    def _first_index_from(self, ordinal: int) -> int:
        begin = _begin_of_day(ordinal - _EPOCH, self.timezone)
        return int(np.searchsorted(self.time, min(max(begin, _INT64.min), _INT64.max)))


@dataclass(frozen=True, slots=True)
class BarsHeader:
    """Hold what a file of `write_bars` does not say about a symbol's bars.

    Attributes:
        count: Their number.
        timezone: As in `Bars`.
        warm_up_count: As in `Bars`.
    """

    count: int
    timezone: str = UTC
    warm_up_count: int = 0


def header_of(bars: Bars) -> BarsHeader:
    """Return what `map_bars` needs to know to map them from a file."""
    return BarsHeader(len(bars), bars.timezone, bars.warm_up_count)


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


def digest_of(bars: Bars) -> str:
    """Return the SHA-256 of all that bars are: symbol, zone, warm-up and columns; hexadecimal.

    It is computed once for each object, since several ask for it: of ten million bars it takes as
    long as to write half of them.
    """
    if bars not in _digests:
        _digests[bars] = _digest(bars)
    return _digests[bars]


_digests: WeakKeyDictionary[Bars, str] = WeakKeyDictionary()


def _digest(bars: Bars) -> str:
    digest = hashlib.sha256(
        repr((bars.symbol, bars.timezone, bars.warm_up_count, len(bars))).encode()
    )
    for name in _COLUMNS:
        digest.update(np.ascontiguousarray(getattr(bars, name)).view(np.uint8).data)
    return digest.hexdigest()


def map_bars(descriptor: int, headers: Mapping[str, BarsHeader]) -> dict[str, Bars]:
    """Map a file that `write_bars` wrote: read-only, shared between processes, nothing copied.

    Args:
        descriptor: Of the file; it may be closed afterwards.
        headers: Each symbol's, in the order in which they were written.
    """
    values = np.frombuffer(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ), dtype=np.float64)
    bars, start = {}, 0
    for symbol, header in headers.items():
        end = start + header.count * len(_COLUMNS)
        time, *prices = values[start:end].reshape(len(_COLUMNS), header.count)
        bars[symbol] = Bars(
            symbol,
            time.view(np.int64),
            *prices,
            timezone=header.timezone,
            warm_up_count=header.warm_up_count,
        )
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


def date_of(time: int, timezone: str = UTC) -> date:
    """Return the local day of a time in nanoseconds since 1970-01-01 UTC."""
    return date.fromordinal(_EPOCH + int(day_numbers(np.array([time]), timezone)[0]))


def day_numbers(time: NDArray[np.int64], timezone: str) -> NDArray[np.int64]:
    """Return the local day of each time, as days since 1970-01-01.

    Args:
        time: int64, nanoseconds since 1970-01-01 UTC.
        timezone: A name that is known.
    """
    if timezone == UTC:
        return time // _NANOSECONDS_PER_DAY
    from stratsweep_server.market_data import timezones  # noqa: PLC0415 - polars, which workers lack

    return timezones.day_numbers(time, timezone)


def _begin_of_day(day_number: int, timezone: str) -> int:
    if timezone == UTC:
        return day_number * _NANOSECONDS_PER_DAY
    from stratsweep_server.market_data import timezones  # noqa: PLC0415 - as above

    return timezones.begin_of_day(day_number, timezone)


def periods_per_year(time: NDArray[np.int64]) -> float:
    """Return bars per year of 365.25 days at their own spacing: (bars - 1) / years they span.

    Args:
        time: int64 nanoseconds, ascending, at least two.
    """
    return float((len(time) - 1) * NANOSECONDS_PER_YEAR / (time[-1] - time[0]))
