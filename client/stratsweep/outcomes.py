"""How a backtest ended: by a result, or by a failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TypeAlias

from stratsweep.parameters import ParameterValue


class FailureKind(StrEnum):
    """Say how a backtest failed."""

    ERROR = "ERROR"
    """It raised an exception, or returned something that is not a result."""
    TIMED_OUT = "TIMED_OUT"
    """It ran past `backtest_timeout` and its process was killed."""
    CRASHED = "CRASHED"
    """Its process died, twice: the second time alone on a fresh worker."""
    UNSPECIFIED = "UNSPECIFIED"
    """In a way that only a newer server knows."""


@dataclass(frozen=True, slots=True)
class ParameterResult:
    """Give the metrics of one combination's backtest.

    Attributes:
        combination_index: The combination's 0-based number in grid order.
        parameters: The values of the grid's parameters, in grid order.
        metrics: The backtest's figures by name, sorted; one without a value is absent.
        rank: The 1-based place in the final ranking; None in `Progress`, where there is none yet.
        backtest_duration: How long the backtest ran.
    """

    combination_index: int
    parameters: Mapping[str, ParameterValue]
    metrics: Mapping[str, float]
    rank: int | None = None
    backtest_duration: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class BacktestFailure:
    """Say why the backtest of one combination gave no metrics.

    Attributes:
        combination_index: The combination's 0-based number in grid order.
        parameters: The values of the grid's parameters, in grid order.
        kind: How it failed.
        message: One line: the exception, the signal or exit code, or the timeout.
        traceback: The text of the Python traceback; empty unless `kind` is ERROR.
        backtest_duration: How long the backtest ran before it failed.
    """

    combination_index: int
    parameters: Mapping[str, ParameterValue]
    kind: FailureKind
    message: str
    traceback: str = ""
    backtest_duration: timedelta = timedelta()


Outcome: TypeAlias = ParameterResult | BacktestFailure
