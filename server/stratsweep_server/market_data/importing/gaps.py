"""Gaps in bars: when bars are missing that the file's own rhythm lets expect.

No calendar is needed: a time of the week has bars where most of the weeks around have one then. So
nights, weekends and sessions are no gaps, and neither are they where a session changes over the
years or clocks are set. Holidays are gaps, since the weeks around them have bars.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.market_data.bars import UTC, Bars
from stratsweep_server.market_data.importing.moments import DAY, HOUR, MINUTE
from stratsweep_server.market_data.timezones import local_of_times

_Indices: TypeAlias = NDArray[np.int64]
_Bools: TypeAlias = NDArray[np.bool_]

_WEEK, _WEEKEND = 7 * DAY, 3 * DAY
# Times are told apart as finely as the bars are dense enough for: nearly all are in such slots, and
# on days that have bars nearly all such slots have one.
_SLOTS = (MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR, 12 * HOUR, DAY)
_FEWEST_EXPECTED, _FEWEST_FILLED = 0.9, 0.95
_BESIDE = 2


@dataclass(frozen=True, slots=True)
class Gaps:
    """Hold the gaps of a series, the longest first.

    Attributes:
        rhythm: The most common time from one bar to the next, nanoseconds; 0 for a single bar.
        firsts: The position of the bar before each gap.
        missing: For how long bars were to be expected in it, nanoseconds.
        shortest: Shorter gaps are not told apart from bars that are few, nanoseconds; `rhythm`
            where bars are dense.
    """

    rhythm: int
    firsts: _Indices
    missing: _Indices
    shortest: int


def find_gaps(bars: Bars) -> Gaps:
    """Find the gaps between bars."""
    steps = np.diff(bars.time)
    if not len(steps):
        return Gaps(0, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), 0)
    lengths, counts = np.unique(steps, return_counts=True)
    rhythm = int(lengths[counts.argmax()])
    missing, shortest = _missing(bars, steps, rhythm)
    firsts = np.flatnonzero(missing)
    firsts = firsts[np.argsort(-missing[firsts], kind="stable")]
    return Gaps(rhythm, firsts, missing[firsts], shortest)


def _missing(bars: Bars, steps: _Indices, rhythm: int) -> tuple[_Indices, int]:
    """Return for each step how long bars are missing in it, and `Gaps.shortest`."""
    local = bars.time if bars.timezone == UTC else local_of_times(bars.time, bars.timezone)
    period = next((each for each in (_WEEK, DAY) if rhythm < each < (local[-1] - local[0]) / 2), 0)
    if not period:
        weekend = _WEEKEND if DAY <= rhythm < _WEEK else 0
        return np.where(steps > 1.5 * rhythm + weekend, steps - rhythm, 0), rhythm
    for slot in (each for each in _SLOTS if rhythm <= each < period or each == DAY):
        pattern = _Pattern(local, slot, period)
        if pattern.is_dense:
            break
    missing = np.where(steps > max(pattern.slot, rhythm), pattern.missing_after(), 0)
    is_finest = not any(rhythm <= each < pattern.slot for each in _SLOTS)
    return missing, rhythm if is_finest else pattern.slot


class _Pattern:
    """When bars are to be expected: in which slots of which periods.

    Periods without any bar are expected to be like the one before them.

    Attributes:
        slot: The length of a slot, nanoseconds.
    """

    def __init__(self, local: _Indices, slot: int, period: int) -> None:
        self.slot = slot
        self._slot_count = period // slot
        self._period, place = np.divmod(local // slot, self._slot_count)
        present, self._row = np.unique(self._period, return_inverse=True)
        self._occupied = np.zeros((len(present), self._slot_count), dtype=bool)
        self._occupied[self._row, place] = True
        self._is_within = np.ones_like(self._occupied)
        self._is_within[0, : place[0]] = self._is_within[-1, place[-1] + 1 :] = False
        self._expected = 2 * _around(self._occupied) > _around(self._is_within)
        self._position = self._row * self._slot_count + place

    @property
    def is_dense(self) -> bool:
        """Whether most bars are where they are expected, and most that are expected are there."""
        by_day = (-1, DAY // self.slot)
        has_bars = self._occupied.reshape(by_day).any(axis=1)
        expected = self._expected & self._is_within
        expected_count = expected.reshape(by_day)[has_bars].sum()
        filled_count = (self._expected & self._occupied).sum()
        is_expected = self._expected.ravel()[self._position]
        return bool(
            is_expected.mean() >= _FEWEST_EXPECTED
            and filled_count >= _FEWEST_FILLED * expected_count
        )

    def missing_after(self) -> _Indices:
        """Return for how long bars are missing between each and the next, nanoseconds."""
        count_before = np.concatenate([[0], np.cumsum(self._expected, dtype=np.int64)])
        between = count_before[self._position[1:]] - count_before[self._position[:-1] + 1]
        between += self._absent_count() * self._expected.sum(axis=1)[self._row[:-1]]
        missing: _Indices = np.maximum(between, 0) * self.slot
        return missing

    def _absent_count(self) -> _Indices:
        """Count the periods without any bar between each bar and the next; of days, weekdays."""
        if self._slot_count * self.slot == DAY:
            days = self._period.astype("datetime64[D]")
            return np.maximum(np.busday_count(days[:-1] + 1, days[1:]), 0)
        absent: _Indices = np.diff(self._period) - np.diff(self._row)
        return absent


def _around(rows: _Bools) -> NDArray[np.int32]:
    """Count in each row what it has together with two rows on either side."""
    sums = np.zeros((len(rows) + 1, rows.shape[1]), dtype=np.int32)
    np.cumsum(rows, axis=0, out=sums[1:])
    places = np.arange(len(rows))
    first, end = np.maximum(places - _BESIDE, 0), np.minimum(places + _BESIDE + 1, len(rows))
    around: NDArray[np.int32] = sums[end] - sums[first]
    return around
