"""Conclude an optimization: from what its log has to a result."""

from __future__ import annotations

import numpy as np

from stratsweep_server.optimization.config import OptimizationConfig
from stratsweep_server.optimization.outcome_log import OutcomeLog
from stratsweep_server.optimization.preparation import PreparedOptimization
from stratsweep_server.optimization.ranking import rank
from stratsweep_server.optimization.result import OptimizationResult, RankedResults
from stratsweep_server.optimization.states import OptimizationState


def conclude(
    prepared: PreparedOptimization, log: OutcomeLog, execution_time: float, failure: str = ""
) -> OptimizationResult:
    """Rank what the log has, and tell how the optimization ended; `failure` says what ended it."""
    config = prepared.config
    succeeded = np.flatnonzero(~log.is_failure())
    scores = log.metric(config.optimization_target)[succeeded]
    order = rank(scores, log.indices()[succeeded], config.direction, config.max_ranked_results)
    has_best = len(order) > 0 and not np.isnan(scores[order[0]])
    state, message = OptimizationState.SUCCEEDED, ""
    if failure:
        state, message = OptimizationState.FAILED, failure
    elif log.count < log.total_count:
        state = OptimizationState.CANCELLED
    elif not has_best:
        state, message = OptimizationState.FAILED, _why_unranked(config, log)
    ranked_results = RankedResults(log, prepared.plan, succeeded[order])
    return OptimizationResult(
        state=state,
        ranked_results=ranked_results,
        best=ranked_results[0] if has_best else None,
        failures=tuple(log.failures[index] for index in sorted(log.failures)),
        total_count=log.total_count,
        succeeded_count=len(succeeded),
        failed_count=log.failed_count,
        execution_time=execution_time,
        end_time=log.runs[-1].time_at(execution_time),
        message=message,
    )


def _why_unranked(config: OptimizationConfig, log: OutcomeLog) -> str:
    if log.failed_count == log.total_count:
        first = log.failures[min(log.failures)]
        if log.total_count == 1:
            return f"the only backtest failed: {first.message}"
        return f"all {log.total_count:,} backtests failed; the first: {first.message}"
    names = log.metric_names()
    if not names:
        return "no result has any metric"
    return (
        f"no result has a value for the optimization target {config.optimization_target!r}; "
        f"the metrics that results have: {', '.join(names)}"
    )
