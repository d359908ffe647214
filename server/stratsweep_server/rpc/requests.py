"""Convert protobuf requests to the optimizer's own types.

Not on the event loop: a list of a million values takes a while. Nothing is done for each part of a
request before these are counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from google.protobuf.duration_pb2 import Duration
from stratsweep.v1 import optimization_config_pb2 as config_pb2
from stratsweep.v1 import optimization_service_pb2 as service_pb2
from stratsweep.v1 import outcome_pb2, parameter_pb2

from stratsweep_server.backtest import OptimizationDirection
from stratsweep_server.optimization.axes import number_array
from stratsweep_server.optimization.config import (
    DoubleRange,
    IntegerRange,
    OptimizationConfig,
    Parameter,
    ParameterValues,
)
from stratsweep_server.optimization.identifiers import find_id_violations
from stratsweep_server.optimization.labels import find_label_violations
from stratsweep_server.optimization.request import (
    MAX_ABANDON_GRACE_SECONDS,
    OptimizationRequest,
)
from stratsweep_server.optimization.validation import InvalidConfigError, Violation, find_excess
from stratsweep_server.rpc.config_fields import PLAIN_FIELDS
from stratsweep_server.rpc.events.stream import StreamOptions
from stratsweep_server.texts import quoted

_DIRECTIONS = {
    config_pb2.OPTIMIZATION_DIRECTION_UNSPECIFIED: OptimizationDirection.MAXIMIZE,
    config_pb2.OPTIMIZATION_DIRECTION_MAXIMIZE: OptimizationDirection.MAXIMIZE,
    config_pb2.OPTIMIZATION_DIRECTION_MINIMIZE: OptimizationDirection.MINIMIZE,
    config_pb2.OPTIMIZATION_DIRECTION_BEST: OptimizationDirection.BEST,
}
_ARRAY_TYPES = {"integer_list": "q", "double_list": "d"}
MAX_REASON_CHARACTERS = 500
_DURATION_SECONDS = 315_576_000_000


class InvalidRequestError(InvalidConfigError):
    """Report a request, not of `Optimize`, that is wrong; fields are the request's own."""


@dataclass(frozen=True, slots=True)
class FollowOptions:
    """Hold what a client says of the stream that it wants.

    Attributes:
        stream: How results are to be sent.
        after_sequence_number: The last event that it has already; 0: none.
    """

    stream: StreamOptions
    after_sequence_number: int


def read_request(
    message: service_pb2.OptimizeRequest,
) -> tuple[OptimizationRequest, FollowOptions]:
    """Read a request; what cannot be read is reported and left at its default.

    Returns:
        What is asked for, with the violations that are not the config's own, or that only the wire
        form can have: values of no kind, numbers of no enum, dates and durations that are none; and
        how it is to be sent.

    Raises:
        InvalidConfigError: It has more parts than it may; they have not been read.
    """
    config, violations = read_config(message.config)
    options = read_follow_options(message, violations)
    labels = dict(message.labels)
    violations += find_label_violations(labels)
    violations += find_id_violations("optimization_id", message.optimization_id)
    violations += find_id_violations("resume_from", message.resume_from)
    if options.after_sequence_number and not message.optimization_id:
        reason = "is given without an optimization_id; say which one goes on"
        violations.append(Violation("after_sequence_number", reason))
    request = OptimizationRequest(
        config,
        violations,
        optimization_id=message.optimization_id,
        labels=labels,
        is_detached=message.detached,
        abandon_grace=_read_abandon_grace(message, violations),
        must_exist=options.after_sequence_number > 0,
        takes_results=message.reuse,
        resume_from=message.resume_from,
    )
    return request, options


def read_follow_options(
    message: service_pb2.OptimizeRequest | service_pb2.WatchOptimizationRequest,
    violations: list[Violation],
) -> FollowOptions:
    """Read how events are to be sent; what cannot be read is added to the violations."""
    number = message.after_sequence_number
    if number < 0:
        reason = f"is {number}; make it the number of the last event that you have, or 0"
        violations.append(Violation("after_sequence_number", reason))
    return FollowOptions(_read_stream_options(message, violations), number)


def _read_stream_options(
    message: service_pb2.OptimizeRequest | service_pb2.WatchOptimizationRequest,
    violations: list[Violation],
) -> StreamOptions:
    """Read how results are to be sent; adds what is wrong with that to `violations`."""
    interval = None
    if message.HasField("progress_interval"):
        interval = _read_seconds("progress_interval", message.progress_interval, violations)
        if interval <= 0:
            reason = f"is {interval:g} s; make it positive, or leave it out"
            violations.append(Violation("progress_interval", reason))
    if message.result_format not in outcome_pb2.ResultFormat.values():
        violations.append(Violation("result_format", f"{message.result_format} is no format"))
    return StreamOptions(interval, message.result_format == outcome_pb2.RESULT_FORMAT_ARROW)


