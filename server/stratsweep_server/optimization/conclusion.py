"""Conclude an optimization: from what its log has to a result."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.execution.plan import BacktestPlan
from stratsweep_server.optimization.config import OptimizationConfig
from stratsweep_server.optimization.followed_log import FollowedLog
from stratsweep_server.optimization.ranking import rank
from stratsweep_server.optimization.requirements import Requirements, qualifies, rejected_counts
from stratsweep_server.optimization.result import OptimizationResult, RankedResults
from stratsweep_server.optimization.states import OptimizationState
from stratsweep_server.texts import counted, quoted


class Concluded(Protocol):
    """Say what was optimized."""

    @property
    def config(self) -> OptimizationConfig:
        """Return the effective config."""

    @property
    def plan(self) -> BacktestPlan:
        """Return the plan, of which the combinations are needed."""


def conclude(
    prepared: Concluded, log: FollowedLog, execution_time: float, failure: str = ""
) -> OptimizationResult:
    """Rank what the log has, and tell how the optimization ended; `failure` says what ended it."""
    config = prepared.config
    succeeded = np.flatnonzero(~log.is_failure())
    qualified = succeeded[qualifies(log, Requirements(config.requirements), succeeded)]
    scores = log.metric(config.optimization_target).take(qualified)
    order = rank(scores, log.indices().take(qualified), config.direction, config.max_ranked_results)
    has_best = len(order) > 0 and not np.isnan(scores[order[0]])
    state, message = OptimizationState.SUCCEEDED, ""
    if failure:
        state, message = OptimizationState.FAILED, failure
    elif log.count < log.total_count:
        state = OptimizationState.CANCELLED
    elif not has_best:
        state, message = OptimizationState.FAILED, _why_unranked(config, log, succeeded, qualified)
    ranked_results = RankedResults(log, prepared.plan, qualified.take(order))
    return OptimizationResult(
        state=state,
        ranked_results=ranked_results,
        best=ranked_results[0] if has_best else None,
        failures=tuple(log.failures[index] for index in sorted(log.failures)),
        total_count=log.total_count,
        succeeded_count=len(succeeded),
        failed_count=log.failed_count,
        unqualified_count=len(succeeded) - len(qualified),
        without_target_count=int(np.count_nonzero(np.isnan(scores))),
        execution_time=execution_time,
        end_time=round(log.runs[-1].time_at(execution_time) * 1e9),
        message=message,
    )


def _why_unranked(
    config: OptimizationConfig,
    log: FollowedLog,
    succeeded: NDArray[np.intp],
    qualified: NDArray[np.intp],
) -> str:
    if log.failed_count == log.total_count:
        first = log.failures[min(log.failures)]
        if log.total_count == 1:
            return f"the only backtest failed: {first.message}"
        return f"all {log.total_count:,} backtests failed; the first: {first.message}"
    if len(qualified) == 0:
        return _why_unqualified(config, log, succeeded)
    names = log.metric_names()
    if not names:
        return "no result has any metric"
    results = "result that meets the requirements" if config.requirements else "result"
    return (
        f"no {results} has a value for the optimization target {config.optimization_target!r}; "
        f"the metrics that results have: {', '.join(names)}"
    )


def _why_unqualified(
    config: OptimizationConfig, log: FollowedLog, succeeded: NDArray[np.intp]
) -> str:
    """Say which requirement rejected how many of the results, so that it can be loosened."""
    counts = rejected_counts(log, Requirements(config.requirements), succeeded)
    rejections = [
        f"{quoted(text)} rejects {count:,}"
        for text, count in zip(config.requirements, counts, strict=True)
        if count
    ]
    results = counted(len(succeeded), "result")
    what = f"none of the {results} meets" if len(succeeded) > 1 else "the only result does not meet"
    return f"{what} the requirements: {', '.join(rejections)}; loosen one of them"
