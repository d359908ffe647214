"""Unusual moves: relative to the file's own, and to the close before."""

from __future__ import annotations

import numpy as np
from stratsweep_server.market_data.bars import Bars
from stratsweep_server.market_data.importing.jumps import find_jumps
from stratsweep_server.market_data.importing.zero_volume import zero_volume_stretches


def bars_of(close: np.ndarray, volume: np.ndarray | None = None, spread: float = 1.001) -> Bars:
    ones = np.ones(len(close))
    time = np.arange(len(close)) * 10**9
    low, high = close / spread, close * spread
    return Bars("X", time, close, high, low, close, ones if volume is None else volume)


def test_a_split_is_a_jump_and_ordinary_moves_are_none():
    close = np.where(np.arange(100) < 60, 100.0, 50.0)
    jumps = find_jumps(bars_of(close))
    assert jumps.indices.tolist() == [60]
    assert jumps.prices.tolist() == [50.0 / 1.001]
    assert jumps.moves[0] == 50.0 / 1.001 / 100.0 - 1


def test_a_wrong_low_is_a_jump_although_the_close_is_right():
    bars = bars_of(np.full(100, 100.0))
    bars.low[40] = 9.0
    jumps = find_jumps(bars)
    assert (jumps.indices.tolist(), jumps.prices.tolist()) == ([40], [9.0])


def test_the_largest_jump_is_first_up_or_down():
    close = np.full(100, 100.0)
    close[30:], close[60:] = 200.0, 50.0
    assert find_jumps(bars_of(close)).indices.tolist() == [60, 30]


def test_what_is_usual_for_the_file_is_no_jump():
    close = 100.0 * 1.06 ** (np.arange(100) % 2)
    assert len(find_jumps(bars_of(close)).indices) == 0
    quiet = np.full(100, 100.0)
    quiet[50] = 104.0  # a thousand times the usual, and less than 5 %
    assert len(find_jumps(bars_of(quiet, spread=1.000001)).indices) == 0


def test_one_bar_has_no_jump():
    assert len(find_jumps(bars_of(np.array([5.0]))).indices) == 0


def test_stretches_without_volume_are_found_the_longest_first():
    volume = np.array([0, 0, 1, 0, 0, 0, np.nan, 2, 0])
    stretches = zero_volume_stretches(bars_of(np.full(9, 1.0), volume))
    assert stretches.firsts.tolist() == [3, 0, 8]
    assert stretches.counts.tolist() == [3, 2, 1]
