"""Load the log of an optimization that goes on."""

from __future__ import annotations

import time

from stratsweep_server.optimization.background import checkpoint
from stratsweep_server.optimization.outcome_log import OutcomeLog
from stratsweep_server.optimization.store import LogView, Run

_BLOCK_ROWS = 10_000


def load_log(view: LogView, running_seconds: float) -> OutcomeLog:
    """Return a log with all outcomes that are kept, whose next run begins now.

    Args:
        view: What is kept.
        running_seconds: For how long the optimization had run at least.
    """
    log = OutcomeLog(view.total_count)
    for start in range(0, view.count, _BLOCK_ROWS):
        checkpoint()
        stop = min(start + _BLOCK_ROWS, view.count)
        rows = slice(start, stop)
        columns = view.columns(rows, view.metric_names(rows))
        failed = columns.indices[view.is_failure(start, stop)].tolist()
        batch = columns.batch([view.failures[index] for index in failed])
        log.append(batch, view.elapsed_range(start, stop))
    if log.count:
        running_seconds = max(running_seconds, log.elapsed(log.count - 1))
    now = time.time_ns()
    if view.runs:  # clocks are set back
        now = max(now, round(view.runs[-1].time_at(running_seconds) * 1e9))
    log.runs = [*view.runs, Run(log.count, now, running_seconds)]
    return log
