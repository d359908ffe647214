"""The report on an import: what it says, and that it fits a narrow terminal."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from stratsweep_server.market_data.bars import UTC, Bars
from stratsweep_server.market_data.importing.joining import join
from stratsweep_server.market_data.importing.report import report_json, report_on, report_text
from stratsweep_server.market_data.importing.source_file import SourceFile

HOUR, DAY = 3600 * 10**9, 86_400 * 10**9
MONDAY = 19_723 * DAY  # 2024-01-01


def source(name: str, places: np.ndarray, *, timezone: str = UTC, **more) -> SourceFile:
    close = np.where(places < 600, 100.0, 50.0)
    volume = np.where(places % 500 < 3, 0.0, 10.0)
    time = MONDAY + places * HOUR
    bars = Bars("X", time, close, close, close, close, volume, timezone=timezone)
    return SourceFile(name, bars, **more)


def report_of(*files: SourceFile):
    return report_on(Path("prices/X.parquet"), join(files))


def test_a_report_says_what_was_written_what_was_left_out_and_what_to_look_at():
    note = "the rows were newest first and have been turned round"
    files = [
        source("b.csv", np.arange(290, 1000), notes=(note,), duplicate_count=1),
        source("a.csv", np.delete(np.arange(300), [50, 51]), left_out=((7, "it is bad"),)),
    ]
    assert report_text(report_of(*files)).splitlines() == [
        "prices/X.parquet: 998 bars",
        "  2024-01-01 00:00 to 2024-02-11 15:00 (UTC)",
        "  usually 1 h from one to the next",
        "files: 2, by time",
        "  a.csv: 298 bars, 2024-01-01 to 2024-01-13",
        "  b.csv: 710 bars, 2024-01-13 to 2024-02-11",
        "in two files: 10 bars, the same in both, kept once",
        "repeated: 1 row that another of the file is, left out",
        "bad rows: 1 row left out",
        "  a.csv, line 7: it is bad",
        "gaps: 1, 2 h in all, holidays included; the longest:",
        "  2024-01-03 01:00 to 2024-01-03 04:00, 2 h missing",
        "jumps: 1 (highs or lows 5% and 20 times the median off the close before)",
        "  2024-01-26 00:00: 100 to 50, -50.0%",
        "zero volume: 6 bars in 2 stretches",
        "  2024-01-01 00:00 to 2024-01-01 02:00, 3 bars",
        "  2024-01-21 20:00 to 2024-01-21 22:00, 3 bars",
        "b.csv: the rows were newest first and have been turned round",
        "next: stratsweep optimize sma_cross --data prices --symbol X",
    ]


def test_times_are_those_of_the_bars_zone():
    report = report_of(source("a.csv", np.arange(300), timezone="America/New_York"))
    assert "  2023-12-31 19:00 to 2024-01-13 06:00 (America/New_York)" in report_text(report)
    assert report_text(report).endswith(" --symbol X --timezone America/New_York")


def test_of_many_of_a_kind_the_first_few_are_shown_and_the_rest_counted():
    places = np.arange(1000)[np.arange(1000) % 50 != 25]
    lines = report_text(report_of(source("a.csv", places))).splitlines()
    start = lines.index("gaps: 20, 20 h in all, holidays included; the longest:")
    assert lines[start + 6] == "  15 more"
    assert max(map(len, lines)) <= 80


def test_in_json_everything_is_listed():
    places = np.arange(1000)[np.arange(1000) % 50 != 25]
    found = json.loads(json.dumps(report_json(report_of(source("a.csv", places)))))
    assert len(found["gaps"]) == 20
    assert found["gaps"][0] == {
        "from": "2024-01-02T00:00:00Z",
        "to": "2024-01-02T02:00:00Z",
        "missing_seconds": 3600,
    }
    assert found["jumps"] == [
        {"time": "2024-01-26T00:00:00Z", "close_before": 100.0, "price": 50.0}
    ]
    assert found["files"] == [
        {"name": "a.csv", "bar_count": 980, "duplicate_row_count": 0, "bad_rows": [], "notes": []}
    ]


def test_a_sparse_file_says_which_gaps_are_not_told():
    is_there = np.random.default_rng(1).random(2000) < 0.3
    text = report_text(report_of(source("a.csv", np.flatnonzero(is_there))))
    assert "\nbars are sparse: gaps shorter than 12 h are not told apart from that\n" in text
