"""The bars that figures run on: the real files where they are beside this checkout, else walks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from stratsweep_server.backtest import Bars
from stratsweep_server.market_data.price_file import read_price_file

SEED = 20_240_229
_REAL_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
_NANOSECONDS = {"daily": 86_400 * 10**9, "hourly": 3_600 * 10**9, "minute": 60 * 10**9}


@dataclass(frozen=True, eq=False)
class Market:
    """Bars of one symbol.

    Attributes:
        label: What a row of the table says of them.
        bars: Read-only.
    """

    label: str
    bars: Bars

    def write_to(self, folder: Path) -> None:
        """Write the price file of the symbol into a folder."""
        columns = ("open", "high", "low", "close", "volume")
        time = pl.Series(self.bars.time).cast(pl.Datetime("ns"))
        table = pl.DataFrame({"time": time} | {name: getattr(self.bars, name) for name in columns})
        path = folder / f"{self.bars.symbol}.csv"
        table.write_csv(path, datetime_format="%Y-%m-%d %H:%M:%S")


def daily(count: int = 5_849) -> Market:
    """The last daily bars of SPY."""
    return _real("SPY", "daily", count)


def hourly() -> Market:
    """Hourly SPY."""
    return _real("SPY_1h", "hourly", 40_832)


def minutes(count: int = 100_000) -> Market:
    """Minute bars of a random walk."""
    return _random_walk("minute", count)


def _real(symbol: str, spacing: str, count: int) -> Market:
    path = _REAL_DATA / f"{symbol}.csv"
    if not path.exists():
        return _random_walk(spacing, count)
    bars = read_price_file(symbol, path.name, path.read_bytes()).bars
    columns = (bars.time, bars.open, bars.high, bars.low, bars.close, bars.volume)
    last = Bars(symbol, *(column[-count:] for column in columns))
    last.make_read_only()
    return Market(f"SPY, {len(last):,} {spacing} bars", last)


def _random_walk(spacing: str, count: int) -> Market:
    """Closes with the variance of 1 % a day, opens at the close before."""
    random = np.random.default_rng(SEED)
    volatility = 0.01 * np.sqrt(_NANOSECONDS[spacing] / _NANOSECONDS["daily"])
    close = 100 * np.exp(np.cumsum(random.normal(0, volatility, count)))
    opens = np.concatenate([[100.0], close[:-1]])
    bars = Bars(
        "WALK",
        np.arange(count, dtype=np.int64) * _NANOSECONDS[spacing],
        opens,
        np.maximum(opens, close),
        np.minimum(opens, close),
        close,
        np.ones(count),
    )
    bars.make_read_only()
    return Market(f"walk, {count:,} {spacing} bars", bars)
