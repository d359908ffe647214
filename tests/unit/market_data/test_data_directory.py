"""A folder of price files: names, loading, caching, and what a symbol may not reach."""

from __future__ import annotations

import errno
import gzip
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from stratsweep_server.market_data import data_directory
from stratsweep_server.market_data.data_directory import DataDirectory, SymbolCoverage
from stratsweep_server.market_data.errors import (
    FolderSettingsError,
    InvalidBarsError,
    InvalidSymbolError,
    MarketDataError,
    NoBarsError,
    UnknownSymbolError,
    UnknownTimezoneError,
)
from stratsweep_server.market_data.storage import StorageUnavailableError

DAY = 86_400 * 10**9
NEW_YORK = "America/New_York"
TEXT = """\
Date,Open,High,Low,Close
2024-01-02,10,12,9,11
2024-01-03,11,13,10,12
2024-01-04,12,14,11,13
"""
REAL_DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "prices"
    path.mkdir()
    return path


@pytest.fixture
def directory(folder: Path) -> DataDirectory:
    (folder / "SPY.csv").write_text(TEXT)
    return DataDirectory(folder)


@pytest.fixture
def read_count(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by a symbol each time that a file is parsed."""
    symbols: list[str] = []

    def read_price_file(symbol, *arguments):
        symbols.append(symbol)
        return original(symbol, *arguments)

    original = data_directory.read_price_file
    monkeypatch.setattr(data_directory, "read_price_file", read_price_file)
    return symbols


def test_symbols_are_the_names_of_price_files_in_order(folder, directory):
    for name in (
        "msft.CSV",
        "BTC-USD.csv",
        "QQQ.Parquet",
        "AAPL.txt",
        "ES=F.TSV",
        "BRK.B.csv.gz",
        "IBM.txt.ZST",
        "X.csv.zip",
        "X.gz",
        "X.parquet.gz",
        "X.xlsx",
        "README",
        ".hidden.csv",
        ".csv",
    ):
        (folder / name).write_text(TEXT)
    expected = ["AAPL", "BRK.B", "BTC-USD", "ES=F", "IBM", "QQQ", "SPY", "msft"]
    assert directory.symbols() == expected


@pytest.mark.parametrize(
    "symbol",
    ["BRK.B", "BTC-USD", "^GSPC", "ES=F", "EURUSD", "M&M.NS", "S&P 500", "日経", "A", "X" * 64],
)
def test_symbols_as_markets_have_them_are_loaded(folder, directory, symbol):
    (folder / f"{symbol}.csv").write_text(TEXT)
    assert directory.load(symbol).symbol == symbol


@pytest.mark.parametrize(
    "symbol",
    [
        "",
        ".",
        "..",
        "../x",
        "../prices/SPY",
        "./SPY",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "SPY\0",
        "SPY\n",
        " SPY",
        ".hidden",
        "X" * 65,
        "X" * 100_000,
        "\udcff",
    ],
)
def test_a_symbol_is_never_a_path(directory, symbol):
    with pytest.raises(InvalidSymbolError) as caught:
        directory.load(symbol)
    assert caught.value.symbol == symbol
    assert len(str(caught.value)) < 250


def test_the_absolute_path_of_a_price_file_is_no_symbol(folder, directory):
    with pytest.raises(InvalidSymbolError):
        directory.load(str(folder / "SPY"))


@pytest.mark.parametrize("link", ["file", "folder"])
def test_a_link_out_of_the_directory_is_refused(folder, directory, tmp_path, link):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.csv").write_text(TEXT)
    target = outside / "secret.csv" if link == "file" else outside
    (folder / "LINK.csv").symlink_to(target)
    with pytest.raises(InvalidBarsError) as caught:
        directory.load("LINK")
    assert caught.value.reason.startswith("the file is a link out of the data directory")
    assert str(tmp_path) not in str(caught.value)


def test_a_link_within_the_directory_is_followed(folder, directory):
    (folder / "SPX.csv").symlink_to("SPY.csv")
    assert len(directory.load("SPX")) == 3


def test_the_directory_itself_may_be_a_link(folder, directory, tmp_path):
    (tmp_path / "current").symlink_to(folder)
    assert len(DataDirectory(tmp_path / "current").load("SPY")) == 3


def test_a_pipe_does_not_hang_and_is_refused(folder, directory):
    os.mkfifo(folder / "PIPE.csv")
    with pytest.raises(InvalidBarsError, match="not a regular file"):
        directory.load("PIPE")


def test_a_folder_that_is_named_like_a_price_file_is_refused(folder, directory):
    (folder / "FOLDER.csv").mkdir()
    with pytest.raises(InvalidBarsError, match="not a regular file"):
        directory.load("FOLDER")


@pytest.mark.parametrize("target", ["LOOP.csv", "gone.csv"])
def test_a_link_that_leads_nowhere_is_refused(folder, directory, tmp_path, target):
    (folder / "LOOP.csv").symlink_to(target)
    with pytest.raises(InvalidBarsError, match="cannot be read") as caught:
        directory.load("LOOP")
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(folder, directory):
    (folder / "SPY.csv").chmod(0)
    with pytest.raises(InvalidBarsError, match="cannot be read: Permission denied"):
        directory.load("SPY")


@pytest.mark.parametrize("other", ["SPY.parquet", "SPY.csv.gz", "SPY.txt", "SPY.tsv.zst"])
def test_two_files_for_one_symbol_are_refused_with_the_names_of_both(folder, directory, other):
    (folder / other).write_text(TEXT)
    with pytest.raises(InvalidBarsError, match=rf"SPY.csv: there is {other} too; keep one"):
        directory.load("SPY")


@pytest.mark.parametrize(
    "file_name",
    ["X.zip", "X.csv.zip", "X.csv.bz2", "X.csv.xz", "x.XLSX", "X.feather", "X.h5", "X.gz", "X.zst"],
)
def test_a_file_of_a_symbol_that_is_not_read_is_named(folder, directory, file_name):
    (folder / file_name).write_text("")
    with pytest.raises(UnknownSymbolError) as caught:
        directory.load("X")
    assert caught.value.unread == (file_name,)
    assert f"{file_name} is there, but files like it are not read: give it as" in str(caught.value)
    assert "SPY" in directory.symbols()


def test_files_of_other_symbols_are_not_named(folder, directory):
    for file_name in ("XY.zip", "AX.zip", "X", "X.md", "X.py", "X.B.csv"):
        (folder / file_name).write_text("")
    with pytest.raises(UnknownSymbolError) as caught:
        directory.load("X")
    assert caught.value.unread == ()


def test_a_compressed_file_is_loaded(folder, directory):
    (folder / "GZ.csv.gz").write_bytes(gzip.compress(TEXT.encode()))
    assert directory.load("GZ").close.tolist() == directory.load("SPY").close.tolist()


@pytest.mark.parametrize(
    ("symbol", "nearest"), [("spy", ("SPY",)), ("SPYY", ("SPY",)), ("SP", ("SPY",)), ("ZZZ", ())]
)
def test_an_unknown_symbol_names_the_nearest_in_any_case(directory, symbol, nearest):
    with pytest.raises(UnknownSymbolError) as caught:
        directory.load(symbol)
    assert caught.value.symbol == symbol
    assert caught.value.nearest == nearest


@pytest.mark.parametrize(
    ("symbol", "hint"),
    [
        ("SPX", "the nearest: SPY; `stratsweep strategies` lists every symbol"),
        ("ZZZ", "no symbol is named like it; `stratsweep strategies` lists every symbol"),
        ("SPY,AAPL", "it names 2 symbols; repeat --symbol, or use a list in a program: SPY, AAPL"),
        ("SPY, aapl;MSFT", "it names 3 symbols; repeat --symbol, or use a list in a program: SPY"),
        ("[SPY,'AAPL']", "it names 2 symbols; repeat --symbol, or use a list in a program: SPY"),
        ("AAPL SPY", "it names 2 symbols; repeat --symbol"),
        ("BRK B", "no symbol is named like it"),
        ("spy", "write SPY: upper and lower case differ"),
        ("SPY.csv", "write SPY, the name of the file without its extension"),
        ("SPY,", "write SPY, the name"),
    ],
)
def test_an_unknown_symbol_says_what_to_write_instead(directory, symbol, hint):
    with pytest.raises(UnknownSymbolError, match=re.escape(f"{symbol!r}; {hint}")):
        directory.load(symbol)


@pytest.mark.parametrize(
    ("symbol", "hint"),
    [
        (" SPY", "leave out the blanks around it"),
        (",".join(["LONG"] * 20), "several symbols are given one by one: repeat --symbol, or use"),
    ],
)
def test_what_is_no_symbol_says_what_to_write_instead(directory, symbol, hint):
    with pytest.raises(InvalidSymbolError, match=re.escape(f"is not a symbol: {hint}")):
        directory.load(symbol)


def test_an_empty_folder_says_that_it_has_no_price_file(folder):
    with pytest.raises(UnknownSymbolError, match=r"'SPY'; there is no price file, SYMBOL\.csv or"):
        DataDirectory(folder).load("SPY")


def test_a_symbol_may_be_named_like_several(folder, directory):
    (folder / "SPY,AAPL.csv").write_text(TEXT)
    assert len(directory.load("SPY,AAPL")) == 3


@pytest.mark.parametrize("is_file", [False, True])
def test_a_directory_that_is_gone_says_so_without_its_path_and_when_it_is_back(tmp_path, is_file):
    folder = tmp_path / "gone"
    if is_file:
        folder.write_text("no directory")
    directory = DataDirectory(folder)
    for call in (directory.symbols, directory.coverage, lambda: directory.load("SPY")):
        with pytest.raises(
            StorageUnavailableError, match="data directory cannot be used"
        ) as caught:
            call()
        assert str(tmp_path) not in str(caught.value)
        with pytest.raises(StorageUnavailableError):
            caught.value.probe()
    folder.unlink(missing_ok=True)
    folder.mkdir()
    caught.value.probe()


@pytest.fixture
def before_opening(monkeypatch: pytest.MonkeyPatch):
    """Have something happen after the folder was listed and before a file of it is opened."""

    def arrange(happening):
        def opened(path, *arguments, **options):
            if str(path).endswith(".csv"):
                happening()
            return original(path, *arguments, **options)

        original = os.open
        monkeypatch.setattr(data_directory.os, "open", opened)

    return arrange


def test_a_file_that_vanishes_while_it_is_looked_for_is_an_unknown_symbol(
    folder, directory, before_opening
):
    before_opening((folder / "SPY.csv").unlink)
    with pytest.raises(UnknownSymbolError) as caught:
        directory.load("SPY")
    assert caught.value.nearest == ()


def test_a_file_that_vanishes_while_all_are_looked_at_is_left_out(
    folder, directory, before_opening
):
    (folder / "AAA.csv").write_text(TEXT)
    before_opening(lambda: (folder / "SPY.csv").unlink(missing_ok=True))
    assert [each.name for each in directory.coverage()] == ["AAA"]


def test_a_directory_that_vanishes_meanwhile_is_not_taken_for_a_missing_file(
    folder, directory, before_opening
):
    before_opening(lambda: shutil.rmtree(folder, ignore_errors=True))
    with pytest.raises(StorageUnavailableError):
        directory.load("SPY")


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE])
def test_a_disk_that_cannot_be_read_is_not_a_fault_of_the_file(directory, before_opening, number):
    def fail():
        raise OSError(number, os.strerror(number))

    before_opening(fail)
    for call in (directory.coverage, lambda: directory.load("SPY")):
        with pytest.raises(StorageUnavailableError, match=re.escape(os.strerror(number))):
            call()


def test_dates_limit_what_is_loaded_with_both_ends(directory):
    assert len(directory.load("SPY")) == 3
    assert directory.load("SPY", date(2024, 1, 3), None).close.tolist() == [12, 13]
    assert directory.load("SPY", None, date(2024, 1, 3)).close.tolist() == [11, 12]
    assert directory.load("SPY", date(2024, 1, 3), date(2024, 1, 3)).close.tolist() == [12]


def test_bars_before_the_first_day_are_added_for_warm_up_as_far_as_there_are_any(directory):
    def closes(count):
        return directory.load("SPY", date(2024, 1, 4), None, count).close.tolist()

    assert closes(1) == [12, 13]
    assert closes(2) == closes(100) == [11, 12, 13]
    assert directory.load("SPY", None, None, 5).close.tolist() == [11, 12, 13]


def test_bars_for_warm_up_alone_are_no_bars(directory):
    with pytest.raises(NoBarsError):
        directory.load("SPY", date(2030, 1, 1), None, 3)


def test_dates_without_bars_are_refused_with_the_dates_there_are(directory):
    with pytest.raises(NoBarsError) as caught:
        directory.load("SPY", date(2030, 1, 1), date(2031, 1, 1))
    error = caught.value
    assert (error.first_date, error.last_date) == (date(2024, 1, 2), date(2024, 1, 4))
    assert str(error) == (
        "SPY has no bars from 2030-01-01 to 2031-01-01; "
        "choose dates within 2024-01-02 to 2024-01-04"
    )


@pytest.fixture
def hours(folder) -> Path:
    """A folder whose symbol H has a bar every hour of three local days, without a zone."""
    times = np.arange(np.datetime64("2024-03-08T00"), np.datetime64("2024-03-11T00"))
    times = times[times != np.datetime64("2024-03-10T02")]  # New York had no such hour
    rows = [f"{time}:00,10,12,9,11" for time in times]
    (folder / "H.csv").write_text("\n".join(["Date,Open,High,Low,Close", *rows]))
    return folder


def first_hours(directory: DataDirectory, *arguments: str) -> list[str]:
    loaded = [directory.load("H", timezone=each) for each in arguments] or [directory.load("H")]
    return [str(bars.time[0].astype("datetime64[ns]"))[:13] for bars in loaded]


def test_the_caller_then_the_folder_then_the_default_says_the_zone_of_times(hours):
    assert first_hours(DataDirectory(hours)) == ["2024-03-08T00"]
    directory = DataDirectory(hours, timezone=NEW_YORK)
    assert first_hours(directory) == ["2024-03-08T05"]
    (hours / "stratsweep.toml").write_text('timezone = "America/Chicago"')
    assert first_hours(directory) == ["2024-03-08T06"]
    zones = [NEW_YORK, "America/Denver", "", NEW_YORK]
    expected = ["2024-03-08T05", "2024-03-08T07", "2024-03-08T06", "2024-03-08T05"]
    assert first_hours(directory, *zones) == expected
    (hours / "stratsweep.toml").unlink()
    assert first_hours(directory) == ["2024-03-08T05"]


def test_a_default_zone_that_is_none_is_refused(folder):
    with pytest.raises(UnknownTimezoneError, match="America/New_York"):
        DataDirectory(folder, timezone="America/New_Yrok")


def test_dates_limit_what_is_loaded_to_days_of_the_zone(hours):
    directory = DataDirectory(hours, timezone=NEW_YORK)
    day = directory.load("H", date(2024, 3, 10), date(2024, 3, 10), 2)
    assert (len(day), day.warm_up_count) == (2 + 23, 2)
    assert str(day.time[2].astype("datetime64[ns]"))[:13] == "2024-03-10T05"
    with pytest.raises(NoBarsError, match="within 2024-03-08 to 2024-03-10"):
        directory.load("H", date(2024, 3, 11))


def test_coverage_tells_the_zone_whose_days_the_bars_are_of(hours, directory):
    (hours / "stratsweep.toml").write_text(f'timezone = "{NEW_YORK}"')
    hourly, daily = directory.coverage()
    assert (hourly.timezone, daily.timezone) == (NEW_YORK, "UTC")
    assert hourly.first_time % DAY == DAY * 5 // 24
    assert daily.first_time % DAY == 0
    (hours / "stratsweep.toml").write_text('timezone = "Asia/Tokyo"')
    assert directory.coverage()[0].timezone == "Asia/Tokyo"


def test_settings_that_cannot_be_used_are_said_for_each_symbol(hours, directory):
    (hours / "stratsweep.toml").write_text('time_zone = "America/New_York"')
    with pytest.raises(FolderSettingsError, match=r"stratsweep\.toml: 'time_zone' is no setting"):
        directory.load("SPY")
    assert [("did you mean timezone" in each.error) for each in directory.coverage()] == [True] * 2
    (hours / "stratsweep.toml").unlink()
    (hours / "stratsweep.toml").symlink_to("/etc/hostname")
    with pytest.raises(MarketDataError, match=r"stratsweep\.toml: .* out of the data directory"):
        directory.load("SPY")
    assert all("stratsweep.toml" in each.error for each in directory.coverage())


def test_a_file_is_parsed_once_and_again_when_it_changes(folder, directory, read_count):
    first = directory.load("SPY")
    assert np.shares_memory(first.close, directory.load("SPY", date(2024, 1, 3)).close)
    assert read_count == ["SPY"]
    (folder / "SPY.csv").write_text(TEXT + "2024-01-05,12,14,11,13\n")
    assert len(directory.load("SPY")) == 4
    assert read_count == ["SPY", "SPY"]
    assert len(first) == 3


def test_the_cache_lets_go_of_what_was_used_least_recently(folder, read_count):
    for symbol in "ABC":
        (folder / f"{symbol}.csv").write_text(TEXT)
    one = 3 * 6 * 8
    directory = DataDirectory(folder, cache_byte_limit=2 * one)
    for symbol in "ABACAB":
        directory.load(symbol)
    assert read_count == ["A", "B", "C", "B"]


def test_a_file_that_changes_takes_no_more_of_the_cache_each_time(folder, read_count):
    for symbol in "AB":
        (folder / f"{symbol}.csv").write_text(TEXT)
    directory = DataDirectory(folder, cache_byte_limit=2 * 3 * 6 * 8)
    directory.load("A")
    for volume in (1, 10, 100):
        (folder / "B.csv").write_text(TEXT.replace("\n", f",{volume}\n"))
        directory.load("B")
    directory.load("A")
    assert read_count == ["A", "B", "B", "B"]


def test_bars_larger_than_the_cache_are_loaded_all_the_same(folder, read_count):
    (folder / "A.csv").write_text(TEXT)
    directory = DataDirectory(folder, cache_byte_limit=1)
    assert len(directory.load("A")) == len(directory.load("A")) == 3
    assert read_count == ["A", "A"]


def test_coverage_tells_of_each_symbol_and_why_a_file_is_bad(folder, directory):
    (folder / "BAD.csv").write_text(TEXT.replace("12,9", ",9"))
    (folder / "FOLDER.csv").mkdir()
    bad, blocked, good = directory.coverage()
    assert good == SymbolCoverage("SPY", 3, 19_724 * DAY, 19_726 * DAY, "")
    assert bad == SymbolCoverage(
        "BAD", error="BAD.csv, line 2: the high is missing; fill it or delete the row"
    )
    assert blocked.error == "FOLDER.csv: this is not a regular file; remove it"


def test_what_was_done_to_read_a_file_is_told_and_logged_once(folder, directory, caplog):
    header, *rows = TEXT.splitlines()
    (folder / "OLD.csv").write_text("\n".join([header, *rows[::-1]]))
    note = "the rows were newest first and have been turned round"
    with caplog.at_level("INFO"):
        for _ in range(2):
            assert directory.load("OLD").close.tolist() == [11, 12, 13]
            old, good = directory.coverage()
    assert (old.notes, good.notes) == ((note,), ())
    assert caplog.messages == [f"OLD.csv: {note}"]


def test_coverage_reads_each_file_once_until_it_changes(folder, directory, read_count):
    (folder / "BAD.csv").write_text("nothing")
    assert directory.coverage() == directory.coverage()
    assert read_count == ["BAD", "SPY"]
    (folder / "BAD.csv").write_text(TEXT)
    assert [coverage.error for coverage in directory.coverage()] == ["", ""]


def test_many_threads_may_load_at_once(folder):
    for index in range(8):
        (folder / f"S{index}.csv").write_text(TEXT)
    directory = DataDirectory(folder, cache_byte_limit=3 * 3 * 6 * 8)
    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(lambda index: directory.load(f"S{index % 8}"), range(200)))
    assert [bars.symbol for bars in loaded] == [f"S{index % 8}" for index in range(200)]
    assert all(len(bars) == 3 for bars in loaded)


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason=f"needs real bars in {REAL_DATA}")
@pytest.mark.parametrize(
    ("symbol", "bar_count", "first", "last"),
    [
        ("SPY", 5849, "1998-01-02T00:00:00", "2021-03-31T00:00:00"),
        ("AAPL", 5849, "1998-01-02T00:00:00", "2021-03-31T00:00:00"),
        ("BTCUSD", 1318, "2014-12-01T00:00:00", "2018-08-13T00:00:00"),
        ("SPY_1h", 40_832, "1998-01-02T09:00:00", "2021-03-31T15:00:00"),
    ],
)
def test_real_bars_load(symbol, bar_count, first, last):
    bars = DataDirectory(REAL_DATA).load(symbol)
    assert len(bars) == bar_count
    ends = bars.time[[0, -1]].astype("datetime64[ns]").astype("datetime64[s]")
    assert [str(end) for end in ends] == [first, last]
    assert (bars.high >= np.maximum(bars.open, bars.close)).all()
    assert (bars.low <= np.minimum(bars.open, bars.close)).all()
    assert (bars.volume >= 0).all()


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason=f"needs real bars in {REAL_DATA}")
def test_a_year_of_real_hourly_bars_has_its_last_day_whole():
    bars = DataDirectory(REAL_DATA).load("SPY_1h", date(2020, 1, 2), date(2020, 12, 31))
    last = bars.time[-1].astype("datetime64[ns]").astype("datetime64[s]")
    assert str(last) == "2020-12-31T15:00:00"
