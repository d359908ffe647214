"""The messages of a stream to its events."""

import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from stratsweep import (
    BacktestFailure,
    FailureKind,
    Metric,
    MetricUnit,
    OptimizationState,
    ParameterResult,
    ServerError,
    StreamInterruptedError,
    Symbol,
)
from stratsweep._assembler import EventAssembler
from stratsweep.v1 import (
    strategy_pb2,
)

from .numbering import Numbering


def feed_all(messages):
    assembler = EventAssembler()
    events = [
        event for event in map(assembler.feed, map(Numbering(), messages)) if event is not None
    ]
    return assembler, events


def test_labels_come_in_the_first_and_the_last_event(script):
    message = script.started()
    message.event.started.labels.update({"run": "7", "desk": "rates"})
    assembler, (started, *_) = feed_all([message, *script.whole()[1:]])
    assert list(started.labels.items()) == [("desk", "rates"), ("run", "7")]
    assert assembler.result.labels == started.labels


def test_started_and_result_say_which_bars_and_metrics_there_are(script):
    spans = [strategy_pb2.Symbol(name="SPY", bar_count=253)]
    messages = script.whole()
    messages[0] = script.started(spans=spans)
    assembler, (started, *_) = feed_all(messages)
    first, last = datetime(2020, 1, 2, tzinfo=UTC), datetime(2020, 12, 31, tzinfo=UTC)
    data = started.market_data
    assert (data.first_bar_time, data.last_bar_time) == (first, last)
    assert data.periods_per_year == 252.3
    assert data.symbols == (Symbol("SPY", 253, first, last, ""),)
    assert started.metrics[0] == Metric("sharpe_ratio", "", MetricUnit.RATIO)
    result = assembler.finished_result()
    assert (result.market_data, result.metrics) == (data, started.metrics)


def test_a_failure_and_a_state_that_only_a_newer_server_knows_are_unspecified(script):
    failure = script.failure(1, kind=99)
    part = script.part((), [failure], state=99)
    _, events = feed_all([script.started(), script.progress(1, failure, failed=1), part])
    _, progress, result = events
    assert progress.outcomes[0].kind is FailureKind.UNSPECIFIED
    assert result.failures[0].kind is FailureKind.UNSPECIFIED
    assert result.state is OptimizationState.UNSPECIFIED


def test_progress_carries_counts_outcomes_and_the_best_so_far(script):
    row = script.result_row(2, sharpe_ratio=1.5)
    message = script.progress(2, row, script.failure(1), failed=1, best=row, elapsed=0.5)
    _, (_, progress) = feed_all([script.started(), message])
    assert (progress.completed_count, progress.total_count, progress.failed_count) == (2, 4, 1)
    assert progress.optimization_id == "opt-1"
    result = ParameterResult(2, {"slow": 100, "fast": 5}, {"sharpe_ratio": 1.5})
    failure = BacktestFailure(
        1, {"slow": 50, "fast": 10}, FailureKind.ERROR, "ValueError: bad day", "Traceback …"
    )
    assert progress.outcomes == (result, failure)
    assert repr(progress.outcomes) == repr([result, failure])
    assert progress.best == result
    assert progress.best.rank is None
    assert progress.elapsed_duration == timedelta(milliseconds=500)
    assert progress.estimated_remaining_duration == timedelta(seconds=2)


def test_parameters_come_in_grid_order_and_metrics_sorted(script):
    row = script.result_row(0, rank=1, win_rate=0.5, cagr=0.1, sharpe_ratio=1.0)
    assembler, _ = feed_all([script.started(), script.part([row])])
    assert list(assembler.result.best.parameters) == ["slow", "fast"]
    assert list(assembler.result.best.metrics) == ["cagr", "sharpe_ratio", "win_rate"]


def test_progress_in_arrow_has_the_outcomes_of_rows_without_ranks(script):
    _, (_, *progress, _) = feed_all(script.whole())
    _, (_, *arrow_progress, _) = feed_all(script.whole_in_arrow())
    outcomes, arrow_outcomes = (
        [outcome for event in events for outcome in event.outcomes]
        for events in (progress, arrow_progress)
    )
    assert arrow_outcomes == [
        replace(each, rank=None) if isinstance(each, ParameterResult) else each for each in outcomes
    ]
    assert [len(each.outcomes) for each in arrow_progress] == [1, 2, 1]


def test_results_that_are_no_arrow_are_the_servers_mistake(script):
    message = script.progress(1)
    message.event.progress.arrow_results = b"no arrow"
    with pytest.raises(ServerError, match="cannot be read"):
        feed_all([script.started(), message])


