"""The log of outcomes: columns that grow, and readers that wait for them."""

import asyncio
import math

import numpy as np
import pytest
from stratsweep_server.execution.outcomes import BacktestFailure, FailureKind, OutcomeBatch
from stratsweep_server.optimization import followed_log
from stratsweep_server.optimization.followed_log import ClosedLog
from stratsweep_server.optimization.outcome_log import MAX_METRICS, OutcomeLog
from stratsweep_server.optimization.store import Run


def batch(indices, failures=(), **metrics):
    table = [np.array(column, dtype=float) for column in metrics.values()]
    return OutcomeBatch(
        indices=np.array(indices, dtype=np.int64),
        durations=np.array(indices, dtype=float) / 10,
        metric_names=tuple(metrics),
        metrics=np.stack(table, axis=1) if table else np.empty((len(indices), 0)),
        failures=tuple(failures),
    )


def test_outcomes_are_kept_in_the_order_of_arrival():
    log = OutcomeLog(4)
    log.append(batch([2, 0], score=[20.0, 0.0]), elapsed=100.0)
    log.append(batch([3], score=[30.0]), elapsed=200.5)
    assert log.count == 3
    assert log.indices().tolist() == [2, 0, 3]
    assert log.indices(1, 2).tolist() == [0]
    assert log.metric("score").tolist() == [20.0, 0.0, 30.0]
    assert log.metric("score", 1).tolist() == [0.0, 30.0]
    assert [log.elapsed(row) for row in range(3)] == [100.0, 100.0, 200.5]


def test_times_follow_from_the_start_of_a_run_and_from_how_long_it_has_run():
    log = OutcomeLog(3, start_time=1_000_500_000_000)
    log.append(batch([0]), 2.0)
    log.append(batch([1]), 3.0)
    log.runs.append(Run(log.count, start_time=5_000_000_000_000, start_elapsed=4.0))
    log.append(batch([2]), 4.25)
    assert [log.event_time(row) for row in range(3)] == [1_002.5, 1_003.5, 5_000.25]
    assert log.runs[0].time_at(0.0) == 1_000.5


def test_a_run_that_wrote_nothing_times_nothing():
    log = OutcomeLog(2, start_time=1_000_000_000_000)
    log.append(batch([0]), 1.0)
    log.runs += [Run(1, 2_000_000_000_000, 1.5), Run(1, 3_000_000_000_000, 1.5)]
    log.append(batch([1]), 2.0)
    assert [log.event_time(row) for row in range(2)] == [1_001.0, 3_000.5]


def test_batches_may_have_different_metrics():
    log = OutcomeLog(4)
    log.append(batch([0], a=[1.0], b=[2.0]), 0.0)
    log.append(batch([1, 2], c=[5.0, 6.0], a=[3.0, 4.0]), 0.0)
    log.append(batch([3]), 0.0)
    assert log.metric_names() == ("a", "b", "c")
    assert log.metric_names(np.array([1, 2])) == ("a", "c")
    assert log.metric_count == 3
    assert [row.metrics for row in log.rows(range(4))] == [
        {"a": 1.0, "b": 2.0},
        {"a": 3.0, "c": 5.0},
        {"a": 4.0, "c": 6.0},
        {},
    ]


def test_a_metric_without_a_value_is_left_out_of_a_row():
    log = OutcomeLog(2)
    log.append(batch([0, 1], a=[1.0, math.nan], b=[math.nan, 0.0]), 0.0)
    assert [row.metrics for row in log.rows([0, 1])] == [{"a": 1.0}, {"b": 0.0}]


def test_a_metric_that_no_outcome_has_a_value_of_is_no_metric_of_the_results():
    log = OutcomeLog(2)
    log.append(batch([0, 1], trade_count=[0.0, 0.0], win_rate=[math.nan, math.nan]), 0.0)
    assert log.metric_names() == ("trade_count",)


def test_an_unknown_metric_has_no_value_anywhere():
    log = OutcomeLog(3)
    log.append(batch([0, 1], score=[1.0, 2.0]), 0.0)
    assert np.isnan(log.metric("other")).tolist() == [True, True]
    assert len(log.metric("other", 1, 2)) == 1


def test_failures_are_found_by_combination_and_in_their_row():
    failure = BacktestFailure(7, FailureKind.CRASHED, "killed by SIGKILL", duration=0.7)
    log = OutcomeLog(2)
    log.append(batch([7, 3], [failure], score=[math.nan, 1.0]), 0.0)
    assert log.failures == {7: failure}
    assert log.failed_count == 1
    failed, succeeded = log.rows([0, 1])
    assert (failed.combination_index, failed.duration, failed.metrics) == (7, 0.7, {})
    assert failed.failure is failure
    assert succeeded.failure is None


def test_rows_come_in_the_order_asked_for():
    log = OutcomeLog(3)
    log.append(batch([5, 6, 7], score=[1.0, 2.0, 3.0]), 0.0)
    assert [row.combination_index for row in log.rows([2, 0])] == [7, 5]
    assert log.rows([]) == []


