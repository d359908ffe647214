"""Shared bars: a file without a name, which is whole or not there."""

from __future__ import annotations

import errno
import resource
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from stratsweep_server.execution.shared_bars import SharedBars
from stratsweep_server.market_data.bars import Bars, map_bars


def bars_of(symbol: str, count: int) -> Bars:
    prices = 1.0 + np.arange(count)
    return Bars(symbol, np.arange(count), prices, prices, prices, prices, prices)


def descriptor_count() -> int:
    return len(list(Path("/dev/fd").iterdir()))


@contextmanager
def file_size_limit(byte_count: int):
    """As on a full disk, nothing larger can be written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (byte_count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_they_are_there_though_their_directory_is_not(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    shared = SharedBars([bars_of("A", 3), bars_of("B", 2)], folder)
    shutil.rmtree(folder)
    mapped = map_bars(shared.fileno(), shared.headers)
    shared.close()
    assert {symbol: bars.close.tolist() for symbol, bars in mapped.items()} == {
        "A": [1, 2, 3],
        "B": [1, 2],
    }


def test_their_size_is_known(tmp_path):
    shared = SharedBars([bars_of("A", 3), bars_of("B", 2)], tmp_path)
    assert shared.byte_count == 5 * 6 * 8
    shared.close()


def test_closed_bars_give_no_descriptor(tmp_path):
    shared = SharedBars([bars_of("A", 3)], tmp_path)
    shared.close()
    shared.close()
    with pytest.raises(ValueError, match="closed"):
        shared.fileno()


def test_where_there_is_no_room_for_all_of_them_nothing_is_left(tmp_path):
    before = descriptor_count()
    with file_size_limit(10_000), pytest.raises(OSError, match="large") as caught:
        SharedBars([bars_of("A", 100), bars_of("B", 1_000)], tmp_path)
    assert caught.value.errno == errno.EFBIG
    assert descriptor_count() == before
    assert list(tmp_path.iterdir()) == []


def test_bars_that_nobody_closed_go_with_their_last_user(tmp_path):
    before = descriptor_count()
    SharedBars([bars_of("A", 3)], tmp_path)
    assert descriptor_count() == before
