"""Register the built-in strategies: each is a module of its name, which registers it on import."""

from importlib import import_module

BUILT_IN = (
    "bollinger_reversion",
    "buy_and_hold",
    "donchian_breakout",
    "ema_cross",
    "macd_cross",
    "momentum",
    "rsi_reversion",
    "sma_cross",
)

for _name in BUILT_IN:
    import_module(f"{__name__}.{_name}")
