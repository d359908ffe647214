"""The result of an optimization that is kept: as it ended, or ranked in another way."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from stratsweep._ranking_columns import metric_named
from stratsweep.cli.output_shape import OutputShape
from stratsweep.config import OptimizationConfig, OptimizationDirection
from stratsweep.events import OptimizationResult, Progress
from stratsweep.optimizations import Optimization, ResultList
from stratsweep.outcomes import BacktestFailure

if TYPE_CHECKING:
    from stratsweep.client import Client

_GROUPED = timedelta(milliseconds=100)


@dataclass(frozen=True, slots=True)
class Order:
    """Say in which order results are wanted; as they were ranked where nothing is said.

    Attributes:
        metric: What to sort by.
        minimize: Whether the smallest value is first; None: the better end.
        requirements: What the results must fulfil, in place of the optimization's own.
    """

    metric: str | None = None
    minimize: bool | None = None
    requirements: tuple[str, ...] = ()

    @property
    def is_changed(self) -> bool:
        """Return whether it is another one than that by which it was ranked."""
        return self != Order()


def kept_result(
    client: Client, stand: Optimization, shape: OutputShape, order: Order
) -> OptimizationResult:
    """Return what an optimization has come to so far, with the rows that are to be shown.

    With another order it is what the optimization would have given with that metric as its target,
    that direction and those requirements.

    Args:
        client: Of a server that keeps it.
        stand: Where it stands.
        shape: What is to be printed and written.
        order: How to rank.

    Raises:
        StratsweepError: A call failed.
    """
    result = _ended(client, stand) if stand.state.is_ended else _unended(client, stand)
    if stand.state.is_ended and not order.is_changed and _has_rows(result, shape):
        return result
    return _ranked(client, result, shape, order)


def with_rows(client: Client, result: OptimizationResult, shape: OutputShape) -> OptimizationResult:
    """Return a result that has just come with all rows that are to be shown."""
    return result if _has_rows(result, shape) else _ranked(client, result, shape, Order())


def _has_rows(result: OptimizationResult, shape: OutputShape) -> bool:
    """Return whether a limit of the ranking has cut no row that is wanted."""
    limit = result.config.max_ranked_results
    return not limit or len(result.ranked) < limit or 0 < shape.needed_row_count <= limit


def _ended(client: Client, stand: Optimization) -> OptimizationResult:
    """Return the result as it was streamed, without what came before it."""
    last = 1 + stand.completed_count
    watched = client.watch_optimization(stand.optimization_id, after_sequence_number=last)
    return dataclasses.replace(watched.result(), message=stand.message)


def _unended(client: Client, stand: Optimization) -> OptimizationResult:
    """Return the result of what has completed, without its ranking."""
    started = stand.started
    return OptimizationResult(
        optimization_id=stand.optimization_id,
        state=stand.state,
        config=started.config,
        ranked=(),
        failures=_failures(client, stand) if stand.failed_count else (),
        total_count=started.total_count,
        succeeded_count=stand.completed_count - stand.failed_count,
        failed_count=stand.failed_count,
        execution_duration=stand.running_duration,
        message=stand.message,
        labels=started.labels,
        market_data=started.market_data,
        metrics=started.metrics,
    )


def _failures(client: Client, stand: Optimization) -> Sequence[BacktestFailure]:
    """Return the failures so far, which only the events have."""
    failures: list[BacktestFailure] = []
    watched = client.watch_optimization(stand.optimization_id, progress_interval=_GROUPED)
    with watched as events:
        for event in events:
            if isinstance(event, Progress):
                failures += [each for each in event.outcomes if isinstance(each, BacktestFailure)]
                if event.completed_count >= stand.completed_count:
                    break
    first = failures[: stand.failed_count]  # more may have completed meanwhile
    return sorted(first, key=lambda failure: failure.combination_index)


def _ranked(
    client: Client, result: OptimizationResult, shape: OutputShape, order: Order
) -> OptimizationResult:
    listed = client.list_results(
        result.optimization_id,
        metric=order.metric,
        minimize=order.minimize,
        requirements=order.requirements or None,
        limit=shape.needed_row_count or None,
    )
    config = _config(result, order)
    # More may have completed since.
    stand = listed.optimization
    succeeded = max(stand.completed_count - stand.failed_count, listed.total_count)
    return dataclasses.replace(
        result,
        config=config,
        ranked=listed.results,
        succeeded_count=succeeded,
        unqualified_count=succeeded - listed.total_count,
        without_target_count=_without(client, listed, config),
    )


def _config(result: OptimizationResult, order: Order) -> OptimizationConfig:
    config, minimize = result.config, order.minimize
    if order.metric is not None and order.metric != config.optimization_target:
        if minimize is None:
            better = metric_named(order.metric, result.metrics).best_direction
            minimize = better is OptimizationDirection.MINIMIZE
        config = dataclasses.replace(config, optimization_target=order.metric)
    if minimize is not None:
        direction = OptimizationDirection.MINIMIZE if minimize else OptimizationDirection.MAXIMIZE
        config = dataclasses.replace(config, direction=direction)
    if order.requirements:
        config = dataclasses.replace(config, requirements=order.requirements)
    return config


def _without(client: Client, listed: ResultList, config: OptimizationConfig) -> int:
    """Return how many results have no value of what is sorted by; they are last."""
    target = config.optimization_target
    if len(listed.results) == listed.total_count:
        return sum(target not in row.metrics for row in reversed(listed.results))
    has_value = f'abs("{target}") >= 0'
    counted = client.list_results(
        listed.optimization.optimization_id,
        requirements=[*config.requirements, has_value],
        limit=1,
    )
    return listed.total_count - counted.total_count
