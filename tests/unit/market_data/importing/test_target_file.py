"""The file that an import writes: it reads back bit by bit, and takes nobody's place unasked."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from stratsweep_server.market_data.bars import UTC, Bars
from stratsweep_server.market_data.importing.target_file import (
    TargetExistsError,
    target_of,
    write_bars_file,
)
from stratsweep_server.market_data.price_file import read_price_file

HOUR, DAY = 3600 * 10**9, 86_400 * 10**9
COLUMNS = ("time", "open", "high", "low", "close", "volume")


def bars_of(time: np.ndarray, timezone: str = UTC) -> Bars:
    close = 100.0 * np.exp(np.random.default_rng(1).normal(0, 0.01, len(time)).cumsum())
    volume = np.where(np.arange(len(time)) % 3, np.nan, close * 7)
    return Bars("X", time, close, close * 1.01, close * 0.99, close, volume, timezone=timezone)


@pytest.mark.parametrize(
    ("step", "timezone", "dtype"),
    [
        (DAY, UTC, pl.Date),
        (HOUR, UTC, pl.Datetime("ns", "UTC")),
        (HOUR, "America/New_York", pl.Datetime("ns", "UTC")),
        (1_234_567_891, UTC, pl.Datetime("ns", "UTC")),
    ],
)
def test_bars_read_back_as_they_were(tmp_path, step, timezone, dtype):
    bars = bars_of(19_723 * DAY + np.arange(200) * step, timezone)
    target = target_of(tmp_path / "new", "X", overwrites=False)
    write_bars_file(target, bars)
    assert pl.read_parquet_schema(target) == {"time": dtype} | dict.fromkeys(
        COLUMNS[1:], pl.Float64
    )
    for zone in (UTC, timezone):
        read = read_price_file("X", target.name, target.read_bytes(), zone)
        assert read.notes == ()
        assert read.bars.timezone == zone
        for name in COLUMNS:
            assert getattr(read.bars, name).tobytes() == getattr(bars, name).tobytes(), name
    assert [path.name for path in target.parent.iterdir()] == ["X.parquet"]


def test_a_file_that_is_there_is_replaced_only_on_request(tmp_path):
    (tmp_path / "X.parquet").write_bytes(b"old")
    with pytest.raises(TargetExistsError, match=r"X\.parquet exists; .* --overwrite"):
        target_of(tmp_path, "X", overwrites=False)
    target = target_of(tmp_path, "X", overwrites=True)
    write_bars_file(target, bars_of(np.arange(3) * DAY))
    assert target.read_bytes().startswith(b"PAR1")


@pytest.mark.parametrize("name", ["X.csv", "X.txt.gz"])
def test_another_file_of_the_symbol_is_in_the_way(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    (tmp_path / "Y.csv").write_bytes(b"")
    with pytest.raises(TargetExistsError, match=rf"has {name}, and of two files"):
        target_of(tmp_path, "X", overwrites=True)


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "folder").write_bytes(b"not a folder")
    with pytest.raises(OSError, match="folder"):
        write_bars_file(Path(tmp_path / "folder" / "X.parquet"), bars_of(np.arange(3) * DAY))
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_disk_that_is_full_is_an_error_of_the_system_and_leaves_nothing(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        with pytest.raises(OSError, match=r"X\.parquet cannot be written"):
            write_bars_file(tmp_path / "X.parquet", bars_of(np.arange(3) * DAY))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []
