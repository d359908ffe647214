"""Optimizations that a store keeps, with outcomes, for the tests of those who read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from stratsweep.v1.optimization_event_pb2 import OptimizationStarted
from stratsweep_server.backtest import Metric
from stratsweep_server.execution.outcomes import BacktestFailure, FailureKind, OutcomeBatch
from stratsweep_server.optimization import GridSearchOptimizer
from stratsweep_server.optimization.config import IntegerRange, OptimizationConfig
from stratsweep_server.optimization.optimizations import Optimizations
from stratsweep_server.optimization.outcome_log import OutcomeLog
from stratsweep_server.optimization.places import Places
from stratsweep_server.optimization.preparer import Preparer
from stratsweep_server.optimization.states import OptimizationState
from stratsweep_server.optimization.store import LOCAL_CALLER, Run, Store
from stratsweep_server.optimization.store_calls import StoreCalls
from stratsweep_server.rpc import responses
from stratsweep_server.rpc.kept_messages import KeptMessages

from tests.inline_pool import InlinePool
from tests.records import record

START_TIME = 1_700_000_000_123_456_789
RUNNING_SECONDS = 77.25
END_TIME = round(Run(0, START_TIME, 0.0).time_at(RUNNING_SECONDS) * 1e9)
CONFIG = OptimizationConfig(
    strategy="sma_cross",
    symbols=("SPY",),
    parameters={"slow": IntegerRange(10, 400, 10), "kind": ("x", "Ω", "")},
    optimization_target="score",
)

Row = dict[str, float] | None
"""The metrics of an outcome; None: a failure."""


def batch_of(indices: Sequence[int], rows: Sequence[Row]) -> OutcomeBatch:
    """Outcomes of some combinations."""
    names = tuple(sorted({name for row in rows for name in row or ()}))
    table = [[(row or {}).get(name, math.nan) for name in names] for row in rows]
    return OutcomeBatch(
        indices=np.array(indices, dtype=np.int64),
        durations=np.array(indices) / 8,
        metric_names=names,
        metrics=np.array(table, dtype=np.float64).reshape(len(rows), len(names)),
        failures=tuple(
            BacktestFailure(index, FailureKind.ERROR, f"no luck with {index}", "", index / 8)
            for index, row in zip(indices, rows, strict=True)
            if row is None
        ),
    )


async def keep(
    store: Store,
    optimization_id: str,
    rows: Sequence[Row],
    *,
    config: OptimizationConfig = CONFIG,
    state: OptimizationState = OptimizationState.SUCCEEDED,
    metrics: Sequence[Metric] = (),
    **changes: object,
) -> OutcomeLog:
    """Keep an optimization whose outcomes have completed in the order of `rows`."""
    total_count = changes.setdefault("total_count", len(rows))
    started = OptimizationStarted(
        optimization_id=optimization_id,
        total_count=total_count,
        config=responses.config(config),
        metrics=responses.metrics(metrics),
    )
    failed_count = sum(row is None for row in rows)
    running = record(
        optimization_id,
        started=started.SerializeToString(deterministic=True),
        start_time=START_TIME,
        running_seconds=RUNNING_SECONDS,
        completed_count=len(rows),
        failed_count=failed_count,
        **changes,
    )
    store.create(running)
    log = OutcomeLog(total_count, START_TIME)
    journal = store.journal(LOCAL_CALLER, optimization_id, log.runs[0], log, lambda _: None, _fail)
    for start in range(0, len(rows), 7):
        batch = batch_of(range(start, min(start + 7, len(rows))), rows[start : start + 7])
        log.append(batch, start / 4 + 0.1)
        journal.append(batch, start / 4 + 0.1)
    await journal.flush()
    if state.is_ended:
        store.conclude(LOCAL_CALLER, optimization_id)
        log.close()
    if state is not OptimizationState.RUNNING:
        end_time = END_TIME if state.is_ended else None
        store.move(replace(running, state=state, end_time=end_time))
    return log


def optimizations_of(store: Store) -> Optimizations:
    """Those of a process that can run some itself, on a pool without processes."""
    calls = StoreCalls(store)
    optimizer = GridSearchOptimizer(pool=InlinePool(lambda **_: {"score": 1.0}))
    preparer = Preparer(optimizer, calls, KeptMessages(lambda: 2), lambda _: {})
    return Optimizations(preparer, Places(), calls)


def _fail(error: Exception) -> None:
    raise error
