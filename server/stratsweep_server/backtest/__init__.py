"""Define what an engine is, in a protocol that every engine follows, and offer the default engine.

Importing this package is light: numba and TA-Lib are loaded with the default engine, in workers.
"""

from stratsweep_server.backtest.engine import (
    BacktestConfig,
    BacktestEngine,
    BacktestResult,
    BatchConfig,
    BatchResult,
    EngineDescription,
    Metric,
    MetricUnit,
    OptimizationDirection,
    ParameterColumn,
    ParameterType,
    ParameterValue,
    Strategy,
    StrategyConfig,
    StrategyParameter,
)
from stratsweep_server.backtest.indicators import (
    Booleans,
    Columns,
    Doubles,
    Integers,
    Texts,
    indicator,
)
from stratsweep_server.backtest.registry import Parameter, strategy
from stratsweep_server.backtest.settings import BacktestSettings
from stratsweep_server.market_data.bars import Bars

__all__ = [
    "BacktestConfig",
    "BacktestEngine",
    "BacktestResult",
    "BacktestSettings",
    "Bars",
    "BatchConfig",
    "BatchResult",
    "Booleans",
    "Columns",
    "Doubles",
    "EngineDescription",
    "Integers",
    "Metric",
    "MetricUnit",
    "OptimizationDirection",
    "Parameter",
    "ParameterColumn",
    "ParameterType",
    "ParameterValue",
    "Strategy",
    "StrategyConfig",
    "StrategyParameter",
    "Texts",
    "indicator",
    "strategy",
]
