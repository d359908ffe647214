"""What a stream must say of the request that it answers: the grid exactly as it was given. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from stratsweep.v1 import optimization_event_pb2 as event_pb2
from stratsweep.v1 import outcome_pb2, parameter_pb2
from stratsweep.v1.optimization_service_pb2 import OptimizeRequest
from stratsweep_server.backtest import ParameterValue

from tests.fuzz.arithmetic import rejected_range
from tests.fuzz.axes import values_of
from tests.fuzz.engine import fingerprint

_REJECTS_ALL = "reject all"


def stream_violations(
    request: OptimizeRequest, events: Sequence[event_pb2.OptimizationEvent], *, is_whole: bool
) -> Iterator[str]:
    """What is wrong with the events of an optimization by `tests.fuzz.engine`.

    Args:
        request: What was asked for.
        events: The first of the stream, or all.
        is_whole: Whether the stream has ended.
    """
    kinds = [event.WhichOneof("kind") for event in events]
    if kinds[:1] != ["started"]:
        yield f"a stream that begins with {kinds[:1]}"
    if is_whole and not request.validate_only and not events[-1].result.is_last_part:
        yield f"a stream that ends with {kinds[-1:]}"
    for event in events[:1]:
        yield from _started_violations(request, event.started)
    axes = {axis.name: values_of(axis) for axis in request.config.parameters}
    for event in events:
        for outcome in event.progress.outcomes:
            if outcome.HasField("result"):
                yield from _row_violations(axes, outcome.result)
            elif outcome.failure.kind != outcome_pb2.FAILURE_KIND_TIMED_OUT:
                yield f"a backtest that failed: {outcome.failure.message}"
        for row in event.result.ranked_results:
            yield from _row_violations(axes, row)


def _started_violations(
    request: OptimizeRequest, started: event_pb2.OptimizationStarted
) -> Iterator[str]:
    expected = rejected_range(request.config)
    if expected is not None and started.rejected_count not in expected:
        texts = ", ".join(request.config.constraints)
        yield f"{started.rejected_count} combinations rejected, not {expected}: {texts}"
    if started.labels != request.labels:
        yield f"labels that come back as {started.labels}, not {request.labels}"


def refusal_violations(request: OptimizeRequest, message: str) -> Iterator[str]:
    """What is wrong with the words with which a request was refused."""
    expected = rejected_range(request.config) if _REJECTS_ALL in message else None
    count = math.prod(len(values_of(axis)) for axis in request.config.parameters if expected)
    if expected is not None and count not in expected:
        texts = ", ".join(request.config.constraints)
        yield f"all {count} combinations rejected, not {expected}: {texts}"


def _row_violations(
    axes: Mapping[str, Sequence[ParameterValue]], row: outcome_pb2.ParameterResult
) -> Iterator[str]:
    index, expected = row.combination_index, {}
    for name, values in reversed(axes.items()):
        index, position = divmod(index, len(values))
        expected[name] = values[position]
    given = {name: _value(each) for name, each in row.parameters.items()}
    if fingerprint(given) != fingerprint(expected):
        yield f"combination {row.combination_index} is reported as {given}, not {expected}"
    ran_by_its_score = row.metrics["score"] == fingerprint(expected)
    if not ran_by_its_score and "salt" not in row.metrics:  # where there is a salt, x ran alone
        yield f"combination {row.combination_index}, {expected}, ran with other values"


def _value(value: parameter_pb2.ParameterValue) -> ParameterValue:
    return getattr(value, value.WhichOneof("kind"))
