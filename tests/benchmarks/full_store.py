"""A store with as many optimizations and outcomes as somebody has after a year."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from stratsweep_server.backtest.default.metrics import METRICS
from stratsweep_server.execution.outcomes import OutcomeBatch
from stratsweep_server.optimization.outcome_log import OutcomeLog
from stratsweep_server.optimization.states import OptimizationState
from stratsweep_server.optimization.store import LOCAL_CALLER, Store
from stratsweep_server.storage.disk_store import open_store

from tests.records import record

_BATCH_ROWS = 2_500
_BLOB_BYTES = 1_000


async def fill_store(path: Path, optimization_count: int, outcome_count: int) -> None:
    """Keep ended optimizations, each with so many outcomes of all metrics, in a state directory."""
    store = open_store(path, "127.0.0.1:0")
    try:
        for number in range(optimization_count):
            await _keep(store, f"optimization-{number}", outcome_count)
    finally:
        await asyncio.to_thread(store.close)


async def _keep(store: Store, optimization_id: str, outcome_count: int) -> None:
    now = time.time_ns()
    running = record(
        optimization_id,
        request=bytes(_BLOB_BYTES),
        started=bytes(_BLOB_BYTES),
        total_count=outcome_count,
        create_time=now,
        start_time=now,
    )
    store.create(running)
    log = OutcomeLog(outcome_count, now)
    journal = store.journal(LOCAL_CALLER, optimization_id, log.runs[0], log, log.reveal, _fail)
    names = tuple(metric.name for metric in METRICS)
    for start in range(0, outcome_count, _BATCH_ROWS):
        indices = np.arange(start, min(start + _BATCH_ROWS, outcome_count))
        metrics = np.asfortranarray(np.random.default_rng(start).random((len(indices), len(names))))
        journal.append(OutcomeBatch(indices, indices / 1e6, names, metrics), start / 1e3)
    await journal.flush()
    store.conclude(LOCAL_CALLER, optimization_id)
    ended = OptimizationState.SUCCEEDED
    store.move(replace(running, state=ended, end_time=now, completed_count=outcome_count))


def _fail(error: Exception) -> None:
    raise error
