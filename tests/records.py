"""Optimizations as a store keeps them, for the tests of stores."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stratsweep_server.optimization.states import OptimizationState
from stratsweep_server.optimization.store import LOCAL_CALLER, OptimizationRecord, Store

RUNNING = OptimizationRecord(
    caller=LOCAL_CALLER,
    optimization_id="first",
    state=OptimizationState.RUNNING,
    strategy="sma_cross",
    symbols=("SPY", "QQQ"),
    labels={"desk": "fx", "night": '1 "quoted", ünïcode'},
    request=b"\x00request\xff",
    started=b"\x00started\xff",
    fingerprint={"bars of SPY": "ab12", "numpy": "2.1"},
    inputs_key="inputs",
    is_detached=True,
    total_count=2**40,
    create_time=1_700_000_000_000_000_001,
    start_time=1_700_000_000_000_000_002,
    dates="2020-01-01/2024-12-31",
    grid_digest="cd34",
)


def record(optimization_id: str = "first", **changes: Any) -> OptimizationRecord:
    """A running one, but for what is given."""
    return replace(RUNNING, optimization_id=optimization_id, **changes)


def ended(
    store: Store,
    optimization_id: str,
    state: OptimizationState = OptimizationState.SUCCEEDED,
    **changes: Any,
) -> OptimizationRecord:
    """One that a store keeps in a state that it has reached."""
    running = record(optimization_id, **changes)
    store.create(running)
    store.move(replace(running, state=state))
    return store.find(running.caller, optimization_id)
