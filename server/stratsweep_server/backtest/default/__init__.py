"""The default engine: strategies that give target positions, simulated at the next open.

Only workers import this package: it loads numba and TA-Lib.
"""

from stratsweep_server.backtest.default.engine import DefaultEngine, warm_up

__all__ = ["DefaultEngine", "warm_up"]
