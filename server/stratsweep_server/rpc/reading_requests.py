"""Read what the reading RPCs ask for; every fault of a request is found at once."""

from __future__ import annotations

import re
from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp
from stratsweep.v1 import optimization_service_pb2 as service_pb2

from stratsweep_server.optimization.identifiers import ID_RULE
from stratsweep_server.optimization.labels import find_label_violations
from stratsweep_server.optimization.limits import MAX_NAME_CHARACTERS
from stratsweep_server.optimization.states import OptimizationState
from stratsweep_server.optimization.store import OptimizationFilter
from stratsweep_server.optimization.validation import Violation
from stratsweep_server.rpc.records import read_state
from stratsweep_server.rpc.requests import (
    FollowOptions,
    InvalidRequestError,
    find_required_id_violations,
    read_follow_options,
)
from stratsweep_server.texts import quoted

DEFAULT_PAGE_SIZE = 100
MAX_LISTED = 1_000
"""Optimizations of a page."""
MAX_RESULTS = 10_000
"""Results of a page."""

_ID_PREFIX = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})?")
_MAX_STATES = 20
_LARGEST = 2**63 - 1


def read_id(optimization_id: str) -> str:
    """Return the id that a request names.

    Raises:
        InvalidRequestError: It can be none.
    """
    refuse([*find_required_id_violations(optimization_id)])
    return optimization_id


def read_watch(request: service_pb2.WatchOptimizationRequest) -> FollowOptions:
    """Return how events are wanted, and after which.

    Raises:
        InvalidRequestError: With every violation.
    """
    violations = [*find_required_id_violations(request.optimization_id)]
    options = read_follow_options(request, violations)
    refuse(violations)
    return options


def read_filter(request: service_pb2.ListOptimizationsRequest) -> OptimizationFilter:
    """Return which optimizations are wanted.

    Raises:
        InvalidRequestError: With every violation.
    """
    violations = page_size_violations(request.page_size, MAX_LISTED)
    states = _read_states(request.states[: _MAX_STATES + 1], violations)
    if len(request.states) > _MAX_STATES:
        violations = [Violation("states", f"are {len(request.states):,}; name each once")]
    labels = dict(request.labels)
    violations += find_label_violations(labels)
    for name in ("strategy", "symbol"):
        if len(getattr(request, name)) > MAX_NAME_CHARACTERS:
            reason = f"is longer than any name: {MAX_NAME_CHARACTERS} characters"
            violations.append(Violation(name, reason))
    if not _ID_PREFIX.fullmatch(request.id_prefix):
        reason = f"is {quoted(request.id_prefix)}, the beginning of no id; an id is {ID_RULE}"
        violations.append(Violation("id_prefix", reason))
    after, before = (_read_time(request, name, violations) for name in _TIMES)
    refuse(violations)
    return OptimizationFilter(
        states=states,
        strategy=request.strategy,
        symbol=request.symbol,
        labels=labels,
        created_after=after,
        created_before=before,
        id_prefix=request.id_prefix,
    )


_TIMES = ("created_after", "created_before")


def page_size_violations(page_size: int, limit: int) -> list[Violation]:
    """Return what is wrong with the size of a page."""
    if 0 <= page_size <= limit:
        return []
    reason = f"is {page_size}; make it 1 to {limit:,}, or leave it out for {DEFAULT_PAGE_SIZE}"
    return [Violation("page_size", reason)]


def refuse(violations: Sequence[Violation]) -> None:
    """Refuse a request that has violations.

    Raises:
        InvalidRequestError: It has.
    """
    if violations:
        raise InvalidRequestError(violations)


def _read_states(
    numbers: Sequence[int], violations: list[Violation]
) -> tuple[OptimizationState, ...]:
    states = []
    for position, number in enumerate(numbers):
        state = read_state(number)
        if state is None:
            violations.append(Violation(f"states[{position}]", f"{number} is no state"))
        else:
            states.append(state)
    return tuple(states)


def _read_time(
    request: service_pb2.ListOptimizationsRequest, name: str, violations: list[Violation]
) -> int | None:
    if not request.HasField(name):  # type: ignore[arg-type]  # one of `_TIMES`
        return None
    time: Timestamp = getattr(request, name)
    try:
        nanoseconds = time.ToNanoseconds()
    except ValueError:
        reason = f"is no time: {time.seconds} s and {time.nanos} ns"
        violations.append(Violation(name, reason))
        return None
    return max(-_LARGEST, min(nanoseconds, _LARGEST))
