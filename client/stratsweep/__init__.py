"""Stratsweep: find the best parameters of a trading strategy, over gRPC.

import stratsweep

with stratsweep.Client("127.0.0.1:50051") as client:
    stream = client.optimize("sma_cross", symbols="SPY", parameters={"fast": range(5, 55, 5)})
    for event in stream:
        ...
    best = stream.result().best
"""

from importlib import import_module
from typing import TYPE_CHECKING

from stratsweep._version import __version__
from stratsweep.config import OptimizationConfig, OptimizationDirection, RunOptions
from stratsweep.errors import (
    DeadlineExceededError,
    InputsChangedError,
    InvalidConfigError,
    NotFoundError,
    OptimizationCancelledError,
    OptimizationExistsError,
    OptimizationRunningError,
    ServerBusyError,
    ServerError,
    ServerStartError,
    ServerUnavailableError,
    StratsweepError,
    StreamInterruptedError,
    VersionMismatchWarning,
    Violation,
)
from stratsweep.events import (
    MarketDataSummary,
    OptimizationEvent,
    OptimizationResult,
    OptimizationStarted,
    OptimizationState,
    Progress,
    SymbolResult,
)
from stratsweep.optimizations import Optimization, ResultList
from stratsweep.outcomes import BacktestFailure, FailureKind, Outcome, ParameterResult
from stratsweep.parameters import DoubleRange, IntegerRange, ParameterValue
from stratsweep.server_info import ServerInfo
from stratsweep.server_process import ServerProcess
from stratsweep.strategies import (
    Metric,
    MetricUnit,
    ParameterType,
    Source,
    Strategy,
    StrategyList,
    StrategyParameter,
    Symbol,
)

if TYPE_CHECKING:
    from stratsweep._streams import AsyncOptimizationStream, OptimizationStream
    from stratsweep.async_client import AsyncClient
    from stratsweep.client import Client
    from stratsweep.repeats import RepeatCheck, RepeatDifference
else:
    _HOMES = {
        "AsyncClient": "async_client",
        "AsyncOptimizationStream": "_streams",
        "Client": "client",
        "OptimizationStream": "_streams",
        "RepeatCheck": "repeats",
        "RepeatDifference": "repeats",
    }

    def __getattr__(name: str) -> object:
        """Import what needs a server when it is asked for: gRPC is most of an import's time."""
        if name in _HOMES:
            return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        if name in _HOMES.values():
            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [
    "AsyncClient",
    "AsyncOptimizationStream",
    "BacktestFailure",
    "Client",
    "DeadlineExceededError",
    "DoubleRange",
    "FailureKind",
    "InputsChangedError",
    "IntegerRange",
    "InvalidConfigError",
    "MarketDataSummary",
    "Metric",
    "MetricUnit",
    "NotFoundError",
    "Optimization",
    "OptimizationCancelledError",
    "OptimizationConfig",
    "OptimizationDirection",
    "OptimizationEvent",
    "OptimizationExistsError",
    "OptimizationResult",
    "OptimizationRunningError",
    "OptimizationStarted",
    "OptimizationState",
    "OptimizationStream",
    "Outcome",
    "ParameterResult",
    "ParameterType",
    "ParameterValue",
    "Progress",
    "RepeatCheck",
    "RepeatDifference",
    "ResultList",
    "RunOptions",
    "ServerBusyError",
    "ServerError",
    "ServerInfo",
    "ServerProcess",
    "ServerStartError",
    "ServerUnavailableError",
    "Source",
    "Strategy",
    "StrategyList",
    "StrategyParameter",
    "StratsweepError",
    "StreamInterruptedError",
    "Symbol",
    "SymbolResult",
    "VersionMismatchWarning",
    "Violation",
    "__version__",
]
