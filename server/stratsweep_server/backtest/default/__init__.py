"""Run strategies that give target positions, which are traded at the next open: the default engine.

Only workers import this package: it loads numba and TA-Lib.
"""

from stratsweep_server.backtest.default.engine import DefaultEngine, warm_up

__all__ = ["DefaultEngine", "warm_up"]
