"""Shared bars: a file without a name, which is whole or not there."""

from __future__ import annotations

import errno
import resource
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from stratsweep_server.execution import shared_bars
from stratsweep_server.execution.shared_bars import SharedBarsFiles
from stratsweep_server.market_data.bars import Bars, map_bars, write_bars

COLUMNS = ("time", "open", "high", "low", "close", "volume")


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
    shared = SharedBarsFiles().share([bars_of("A", 3), bars_of("B", 2)], folder)
    shutil.rmtree(folder)
    mapped = map_bars(shared.fileno(), shared.headers)
    shared.close()
    assert {symbol: bars.close.tolist() for symbol, bars in mapped.items()} == {
        "A": [1, 2, 3],
        "B": [1, 2],
    }


def test_their_size_is_known(tmp_path):
    shared = SharedBarsFiles().share([bars_of("A", 3), bars_of("B", 2)], tmp_path)
    assert shared.byte_count == 5 * 6 * 8
    shared.close()


def test_closed_bars_give_no_descriptor(tmp_path):
    shared = SharedBarsFiles().share([bars_of("A", 3)], tmp_path)
    shared.close()
    shared.close()
    with pytest.raises(ValueError, match="closed"):
        shared.fileno()


def test_where_there_is_no_room_for_all_of_them_nothing_is_left(tmp_path):
    before = descriptor_count()
    with file_size_limit(10_000), pytest.raises(OSError, match="large") as caught:
        SharedBarsFiles().share([bars_of("A", 100), bars_of("B", 1_000)], tmp_path)
    assert caught.value.errno == errno.EFBIG
    assert descriptor_count() == before
    assert list(tmp_path.iterdir()) == []


def test_optimizations_on_the_same_bars_share_one_file_until_the_last_one_closes_it(tmp_path):
    before = descriptor_count()
    files = SharedBarsFiles()
    first = files.share([bars_of("A", 3)], tmp_path)
    second = files.share([bars_of("A", 3)], tmp_path)
    assert descriptor_count() == before + 1
    assert first.fileno() == second.fileno()
    first.close()
    first.close()
    assert map_bars(second.fileno(), second.headers)["A"].close.tolist() == [1, 2, 3]
    second.close()
    assert descriptor_count() == before
    third = files.share([bars_of("A", 3)], tmp_path)
    assert map_bars(third.fileno(), third.headers)["A"].close.tolist() == [1, 2, 3]
    third.close()


def test_many_threads_that_share_the_same_bars_write_them_once(tmp_path, monkeypatch):
    written = []

    def count_and_write(file, bars):
        written.append(bars)
        write_bars(file, bars)

    monkeypatch.setattr(shared_bars, "write_bars", count_and_write)
    files = SharedBarsFiles()
    with ThreadPoolExecutor(8) as threads:
        shared = list(
            threads.map(lambda _: files.share([bars_of("A", 1_000)], tmp_path), range(50))
        )
    assert len(written) == 1
    assert len({each.fileno() for each in shared}) == 1


def test_bars_are_written_again_after_there_was_no_room_for_them(tmp_path):
    files = SharedBarsFiles()
    with file_size_limit(10_000), pytest.raises(OSError, match="large"):
        files.share([bars_of("A", 1_000)], tmp_path)
    shared = files.share([bars_of("A", 1_000)], tmp_path)
    assert len(map_bars(shared.fileno(), shared.headers)["A"]) == 1_000
    shared.close()


def with_more(name: str, bars: Bars) -> Bars:
    return replace(bars, **{name: getattr(bars, name) + 1})


OTHERS = {
    "the symbol": lambda bars: replace(bars, symbol="B"),
    "the zone": lambda bars: replace(bars, timezone="Europe/Paris"),
    "the warm-up": lambda bars: replace(bars, warm_up_count=1),
    "fewer bars": lambda bars: bars_of("A", 2),
    **{f"the column {name}": partial(with_more, name) for name in COLUMNS},
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_other_bars_have_another_digest_and_a_file_of_their_own(change, tmp_path):
    files = SharedBarsFiles()
    bars = bars_of("A", 3)
    one, other = files.share([bars], tmp_path), files.share([change(bars)], tmp_path)
    assert one.fileno() != other.fileno()
    assert {*one.digests.values()}.isdisjoint(other.digests.values())
    assert files.share([bars_of("A", 3)], tmp_path).digests == one.digests


def test_the_digest_of_a_view_is_that_of_a_copy(tmp_path):
    files = SharedBarsFiles()
    strided = bars_of("A", 6)
    every_second = Bars("A", *(getattr(strided, name)[::2] for name in COLUMNS))
    copy = Bars("A", *(getattr(strided, name)[::2].copy() for name in COLUMNS))
    assert files.share([every_second], tmp_path).digests == files.share([copy], tmp_path).digests


def test_bars_that_nobody_closed_go_with_their_last_user(tmp_path):
    before = descriptor_count()
    SharedBarsFiles().share([bars_of("A", 3)], tmp_path)
    assert descriptor_count() == before
