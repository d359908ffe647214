"""Outcomes for tests of what keeps them, and what is read back of them, alike wherever it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from stratsweep_server.execution.outcomes import BacktestFailure, FailureKind, OutcomeBatch
from stratsweep_server.optimization.store import LogView

KINDS = list(FailureKind)

Timed = tuple[OutcomeBatch, float]


def succeeded(
    indices: Sequence[int], names: Sequence[str] = ("sharpe", "trades"), missing: str = ""
) -> OutcomeBatch:
    """Successes whose figures follow from their index; `missing` is a metric without values."""
    numbers = np.asarray(indices, dtype=np.int64)
    metrics = np.asfortranarray(
        [[number + position / 8 for position in range(len(names))] for number in numbers.tolist()]
    ).reshape(len(numbers), len(names), order="F")
    if missing:
        metrics[:, list(names).index(missing)] = np.nan
    return OutcomeBatch(numbers, numbers / 1_000, tuple(names), metrics)


def with_failures(indices: Sequence[int], failed: Sequence[int]) -> OutcomeBatch:
    """Outcomes of which some are failures."""
    batch = succeeded(indices)
    rows = np.flatnonzero(np.isin(batch.indices, failed))
    batch.metrics[rows] = np.nan
    failures = tuple(
        BacktestFailure(
            index,
            KINDS[index % 3],
            f"größer als {index}",
            "" if index % 2 else f"Traceback: 🙂 {index}",
            index / 1_000,
        )
        for index in batch.indices[rows].tolist()
    )
    return OutcomeBatch(batch.indices, batch.durations, batch.metric_names, batch.metrics, failures)


Described = tuple[int, float, float, dict[str, float], BacktestFailure | None]
"""An outcome: index, elapsed, seconds, the metrics that have values, the failure."""


def described(batches: Sequence[Timed]) -> list[Described]:
    """Outcomes one by one."""
    rows: list[Described] = []
    for batch, elapsed in batches:
        failures = {failure.combination_index: failure for failure in batch.failures}
        for row, index in enumerate(batch.indices.tolist()):
            values = zip(batch.metric_names, batch.metrics[row].tolist(), strict=True)
            metrics = {name: value for name, value in values if not np.isnan(value)}
            seconds = float(batch.durations[row])
            rows.append((index, elapsed, seconds, metrics, failures.get(index)))
    return rows


def kept(log: LogView) -> list[Described]:
    """The outcomes of a log, one by one."""
    columns = {name: log.metric(name) for name in log.metric_names()}
    is_failure = log.is_failure()
    rows: list[Described] = []
    for row, (index, seconds) in enumerate(
        zip(log.indices().tolist(), log.durations().tolist(), strict=True)
    ):
        metrics = {name: float(values[row]) for name, values in columns.items()}
        present = {name: value for name, value in metrics.items() if not np.isnan(value)}
        failure = log.failures[index] if is_failure[row] else None
        rows.append((index, log.elapsed(row), seconds, present, failure))
    return rows
