"""The bars on which the referees are asked: the real files and random walks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from stratsweep_server.backtest import Bars

REAL_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@dataclass(frozen=True)
class Market:
    """Prices with the times of their bars, read by pandas: the product's reader is not the judge.

    Attributes:
        name: The file's or the walk's name.
        prices: Columns Open, High, Low, Close and Volume; the index has the bars' times.
        freq: The bars' spacing as a convention states it, for tools that annualize by it.
    """

    name: str
    prices: pd.DataFrame
    freq: str

    def __len__(self) -> int:
        return len(self.prices)

    @property
    def nanoseconds(self) -> np.ndarray:
        return self.prices.index.to_numpy().astype("datetime64[ns]").astype(np.int64)

    @property
    def periods_per_year(self) -> float:
        """Bars per 365.25 days at the bars' own spacing."""
        time = self.nanoseconds
        return (len(time) - 1) / ((time[-1] - time[0]) / (365.25 * 86_400e9))

    @property
    def bars(self) -> Bars:
        columns = ("Open", "High", "Low", "Close", "Volume")
        arrays = (self.prices[name].to_numpy(dtype=np.float64, copy=True) for name in columns)
        return Bars(self.name, self.nanoseconds, *arrays)

    def middle(self, count: int) -> Market:
        """Some bars from the middle of the market, for a referee that takes long."""
        start = max(0, (len(self) - count) // 2)
        return Market(self.name, self.prices.iloc[start : start + count], self.freq)


MARKETS = ["SPY", "AAPL", "BTCUSD", "SPY_1h", "walk", "volatile walk"]


def market_named(name: str) -> Market:
    """Read or generate one of `MARKETS`; a real one that is not there skips the test."""
    if name == "walk":
        return random_walk(name, seed=1, count=2_500, volatility=0.01)
    if name == "volatile walk":
        return random_walk(name, seed=2, count=2_500, volatility=0.06)
    path = REAL_DATA / f"{name}.csv"
    if not path.exists():
        pytest.skip(f"the real price file {path.name} is not beside this checkout")
    prices = pd.read_csv(path, index_col="Date", parse_dates=True).astype(np.float64)
    return Market(name, prices, "1h" if name.endswith("_1h") else "1D")


def random_walk(
    name: str, seed: int, count: int, volatility: float, tick: float | None = None
) -> Market:
    """Business days with gaps between close and open; prices on a coarse tick have ties."""
    random = np.random.default_rng(seed)
    nights, days = random.normal(0, [[volatility / 3], [volatility]], (2, count))
    close = 100 * np.exp(np.cumsum(nights + days))
    opens = close / np.exp(days)
    if tick:
        opens, close = (np.maximum(np.round(x / tick), 1) * tick for x in (opens, close))
    above, below = np.exp(np.abs(random.normal(0, volatility / 3, (2, count))))
    prices = pd.DataFrame(
        {
            "Open": opens,
            "High": np.maximum(opens, close) * above,
            "Low": np.minimum(opens, close) / below,
            "Close": close,
            "Volume": 1.0,
        },
        index=pd.bdate_range("2010-01-04", periods=count, name="Date"),
    )
    return Market(name, prices, "1D")
