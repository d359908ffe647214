"""Files in one series: in whatever order, overlapping where they agree, refused where not."""

from __future__ import annotations

import random

import numpy as np
import pytest
from stratsweep_server.market_data.bars import UTC, Bars
from stratsweep_server.market_data.importing.joining import DisagreementError, JoinedBars, join
from stratsweep_server.market_data.importing.source_file import SourceFile

HOUR = 3600 * 10**9
COUNT = 60
VOLUME = np.where(np.arange(COUNT) % 2, np.nan, 5.0)


def part(hours: range, name: str = "", shift: float = 0.0, timezone: str = UTC, **more):
    places = np.array(hours)
    close = 10.0 + places + shift
    bars = Bars(
        *("X", places * HOUR, close, close + 1, close - 1, close, VOLUME[places]), timezone=timezone
    )
    return SourceFile(name or f"{hours.start}.csv", bars, **more)


def assert_whole(joined: JoinedBars) -> None:
    assert joined.bars.time.tolist() == (np.arange(COUNT) * HOUR).tolist()
    assert joined.bars.close.tolist() == (10.0 + np.arange(COUNT)).tolist()
    assert joined.bars.volume.tobytes() == VOLUME.tobytes()


def test_files_are_joined_by_time_in_whatever_order_they_are():
    parts = [part(range(first, first + 12)) for first in range(0, COUNT, 12)]
    for seed in range(5):
        random.Random(seed).shuffle(parts)
        joined = join(parts)
        assert_whole(joined)
        assert joined.overlap_count == 0
        assert [file.name for file in joined.files] == [
            f"{first}.csv" for first in range(0, 60, 12)
        ]


def test_what_overlapping_files_agree_on_is_there_once_and_counted():
    parts = [part(range(30)), part(range(20, 50)), part(range(45, 60)), part(range(25, 28))]
    joined = join(parts)
    assert_whole(joined)
    assert joined.overlap_count == 10 + 5 + 3


def test_the_same_file_twice_is_one():
    assert join([part(range(60)), part(range(60))]).overlap_count == 60


def test_files_that_differ_in_a_bar_that_both_have_are_refused_with_both_values():
    with pytest.raises(DisagreementError) as caught:
        join([part(range(30), "a.csv"), part(range(27, 60), "b.csv", shift=0.5)])
    assert str(caught.value) == (
        "a.csv and b.csv disagree: at 1970-01-02 03:00 the open is 37.0 and 37.5, the first of 3 "
        "such bars; leave out one of the files, or cut off what both have"
    )


@pytest.mark.parametrize("places", [range(0, 60, 2), range(1, 60, 2)])
def test_a_file_that_lacks_bars_of_another_within_its_own_time_is_refused(places):
    with pytest.raises(
        DisagreementError, match=r"a\.csv is from .* but lacks 1970-01-01 0.:00, whi"
    ):
        join([part(places, "a.csv"), part(range(60), "b.csv")])


def test_a_file_may_lack_what_was_left_out_of_it():
    bars = part(range(60)).bars
    kept = np.arange(COUNT) != 7
    columns = {
        name: getattr(bars, name)[kept]
        for name in ("time", "open", "high", "low", "close", "volume")
    }
    holed = SourceFile("a.csv", Bars("X", **columns), left_out=((8, "it is bad"),))
    assert_whole(join([holed, part(range(60), "b.csv")]))


def test_dates_and_times_of_a_zone_are_not_joined():
    parts = [part(range(24), "d.csv"), part(range(24, 60), "h.csv", timezone="Asia/Tokyo")]
    for each in (parts, parts[::-1]):
        with pytest.raises(
            DisagreementError, match=r"d\.csv has .* and h\.csv has times of Asia/T"
        ):
            join(each)


@pytest.mark.parametrize("timezone", [UTC, "Asia/Tokyo"])
def test_dates_and_times_of_day_are_not_joined_where_no_file_overlaps(timezone):
    daily = part(range(0, 48, 24), "d.csv")
    within = part(range(48, 60), "h.csv", timezone=timezone)
    for each in ([daily, within], [within, daily]):
        with pytest.raises(DisagreementError, match=r"d\.csv has dates, and h\.csv has times of d"):
            join(each)


def test_a_file_of_one_bar_at_midnight_is_joined_to_bars_within_the_day():
    assert len(join([part(range(24)), part(range(24, 25))]).bars) == 25
