"""Streams of one optimization: what is sent again is what was sent at first, to the last bit."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stratsweep.v1.optimization_event_pb2 import OptimizationEvent, OptimizationStarted
from stratsweep.v1.optimization_service_pb2 import OptimizeResponse, WatchOptimizationResponse
from stratsweep_server.execution.grid import GridColumns, ParameterAxis
from stratsweep_server.execution.outcomes import BacktestFailure, FailureKind, OutcomeBatch
from stratsweep_server.execution.plan import BacktestPlan
from stratsweep_server.optimization.config import OptimizationConfig, OptimizationDirection
from stratsweep_server.optimization.followed_log import ClosedLog
from stratsweep_server.optimization.outcome_log import OutcomeLog
from stratsweep_server.optimization.ranking import rank
from stratsweep_server.optimization.result import (
    OptimizationResult,
    OptimizationState,
    RankedResults,
)
from stratsweep_server.optimization.store import Run
from stratsweep_server.rpc.events import formats
from stratsweep_server.rpc.events.following import following
from stratsweep_server.rpc.events.stream import EventStream, StreamOptions

AXES = (ParameterAxis("slow", range(4)), ParameterAxis("kind", ("x", "Ω", "")))
STARTED = OptimizationStarted(optimization_id="opt-1", total_count=12)
START_TIME = 1_700_000_000_123_456_789
ROWS, ARROW = StreamOptions(), StreamOptions(has_arrow_results=True)
GROUPED_ROWS, GROUPED_ARROW = StreamOptions(0.0), StreamOptions(0.0, has_arrow_results=True)


@dataclass
class Ended:
    """An optimization whose log is whole and whose result is known, as a stream follows it."""

    log: OutcomeLog
    config: OptimizationConfig
    plan: BacktestPlan = field(default_factory=lambda: BacktestPlan("any", AXES, ()))
    grid: GridColumns = field(default_factory=lambda: GridColumns(AXES, object))
    started: bytes = STARTED.SerializeToString()
    started_time: int = START_TIME

    async def begun(self, patience):
        return True

    async def result(self):
        log = self.log
        succeeded = np.flatnonzero(~log.is_failure())
        scores = log.metric("score")[succeeded]
        order = succeeded[rank(scores, log.indices()[succeeded], self.config.direction)]
        return OptimizationResult(
            state=OptimizationState.CANCELLED,
            ranked_results=RankedResults(log, self.plan, order),
            best=None,
            failures=tuple(log.failures[index] for index in sorted(log.failures)),
            total_count=log.total_count,
            succeeded_count=len(succeeded),
            failed_count=log.failed_count,
            unqualified_count=0,
            without_target_count=0,
            execution_time=77.25,
            end_time=round(log.runs[-1].time_at(77.25) * 1e9),
        )


def config_of(direction):
    return OptimizationConfig(
        strategy="any",
        symbols=["SPY"],
        parameters={},
        optimization_target="score",
        direction=direction,
    )


def batch_of(indices, rows):
    """Outcomes of which each has `rows[i]`: None for a failure, else its metrics by name."""
    names = tuple(sorted({name for row in rows for name in row or ()}, reverse=True))
    metrics = [[(row or {}).get(name, math.nan) for name in names] for row in rows]
    return OutcomeBatch(
        indices=np.array(indices, dtype=np.int64),
        durations=np.array(indices) / 8,
        metric_names=names,
        metrics=np.array(metrics, dtype=np.float64).reshape(len(rows), len(names)),
        failures=tuple(
            BacktestFailure(index, FailureKind.ERROR, f"no luck with {index}", "y" * 20, index / 8)
            for index, row in zip(indices, rows, strict=True)
            if row is None
        ),
    )


scores = st.sampled_from([math.nan, -1.0, 0.0, -0.0, 0.5, 2.0, math.inf])
outcomes = st.none() | st.dictionaries(st.sampled_from(["score", "b", "a"]), scores)


@st.composite
def ended_optimizations(draw):
    """Optimizations of 12 combinations, some stopped early, in batches and by several runs."""
    log = OutcomeLog(12, START_TIME)
    order = draw(st.permutations(range(12)))[: draw(st.integers(0, 12))]
    elapsed = 0.0
    while log.count < len(order):
        batch = order[log.count : log.count + draw(st.integers(1, 5))]
        if draw(st.booleans()):
            clock = draw(st.integers(10**18, 2 * 10**18))
            log.runs.append(Run(log.count, clock, elapsed))
        elapsed += draw(st.sampled_from([0.0, 1e-9, 0.1, 1 / 3, 1e5]))
        rows = [draw(outcomes) for _ in batch]
        log.append(batch_of(batch, rows), elapsed)
    log.close()
    direction = draw(st.sampled_from(OptimizationDirection))
    return Ended(log, config_of(direction))


def sent(followed, options, after=0, max_message_bytes=300):
    """The bytes of all responses; messages are small, so that results come in several parts."""

    async def collect():
        return [response async for response in following(followed, options, after)]

    with mock.patch.object(formats, "MAX_MESSAGE_BYTES", max_message_bytes):
        return asyncio.run(collect())


def event_of(response):
    return OptimizeResponse.FromString(response).event


def numbers_of(responses):
    return [event_of(response).sequence_number for response in responses]


def outcomes_of(responses):
    """Every outcome in order of the messages, as text; in each the results that came as Arrow."""
    found = []
    for progress in (event_of(response).progress for response in responses):
        if progress.arrow_results:
            for row in pa.ipc.open_stream(progress.arrow_results).read_all().to_pylist():
                metrics = row.pop("metrics", {}).items()
                found.append(repr((row, {name: v for name, v in metrics if v is not None})))
        found += [str(outcome) for outcome in progress.outcomes]
    return found


def of_kind(texts, is_failure):
    return [text for text in texts if ("no luck" in text) == is_failure]


def without_outcomes(response):
    event = OptimizationEvent()
    event.CopyFrom(event_of(response))
    event.progress.ClearField("outcomes")
    event.progress.ClearField("arrow_results")
    return event.SerializeToString(deterministic=True)


@pytest.mark.parametrize("options", [ROWS, ARROW, GROUPED_ROWS, GROUPED_ARROW], ids=str)
@settings(max_examples=20)
@given(followed=ended_optimizations())
def test_a_stream_of_a_closed_log_is_the_first_one_bit_for_bit(options, followed):
    first = sent(followed, options)
    followed.log = ClosedLog(followed.log)
    assert sent(followed, options) == first


@pytest.mark.parametrize("options", [ROWS, ARROW], ids=["rows", "Arrow"])
@settings(max_examples=40)
@given(followed=ended_optimizations())
def test_a_stream_from_any_number_is_the_end_of_the_whole_one_bit_for_bit(options, followed):
    whole = sent(followed, options)
    assert numbers_of(whole) == list(range(1, len(whole) + 1))
    for after in range(len(whole) + 2):
        assert sent(followed, options, after) == whole[after:]


@pytest.mark.parametrize(
    ("options", "grouped_options"),
    [(ROWS, GROUPED_ROWS), (ARROW, GROUPED_ARROW)],
    ids=["rows", "Arrow"],
)
@given(followed=ended_optimizations(), after=st.integers(0, 20), size=st.sampled_from([300, 10**6]))
def test_a_grouped_event_is_the_ungrouped_one_of_its_number_but_for_outcomes(
    options, grouped_options, followed, after, size
):
    whole = sent(followed, options, max_message_bytes=size)
    grouped = sent(followed, grouped_options, after, size)
    by_number = dict(zip(numbers_of(whole), whole, strict=True))
    for number, response in zip(numbers_of(grouped), grouped, strict=True):
        if event_of(response).HasField("progress"):
            assert without_outcomes(response) == without_outcomes(by_number[number])
        else:
            assert response == by_number[number]
    missed = [
        number for number in by_number if number > after and number not in numbers_of(grouped)
    ]
    assert all(event_of(by_number[number]).HasField("progress") for number in missed)
    expected, found = outcomes_of(whole[after:]), outcomes_of(grouped)
    for is_failure in (False, True):  # in Arrow, failures stand beside the results of their message
        assert of_kind(found, is_failure) == of_kind(expected, is_failure)
    if options is ROWS:
        assert found == expected


def ended_with(*elapsed, **changes):
    log = OutcomeLog(12, START_TIME)
    for index, seconds in enumerate(elapsed):
        log.append(batch_of([index], [{"score": 1.0}]), seconds)
    log.close()
    return Ended(log, config_of(OptimizationDirection.MAXIMIZE), **changes)


def test_times_come_from_the_log():
    started, _, third, result = map(event_of, sent(ended_with(2.0, 3.0), ROWS, 0, 10**6))
    assert (started.started, started.sequence_number) == (STARTED, 1)
    assert started.event_time.ToNanoseconds() == START_TIME
    assert third.progress.elapsed_duration.ToMilliseconds() == 3_000
    assert third.progress.estimated_remaining_duration.ToMilliseconds() == 15_000
    assert third.event_time.ToMilliseconds() == START_TIME // 10**6 + 3_000
    assert result.event_time.ToMilliseconds() == START_TIME // 10**6 + 77_250
    assert result.result.execution_duration.ToMilliseconds() == 77_250


def test_a_stream_from_a_number_that_is_not_reached_yet_waits_for_what_comes_after_it():
    async def follow():
        followed = ended_with()
        followed.log = log = OutcomeLog(3, START_TIME)
        stream = EventStream(followed, ROWS, 15.0, after_sequence_number=3).responses()
        first = asyncio.ensure_future(anext(stream))
        for index in range(2):
            log.append(batch_of([index], [{"score": float(index)}]), 1.0)
            for _ in range(3):
                await asyncio.sleep(0)
            assert not first.done()
        log.append(batch_of([2], [None]), 2.0)
        event = event_of(await first)
        await stream.aclose()
        return event

    event = asyncio.run(follow())
    assert event.sequence_number == 4
    assert (event.progress.completed_count, event.progress.failed_count) == (3, 1)
    assert event.progress.best.combination_index == 1


def test_a_response_of_a_call_that_watches_has_the_same_bytes():
    for response in sent(ended_with(1.0), ROWS):
        event = WatchOptimizationResponse.FromString(response).event
        assert event == event_of(response)
