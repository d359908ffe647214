"""Check what an engine answered: one backtest's metrics as numbers, a batch's as columns. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.execution.exceptions import describe_exception

_MAX_METRICS = 1_000
_MAX_NAME_CHARACTERS = 100

MetricTable: TypeAlias = tuple[list[str], NDArray[np.float64]]
"""Names, and float64 of shape (rows, names) with contiguous columns; NaN = absent."""


def plain_metrics(result: object) -> dict[str, float]:
    """Return the metrics of a `BacktestResult` as finite floats; others count as absent.

    Raises:
        TypeError: The answer is not a `BacktestResult`, or a metric is not a number.
        ValueError: There are too many metrics.
    """
    plain = {}
    for name, value in _metrics_of(result, "run_sync returned", "BacktestResult").items():
        number = math.nan if value is None else _number(name, value)
        if math.isfinite(number):
            plain[name] = number
    return plain


def plain_columns(result: object, count: int) -> MetricTable:
    """Return the metrics of a `BatchResult` of `count` backtests as columns; infinities become NaN.

    Raises:
        TypeError: The answer is not a `BatchResult`, or a metric is not a column of numbers.
        ValueError: There are too many metrics, or one has not a value for each backtest.
    """
    metrics = _metrics_of(result, "run_batch returned", "BatchResult")
    table = np.empty((count, len(metrics)), order="F")
    for column, (name, values) in zip(table.T, metrics.items(), strict=True):
        column[:] = _column(name, values, count)
        column[np.isinf(column)] = math.nan
    return list(metrics), table


def tabulate(rows: Sequence[dict[str, float]]) -> MetricTable:
    """Turn rows of metrics into columns, one for each name that occurs; NaN where it is absent."""
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    nan = math.nan
    columns = [[row.get(name, nan) for row in rows] for name in names]
    return list(names), np.array(columns, dtype=np.float64).reshape(len(names), len(rows)).T


def first_row(table: MetricTable) -> dict[str, float]:
    """Return the metrics of a batch's first backtest, without those that have no value (NaN)."""
    names, metrics = table
    row = zip(names, metrics[0].tolist(), strict=True)
    return {name: value for name, value in row if not math.isnan(value)}


def _metrics_of(result: object, returned: str, expected: str) -> dict[str, Any]:
    metrics = getattr(result, "metrics", None)
    if not isinstance(metrics, Mapping):
        raise TypeError(f"{returned} {type(result).__name__}, not a {expected}")
    if len(metrics) > _MAX_METRICS:
        raise ValueError(f"{len(metrics)} metrics; {_MAX_METRICS} are allowed")
    return {_plain_name(name): value for name, value in metrics.items()}


def _plain_name(name: object) -> str:
    if not isinstance(name, str) or len(name) > _MAX_NAME_CHARACTERS:
        raise TypeError(
            f"metric name {name!r:.100} is not a text of at most {_MAX_NAME_CHARACTERS} characters"
        )
    return str(name)


def _number(name: str, value: Any) -> float:  # noqa: ANN401 - whatever an engine gives
    reason = "text"
    if not isinstance(value, (str, bytes)):
        try:
            return float(value)
        except Exception as error:
            reason = describe_exception(error)
    raise TypeError(f"metric {name!r} of type {type(value).__name__} is not a number: {reason}")


def _column(name: str, values: Any, count: int) -> NDArray[Any]:  # noqa: ANN401 - as above
    column = np.asarray(values)
    if column.dtype.kind not in "biuf":
        raise TypeError(f"metric {name!r} is no column of numbers but of type {column.dtype}")
    if column.shape != (count,):
        raise ValueError(f"metric {name!r} has shape {column.shape} in a batch of {count}")
    return column
