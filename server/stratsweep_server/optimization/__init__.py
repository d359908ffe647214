"""Find the best parameters of a strategy: config, grid, validation, ranking, and the optimizer."""

from stratsweep_server.backtest import OptimizationDirection
from stratsweep_server.backtest.importing import EngineLoadError
from stratsweep_server.execution.outcomes import BacktestFailure, FailureKind
from stratsweep_server.execution.pool import WorkersUnavailableError
from stratsweep_server.optimization.config import (
    DoubleRange,
    IntegerRange,
    OptimizationConfig,
    Parameter,
)
from stratsweep_server.optimization.optimizer import GridSearchOptimizer
from stratsweep_server.optimization.result import (
    OptimizationResult,
    ParameterResult,
)
from stratsweep_server.optimization.states import OptimizationState
from stratsweep_server.optimization.validation import InvalidConfigError, Violation

__all__ = [
    "BacktestFailure",
    "DoubleRange",
    "EngineLoadError",
    "FailureKind",
    "GridSearchOptimizer",
    "IntegerRange",
    "InvalidConfigError",
    "OptimizationConfig",
    "OptimizationDirection",
    "OptimizationResult",
    "OptimizationState",
    "Parameter",
    "ParameterResult",
    "Violation",
    "WorkersUnavailableError",
]