def test_columns_are_views_of_a_range_and_copies_of_chosen_rows():
    log = OutcomeLog(4)
    log.append(batch([5, 6, 7], score=[1.0, 2.0, 3.0], other=[4.0, 5.0, 6.0]), 0.0)
    part = log.columns(slice(1, 3), ["score"])
    assert (part.indices.tolist(), part.durations.tolist()) == ([6, 7], [0.6, 0.7])
    assert list(part.metrics) == ["score"]
    assert np.shares_memory(part.metrics["score"], log.metric("score"))
    chosen = log.columns(np.array([2, 0]))
    assert chosen.metrics["other"].tolist() == [6.0, 4.0]


def test_which_outcomes_are_failures_is_known_by_row():
    log = OutcomeLog(4)
    log.append(batch([3, 1], score=[1.0, 2.0]), 0.0)
    log.append(batch([2, 0], [BacktestFailure(0, FailureKind.ERROR, "no luck")]), 0.0)
    assert log.is_failure().tolist() == [False, False, False, True]
    assert log.is_failure(2, 4).tolist() == [False, True]


def test_a_metric_that_comes_late_has_no_value_before():
    log = OutcomeLog(3)
    log.append(batch([0, 1], a=[1.0, 2.0]), 0.0)
    log.append(batch([2], b=[3.0]), 0.0)
    assert np.isnan(log.metric("b", 0, 2)).all()
    assert np.isnan(log.metric("a", 2)).all()


def test_the_number_of_different_metrics_is_limited():
    log = OutcomeLog(3)
    names = [f"m{number}" for number in range(MAX_METRICS)]
    log.append(batch([0], **{name: [1.0] for name in names}), 0.0)
    log.append(batch([1], m0=[1.0]), 0.0)
    with pytest.raises(ValueError, match="more than 1000 different metrics"):
        log.append(batch([2], one_more=[1.0]), 0.0)
    assert log.count == 2


async def test_a_reader_waits_for_the_next_outcome():
    log = OutcomeLog(2)
    waiting = asyncio.create_task(log.wait_beyond(0))
    await asyncio.sleep(0)
    assert not waiting.done()
    log.append(batch([0]), 0.0)
    assert await waiting is True


async def test_a_reader_of_a_later_position_sleeps_through_earlier_outcomes():
    log = OutcomeLog(3)
    waiting = asyncio.create_task(log.wait_beyond(2))
    for index in (0, 1):
        log.append(batch([index]), 0.0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
    log.append(batch([2]), 0.0)
    assert await waiting is True


async def test_a_reader_who_is_behind_does_not_wait():
    log = OutcomeLog(2)
    log.append(batch([0]), 0.0)
    assert await log.wait_beyond(0, patience=0.0) is True


async def test_closing_wakes_every_reader():
    log = OutcomeLog(2)
    readers = [asyncio.create_task(log.wait_beyond(position)) for position in (0, 1)]
    await asyncio.sleep(0)
    log.close()
    assert await asyncio.gather(*readers) == [True, True]
    assert log.is_closed
    assert await log.wait_beyond(1) is True


async def test_a_readers_patience_ends():
    assert await OutcomeLog(1).wait_beyond(0, patience=0.001) is False


async def test_outcomes_that_are_held_back_are_seen_once_they_are_revealed():
    log = OutcomeLog(3)
    log.append(batch([0], a=[1.0]), 0.0)
    waiting = asyncio.create_task(log.wait_beyond(1))
    log.hold(batch([2, 1], a=[3.0, 2.0], b=[1.0, 1.0]), 1.0)
    await asyncio.sleep(0)
    assert (log.count, log.held_count, waiting.done()) == (1, 2, False)
    assert (log.indices().tolist(), log.metric_names()) == ([0], ("a",))
    log.reveal(2)
    assert await waiting
    assert (log.count, log.held_count) == (2, 1)
    assert log.indices().tolist() == [0, 2]
    log.reveal(2)
    log.reveal(3)
    assert log.metric("b").tolist()[1:] == [1.0, 1.0]


def test_elapsed_is_read_ahead_and_right_at_any_row(monkeypatch):
    monkeypatch.setattr(followed_log, "_NEXT_ROWS", 3)
    log = OutcomeLog(8)
    for index in range(8):
        log.append(batch([index]), index / 4)
    closed = ClosedLog(log)
    for row in (0, 1, 2, 3, 7, 6, 0, 5):
        assert closed.elapsed(row) == row / 4


def test_outcomes_that_are_held_back_one_after_another_keep_what_is_theirs():
    log = OutcomeLog(4)
    log.append(batch([3], a=[1.0]), 0.0)
    log.hold(batch([2], a=[2.0]), 1.0)
    log.hold(batch([1, 0], b=[3.0, 4.0], a=[5.0, 6.0]), 2.0)
    log.reveal(4)
    assert [row.metrics for row in log.rows(range(4))] == [
        {"a": 1.0},
        {"a": 2.0},
        {"a": 5.0, "b": 3.0},
        {"a": 6.0, "b": 4.0},
    ]
