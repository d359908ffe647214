"""Optimizations that are kept: found by the beginning of an id, asked for where they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from stratsweep.cli.connection import client_of
from stratsweep.cli.formatting import counted, listed
from stratsweep.errors import NotFoundError, OptimizationRunningError
from stratsweep.optimizations import Optimization

if TYPE_CHECKING:  # gRPC is slow to import: a private server gets ready meanwhile
    from stratsweep.client import Client

_Answer = TypeVar("_Answer")
_SHOWN = 6
_UNKNOWN = "UNKNOWN_OPTIMIZATION"


def find_optimization(client: Client, beginning: str) -> Optimization:
    """Return where the optimization of an id stands, or the only one whose id begins so.

    Raises:
        NotFoundError: There is none, or there are several.
        StratsweepError: The call failed.
    """
    try:
        return client.get_optimization(beginning)
    except NotFoundError as error:
        if error.reason != _UNKNOWN:
            raise
    found = list(client.list_optimizations(id_prefix=beginning, limit=_SHOWN))
    if not found:
        raise NotFoundError(
            f"there is no optimization {beginning}, and none whose id begins so; "
            "`stratsweep list` names those that are kept",
            reason=_UNKNOWN,
        )
    if len(found) > 1:
        ids = [each.optimization_id for each in found]
        some = ids if len(ids) < _SHOWN else [*ids[:-1], "more"]
        raise NotFoundError(
            f"several ids begin with {beginning}: {', '.join(some)}; write more of it",
            reason=_UNKNOWN,
        )
    return client.get_optimization(found[0].optimization_id)


def where_it_runs(client: Client, ask: Callable[[Client], _Answer]) -> _Answer:
    """Return what a server answers, or that other server on whose run the answer depends.

    Raises:
        StratsweepError: The call failed; an `OptimizationRunningError` where that other server,
            which its message names, cannot be reached.
    """
    try:
        return ask(client)
    except OptimizationRunningError as error:
        if not error.address or error.address == client.address:
            raise
        address = error.address
    with client_of(address) as holder:
        return ask(holder)


def described(stand: Optimization) -> str:
    """Return in a line what an optimization is of, and how much of it has completed."""
    config = stand.started.config
    return (
        f"{config.strategy} on {listed(config.symbols)}, {stand.completed_count:,} of "
        f"{counted(stand.started.total_count, 'backtest')}"
    )