def read_config(
    message: config_pb2.OptimizationConfig,
) -> tuple[OptimizationConfig, list[Violation]]:
    """Read a config; what cannot be read is reported and left at its default.

    Returns:
        The config, and the violations that only the wire form can have.

    Raises:
        InvalidConfigError: It has more parts than it may; they have not been read.
    """
    excess = find_excess(
        message.symbols, message.parameters, message.constraints, message.requirements
    )
    if excess:
        raise InvalidConfigError(excess)
    violations: list[Violation] = []
    direction = _DIRECTIONS.get(message.direction)
    if direction is None:
        violations.append(Violation("direction", f"{message.direction} is no direction"))
    given = {each.name: value for each, value in message.ListFields() if each.name in PLAIN_FIELDS}
    if message.HasField("backtest_timeout"):
        given["backtest_timeout"] = _read_seconds(
            "backtest_timeout", message.backtest_timeout, violations
        )
    config = OptimizationConfig(
        **{"strategy": "", **given},
        symbols=tuple(message.symbols),
        parameters=tuple(
            _read_parameter(f"parameters[{number}]", parameter, violations)
            for number, parameter in enumerate(message.parameters)
        ),
        start_date=_read_date("start_date", message.date_range.start_date, violations),
        end_date=_read_date("end_date", message.date_range.end_date, violations),
        constraints=tuple(message.constraints),
        requirements=tuple(message.requirements),
        direction=direction or OptimizationDirection.MAXIMIZE,
    )
    return config, violations


def find_cancel_violations(message: service_pb2.CancelOptimizationRequest) -> list[Violation]:
    """Return what is wrong with a request to cancel."""
    violations = [*find_required_id_violations(message.optimization_id)]
    if len(message.reason) > MAX_REASON_CHARACTERS:
        reason = f"has {len(message.reason):,} characters; {MAX_REASON_CHARACTERS} are allowed"
        violations.append(Violation("reason", reason))
    return violations


def find_required_id_violations(optimization_id: str) -> Iterator[Violation]:
    """Yield what is wrong with the id of an optimization that there must be."""
    if not optimization_id:
        yield Violation("optimization_id", "is empty; say which optimization is meant")
    yield from find_id_violations("optimization_id", optimization_id)


def _read_abandon_grace(
    message: service_pb2.OptimizeRequest, violations: list[Violation]
) -> float | None:
    if not message.HasField("abandon_grace"):
        return None
    grace = _read_seconds("abandon_grace", message.abandon_grace, violations)
    if not 0 <= grace <= MAX_ABANDON_GRACE_SECONDS:
        reason = f"is {grace:.10g} s; from 0 to {MAX_ABANDON_GRACE_SECONDS:g} s, a day"
        violations.append(Violation("abandon_grace", reason))
    return grace


def _read_seconds(name: str, duration: Duration, violations: list[Violation]) -> float:
    """Return a duration in seconds; one that protobuf's rules forbid is reported, and is 1 s."""
    whole, nanos = duration.seconds, duration.nanos
    is_signed_alike = whole * nanos >= 0
    if abs(whole) > _DURATION_SECONDS or abs(nanos) >= 10**9 or not is_signed_alike:
        reason = (
            f"is no duration: {whole} s and {nanos} ns; at most ten thousand years, and less than "
            "a second of nanoseconds of the same sign"
        )
        violations.append(Violation(name, reason))
        return 1.0
    return float(whole + nanos / 1e9)


def _read_parameter(
    path: str, message: parameter_pb2.Parameter, violations: list[Violation]
) -> Parameter:
    kind = message.WhichOneof("values")
    values: ParameterValues | None = None
    if kind is None:
        violations.append(Violation(path, "has no values; give a range or a list"))
    elif kind == "integer_range":
        integers = message.integer_range
        step = integers.step if integers.HasField("step") else 1
        values = IntegerRange(integers.start, integers.stop, step)
    elif kind == "double_range":
        values = _read_double_range(message.double_range)
    elif kind in _ARRAY_TYPES:
        values = number_array(_ARRAY_TYPES[kind], getattr(message, kind).values)
    else:
        values = tuple(value for value in getattr(message, kind).values)
    return Parameter(message.name, values)


def _read_double_range(message: parameter_pb2.DoubleRange) -> DoubleRange:
    spacing = message.WhichOneof("spacing")
    return DoubleRange(
        message.start,
        message.stop,
        step=message.step if spacing == "step" else None,
        point_count=message.point_count if spacing == "point_count" else None,
    )


def _read_date(name: str, text: str, violations: list[Violation]) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        path = f"date_range.{name}"
        violations.append(Violation(path, f"{quoted(text)} is no date; write it as YYYY-MM-DD"))
        return None
