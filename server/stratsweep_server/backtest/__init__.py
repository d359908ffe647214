"""Engines: the protocol that every engine follows, and the default engine."""

from stratsweep_server.backtest.engine import (
    BacktestConfig,
    BacktestEngine,
    BacktestResult,
    EngineDescription,
    Metric,
    ParameterType,
    ParameterValue,
    Strategy,
    StrategyConfig,
    StrategyParameter,
)

__all__ = [
    "BacktestConfig",
    "BacktestEngine",
    "BacktestResult",
    "EngineDescription",
    "Metric",
    "ParameterType",
    "ParameterValue",
    "Strategy",
    "StrategyConfig",
    "StrategyParameter",
]
