"""Target positions worked out from the strategies' definitions, with pandas and numpy alone.

Each strategy compares figures, and a comparison can be a tie. What decides is a gap: a difference
as a fraction of the price (of 100 for an RSI). Gaps within `TIE` count as none, as
`docs/trading-model.md` says, and `Decisions` counts them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .markets import Market

TIE = 1e-12


@dataclass
class Decisions:
    """Compares, and counts the ties.

    Attributes:
        tie_count: Gaps within `TIE`.
    """

    tie_count: int = 0

    def above(self, gap: np.ndarray) -> np.ndarray:
        """Where a gap is positive and no tie; NaN is not above anything."""
        self.tie_count += int((np.abs(gap) <= TIE).sum())
        return gap > TIE


def positions_of(
    strategy: str,
    market: Market,
    parameters: dict[str, float],
    allow_short: bool,
    decisions: Decisions | None = None,
) -> np.ndarray:
    """The target position after each bar: 1, 0 or -1."""
    rule = _RULES[strategy]
    return rule(market.prices, allow_short, decisions or Decisions(), **parameters)


def _sma_cross(prices, allow_short, decisions, fast, slow):
    close = prices["Close"]
    gap = (close.rolling(fast).mean() - close.rolling(slow).mean()) / close
    return _sides(gap.to_numpy(), allow_short, decisions)


def _ema_cross(prices, allow_short, decisions, fast, slow):
    close = prices["Close"]
    gap = (_exponential_mean(close, fast) - _exponential_mean(close, slow)) / close
    return _sides(gap.to_numpy(), allow_short, decisions)


def _macd_cross(prices, allow_short, decisions, fast, slow, signal):
    """Both averages begin on the bar on which the longer one exists."""
    close, longest = prices["Close"], max(fast, slow)
    line = _exponential_mean(close, fast, longest - fast)
    line -= _exponential_mean(close, slow, longest - slow)
    gap = (line - _exponential_mean(line, signal, longest - 1)) / close
    return _sides(gap.to_numpy(), allow_short, decisions)


def _momentum(prices, allow_short, decisions, period, threshold):
    change = (prices["Close"] / prices["Close"].shift(period) - 1).to_numpy()
    positions = decisions.above(change - threshold).astype(np.float64)
    if allow_short:
        positions -= decisions.above(-change - threshold)
    return positions


def _donchian_breakout(prices, allow_short, decisions, entry_period, exit_period):
    """Closes are compared with highs and lows as they are: nothing is computed, nothing rounds."""
    close = prices["Close"]
    has_channels = np.arange(len(close)) >= max(entry_period, exit_period)
    return _held(
        (close > prices["High"].shift().rolling(entry_period).max()) & has_channels,
        close < prices["Low"].shift().rolling(exit_period).min(),
        (close < prices["Low"].shift().rolling(entry_period).min()) & has_channels & allow_short,
        close > prices["High"].shift().rolling(exit_period).max(),
    )


def _bollinger_reversion(prices, allow_short, decisions, period, deviations):
    close = prices["Close"]
    windows = np.lib.stride_tricks.sliding_window_view(close.to_numpy(), period)
    middle, deviation = np.full((2, len(close)), np.nan)
    middle[period - 1 :] = windows.mean(axis=1)
    deviation[period - 1 :] = windows.std(axis=1)
    beyond = ((close - middle) / close).to_numpy()
    width = (deviations * deviation / close).to_numpy()
    return _held(
        decisions.above(-width - beyond),
        decisions.above(beyond),
        decisions.above(beyond - width) & allow_short,
        decisions.above(-beyond),
    )


def _rsi_reversion(prices, allow_short, decisions, period, oversold, overbought, neutral):
    change = prices["Close"].diff()
    gain = _wilder_mean(change.clip(lower=0), period)
    loss = _wilder_mean(-change.clip(upper=0), period)
    strength = (gain / (gain + loss)).to_numpy()
    return _held(
        decisions.above(oversold / 100 - strength),
        decisions.above(strength - neutral / 100),
        decisions.above(strength - overbought / 100) & allow_short,
        decisions.above(neutral / 100 - strength),
    )


def _buy_and_hold(prices, allow_short, decisions):
    return np.ones(len(prices))


_RULES: dict[str, Callable[..., np.ndarray]] = {
    "sma_cross": _sma_cross,
    "ema_cross": _ema_cross,
    "macd_cross": _macd_cross,
    "momentum": _momentum,
    "donchian_breakout": _donchian_breakout,
    "bollinger_reversion": _bollinger_reversion,
    "rsi_reversion": _rsi_reversion,
    "buy_and_hold": _buy_and_hold,
}


def _exponential_mean(values: pd.Series, span: int, first: int = 0) -> pd.Series:
    """Weight 2 / (span + 1) for a new value, from the mean of the `span` values at `first`."""
    return _seeded(values, span, first).ewm(alpha=2 / (span + 1), adjust=False).mean()


def _wilder_mean(changes: pd.Series, period: int) -> pd.Series:
    """Weight 1 / period for a new change, from the mean of the first `period` changes."""
    return _seeded(changes, period, 1).ewm(alpha=1 / period, adjust=False).mean()


def _seeded(values: pd.Series, count: int, first: int) -> pd.Series:
    """Replace `count` values from `first` on by their mean at the last of them."""
    seeded = values.copy()
    last = first + count - 1
    seeded.iloc[:last] = np.nan
    seeded.iloc[last] = values.iloc[first : last + 1].mean()
    return seeded


def _sides(gap: np.ndarray, allow_short: bool, decisions: Decisions) -> np.ndarray:
    """Long above, short below where allowed, flat at a tie and until there is a gap."""
    above, below = decisions.above(gap), gap < -TIE
    return above.astype(np.float64) - (below & allow_short)


def _held(enter_long, exit_long, enter_short, exit_short) -> np.ndarray:
    """An entry sets the position; else its own side's exit ends it; else it stays."""
    is_long = _latched(enter_long, exit_long | enter_short)
    is_short = _latched(enter_short & ~enter_long, exit_short | enter_long)
    return (is_long - is_short).to_numpy()


def _latched(on: np.ndarray, off: np.ndarray) -> pd.Series:
    """1 from where it is switched on until it is switched off; on wins, off at first."""
    switched = np.where(on, 1.0, np.where(off, 0.0, np.nan))
    return pd.Series(switched).ffill().fillna(0.0)
