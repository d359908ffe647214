"""Questions about optimizations that a server keeps, and its answers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypedDict, TypeVar, cast

from google.protobuf import timestamp_pb2

from stratsweep._decoding import (
    STATES,
    parameter_result,
    result_blocks,
    span_of,
    started_event,
    time_of,
)
from stratsweep._encoding import chosen_direction, encoded_labels
from stratsweep._rows import Rows
from stratsweep._values import text, texts, whole_number
from stratsweep.events import OptimizationState
from stratsweep.optimizations import Optimization, ResultList
from stratsweep.outcomes import ParameterResult
from stratsweep.v1 import (
    optimization_event_pb2,
    optimization_service_pb2,
    outcome_pb2,
)

_Item = TypeVar("_Item")
_Request = TypeVar(
    "_Request",
    bound=optimization_service_pb2.ListOptimizationsRequest
    | optimization_service_pb2.ListResultsRequest,
)
_LARGEST_OPTIMIZATION_PAGE = 1_000
_LARGEST_RESULT_PAGE = 10_000


class OptimizationFilters(TypedDict, total=False):
    """Name the keywords of `Client.list_optimizations` that say which are wanted."""

    states: str | Iterable[str] | None
    strategy: str | None
    symbol: str | None
    labels: Mapping[str, str] | None
    created_after: datetime | None
    created_before: datetime | None
    id_prefix: str | None


class ResultOptions(TypedDict, total=False):
    """Name the keywords of `Client.list_results` that say which are wanted, in which order."""

    metric: str | None
    minimize: bool | None
    maximize: bool | None
    requirements: str | Iterable[str] | None


@dataclass(frozen=True, slots=True)
class Page(Generic[_Item]):
    """Part of an answer.

    Attributes:
        items: What it has.
        next_page_token: Asks for the page after it; empty where there is none.
        total_count: The number of items over all pages; 0 where the server does not say it.
    """

    items: Sequence[_Item]
    next_page_token: str
    total_count: int = 0


class Pages(Generic[_Request]):
    """Turns the pages of an answer: a request for each, as long as there is one and it is wanted.

    Args:
        request: One with `page_size` and `page_token`.
        largest: What `page_size` may be at most.
        limit: How many items are wanted over all pages; None is all of them.
        page_size: How many to ask for at a time where there is no limit; 0 is the server's choice.

    Raises:
        TypeError: The limit is no whole number.
        ValueError: It is negative.
    """

    def __init__(
        self, request: _Request, largest: int, limit: int | None, page_size: int = 0
    ) -> None:
        self._request = request
        self._largest = largest
        self._left = None if limit is None else whole_number("limit", limit)
        if self._left is not None and self._left < 0:
            raise ValueError(f"limit must be 0 or more, not {limit}")
        request.page_size = page_size
        self._is_last = False

    def next_request(self) -> _Request | None:
        """Return the request for the next page; None where there is none, or none is wanted."""
        if self._is_last or self._left == 0:
            return None
        if self._left is not None:
            self._request.page_size = min(self._left, self._largest)
        return self._request

    def turn(self, page: Page[Any]) -> None:
        """Note the page that has come."""
        self._request.page_token = page.next_page_token
        self._is_last = not page.next_page_token
        if self._left is not None:
            self._left = max(0, self._left - len(page.items))


def optimization_pages(
    limit: int | None, filters: OptimizationFilters
) -> Pages[optimization_service_pb2.ListOptimizationsRequest]:
    """Return the pages of a `ListOptimizations` call.

    Raises:
        TypeError: A filter is of no type that it takes.
        ValueError: A state is unknown, or the limit is negative.
    """
    given: dict[str, Any] = {name: each for name, each in filters.items() if each is not None}
    request = optimization_service_pb2.ListOptimizationsRequest(
        states=map(_state_number, texts("states", given.get("states", ()), "RUNNING")),
        strategy=text("strategy", given.get("strategy", "")),
        symbol=text("symbol", given.get("symbol", "")),
        labels=encoded_labels(given.get("labels")),
        id_prefix=text("id_prefix", given.get("id_prefix", "")),
    )
    for name in given.keys() & {"created_after", "created_before"}:
        getattr(request, name).CopyFrom(_timestamp(name, given[name]))
    return Pages(request, _LARGEST_OPTIMIZATION_PAGE, limit)


def result_pages(
    optimization_id: str, limit: int | None, options: ResultOptions
) -> Pages[optimization_service_pb2.ListResultsRequest]:
    """Return the pages of a `ListResults` call.

    Raises:
        TypeError: An option is of no type that it takes.
        ValueError: The limit is negative, or both ends come first.
    """
    given: dict[str, Any] = {name: each for name, each in options.items() if each is not None}
    request = optimization_service_pb2.ListResultsRequest(
        optimization_id=text("optimization_id", optimization_id),
        metric=text("metric", given.get("metric", "")),
        result_format=outcome_pb2.RESULT_FORMAT_ARROW,
        requirements=texts("requirements", given.get("requirements", ()), "trade_count >= 30"),
        has_requirements="requirements" in given,
    )
    if given.keys() & {"minimize", "maximize"}:
        request.direction = chosen_direction(given)
    return Pages(request, _LARGEST_RESULT_PAGE, limit, _LARGEST_RESULT_PAGE)


def optimization(message: optimization_service_pb2.Optimization) -> Optimization:
    """Decode where an optimization stands."""
    started = started_event(message.started)
    names = tuple(started.config.parameters)
    return Optimization(
        optimization_id=message.optimization_id,
        state=STATES.get(message.state, OptimizationState.UNSPECIFIED),
        started=started,
        completed_count=message.completed_count,
        failed_count=message.failed_count,
        best=parameter_result(message.best, names) if message.HasField("best") else None,
        create_time=time_of(message.create_time),
        start_time=time_of(message.start_time) if message.HasField("start_time") else None,
        end_time=time_of(message.end_time) if message.HasField("end_time") else None,
        running_duration=span_of(message.running_duration),
        message=message.message,
        is_detached=message.is_detached,
        holder_address=message.holder_address,
        stored_bytes=message.stored_bytes,
    )


def optimization_page(
    response: optimization_service_pb2.ListOptimizationsResponse,
) -> Page[Optimization]:
    """Decode a page of optimizations."""
    return Page(tuple(map(optimization, response.optimizations)), response.next_page_token)


def result_page(
    response: optimization_service_pb2.ListResultsResponse,
) -> Page[ParameterResult]:
    """Decode a page of results that came as Arrow."""
    rows = Rows(result_blocks(response.arrow_results))
    return Page(rows, response.next_page_token, response.total_count)


def result_list(stand: Optimization, pages: Sequence[Page[ParameterResult]]) -> ResultList:
    """Put the pages of results together."""
    blocks = [block for page in pages for block in cast("Rows[ParameterResult]", page.items).blocks]
    return ResultList(stand, Rows(blocks), pages[0].total_count if pages else 0)


def _state_number(name: str) -> optimization_event_pb2.OptimizationState.ValueType:
    state = OptimizationState(name)
    return optimization_event_pb2.OptimizationState.Value(f"OPTIMIZATION_STATE_{state}")


def _timestamp(name: str, value: object) -> timestamp_pb2.Timestamp:
    if not isinstance(value, datetime):
        raise TypeError(f"{name}: expected a datetime, not {type(value).__name__}")
    timestamp = timestamp_pb2.Timestamp()
    timestamp.FromDatetime(value.astimezone(UTC))  # one without a zone is of this machine's
    return timestamp
