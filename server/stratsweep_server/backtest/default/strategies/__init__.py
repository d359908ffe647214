"""The built-in strategies; importing one of these modules registers it."""

from stratsweep_server.backtest.default.strategies import (
    bollinger_reversion,
    buy_and_hold,
    donchian_breakout,
    ema_cross,
    macd_cross,
    momentum,
    rsi_reversion,
    sma_cross,
)

__all__ = [
    "bollinger_reversion",
    "buy_and_hold",
    "donchian_breakout",
    "ema_cross",
    "macd_cross",
    "momentum",
    "rsi_reversion",
    "sma_cross",
]
