"""Tell what outcomes depend on beside the values of their parameters: the inputs."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Mapping, Sequence

from stratsweep_server.backtest.settings import settings_of
from stratsweep_server.execution.grid import ParameterAxis
from stratsweep_server.optimization.fingerprint import differences
from stratsweep_server.optimization.preparation import PreparedOptimization


class InputsChangedError(Exception):
    """Report that outcomes would come from other inputs than those that there are."""

    def __init__(self, changes: Sequence[str]) -> None:
        self.changes = changes
        super().__init__(f"the optimization cannot go on: {'; '.join(changes)}")


def require_same_inputs(before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Check that a fingerprint is the one that there was.

    Raises:
        InputsChangedError: It is not; the text says what has changed.
    """
    changes = differences(before, after)
    if changes:
        raise InputsChangedError(changes)


def inputs_key(prepared: PreparedOptimization, fingerprint: Mapping[str, str]) -> str:
    """Return a digest of all that outcomes of equal parameters depend on."""
    config = prepared.config
    inputs = {
        "fingerprint": dict(fingerprint),
        "strategy": config.strategy,
        "symbols": list(config.symbols),
        "dates": dates_text(prepared),
        "timezone": config.timezone,
        "settings": settings_of(config),
        "warm_up": config.warm_up_bar_count,
        "seed": config.seed,
        "defaults": dict(prepared.plan.defaults),
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def dates_text(prepared: PreparedOptimization) -> str:
    """Return from when to when the bars are, as an ISO 8601 interval of days."""
    days = prepared.config.start_date, prepared.config.end_date
    return "/".join(day.isoformat() if day is not None else ".." for day in days)


def grid_digest(axes: Sequence[ParameterAxis]) -> str:
    """Return what tells a grid from others, whatever is rejected of it."""
    digest = hashlib.sha256()
    for axis in axes:
        values = axis.values
        content = values.tobytes() if isinstance(values, array) else repr(values).encode()
        digest.update(f"{axis.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