def test_another_best_is_noticed(script):
    rows = [script.result_row(index, sharpe_ratio=index) for index in range(2)]
    messages = [script.progress(n + 1, row, best=row) for n, row in enumerate(rows)]
    _, (_, *progress) = feed_all([script.started(), *messages, messages[0]])
    assert [each.best.combination_index for each in progress] == [0, 1, 0]


def test_a_heartbeat_is_no_event(script):
    assembler, events = feed_all([script.heartbeat()])
    assert events == []
    assert assembler.message_received


def test_the_parts_of_a_result_become_one(script):
    rows = [script.result_row(index, rank=index + 1, sharpe_ratio=-index) for index in range(3)]
    assembler, events = feed_all(
        [
            script.started(),
            script.part(rows[:2], index=0, last=False),
            script.part(rows[2:], index=1, last=False),
            script.part((), [script.failure(3)], index=2),
        ]
    )
    result = assembler.finished_result()
    assert events[-1] is result
    assert result == feed_all([script.started(), script.part(rows, [script.failure(3)])])[0].result
    assert pickle.loads(pickle.dumps(result)) == result
    assert [row.rank for row in result.ranked[1:]] == [2, 3]
    assert result.ranked[-1].rank == 3
    assert result.ranked != result.failures
    assert len(events) == 2
    assert [row.rank for row in result.ranked] == [1, 2, 3]
    assert [failure.combination_index for failure in result.failures] == [3]
    assert result.execution_duration == timedelta(milliseconds=420)


def test_a_missing_part_is_noticed(script):
    assembler, _ = feed_all([script.started(), script.part(index=0, last=False)])
    with pytest.raises(StreamInterruptedError, match="part 1 of the result is missing"):
        assembler.feed(script.part(index=2))


def started_and(script, *messages, numbers):
    messages = [script.started(), *messages]
    for message, number in zip(messages, numbers, strict=True):
        message.event.sequence_number = number
    return messages


def test_a_missing_event_is_noticed(script):
    row = script.result_row(2)
    first, lost = script.progress(1, row), script.progress(3, row)
    assembler = EventAssembler()
    *messages, last = started_and(script, first, lost, numbers=(1, 2, 4))
    assert all(map(assembler.feed, messages))
    with pytest.raises(StreamInterruptedError, match="event 4 came after event 2") as caught:
        assembler.feed(last)
    assert caught.value.completed_count == 1
    *messages, last = started_and(script, script.part(), numbers=(1, 3))
    assembler = EventAssembler()
    assert all(map(assembler.feed, messages))
    with pytest.raises(StreamInterruptedError, match="are missing"):
        assembler.feed(last)


def test_an_event_that_comes_again_is_the_servers_mistake(script):
    again = script.progress(1, script.result_row(2)), script.progress(1, script.result_row(2))
    assembler = EventAssembler()
    *messages, last = started_and(script, *again, numbers=(1, 2, 2))
    assert all(map(assembler.feed, messages))
    with pytest.raises(ServerError, match="sent event 2 where event 3 follows"):
        assembler.feed(last)
    with pytest.raises(ServerError, match="sent event 1 where event"):
        assembler.feed(messages[0])


def test_a_grouped_event_has_the_number_of_its_last_outcome(script):
    group = script.progress(2, script.result_row(2), script.failure(1))
    assembler = EventAssembler()
    assert all(map(assembler.feed, started_and(script, group, script.part(), numbers=(1, 3, 4))))
    with pytest.raises(ServerError, match="sent event 2 where event 3 follows"):
        list(map(EventAssembler().feed, started_and(script, group, numbers=(1, 2))))


def test_a_stream_without_its_last_part_is_no_result(script):
    assembler, _ = feed_all([script.started(), script.part(index=0, last=False)])
    with pytest.raises(StreamInterruptedError):
        assembler.finished_result()


def test_an_event_before_the_started_event_is_the_servers_mistake(script):
    with pytest.raises(ServerError, match="before the started event"):
        EventAssembler().feed(script.part())


def test_best_is_none_where_no_result_has_the_target(script):
    assembler, _ = feed_all([script.started(), script.part([script.result_row(0, rank=1, cagr=1)])])
    assert assembler.result.best is None
    assembler, _ = feed_all(script.failed())
    assert assembler.result.best is None
    assert assembler.result.state is OptimizationState.FAILED
    assert assembler.result.message == "every backtest failed"
