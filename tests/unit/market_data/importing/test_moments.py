"""Times and durations as people read them."""

from __future__ import annotations

import numpy as np
import pytest
from stratsweep_server.market_data.bars import UTC, Bars
from stratsweep_server.market_data.importing.moments import duration_text, moment_text

MINUTE = 60 * 10**9
DAY = 1440 * MINUTE


@pytest.mark.parametrize(
    ("other", "timezone", "shown"),
    [
        (DAY, UTC, "2024-07-02"),
        (MINUTE, UTC, "2024-07-02 00:00"),
        (DAY, "America/New_York", "2024-07-01 20:00"),
    ],
)
def test_times_are_written_by_the_clocks_of_the_bars_zone(other, timezone, shown):
    time, ones = 19_906 * DAY, np.ones(2)
    bars = Bars("X", np.array([time, time + other]), *[ones] * 5, timezone=timezone)
    assert moment_text(bars, time) == shown
    assert moment_text(bars, time + 1_500_000_000).startswith(shown[:10])


@pytest.mark.parametrize(
    ("minutes", "shown"),
    [(1, "1 min"), (90, "1 h 30 min"), (1440, "1 day"), (2 * 1440 + 61, "2 days 1 h"), (0, "0 s")],
)
def test_durations_are_written_in_their_largest_two_units(minutes, shown):
    assert duration_text(minutes * MINUTE) == shown
