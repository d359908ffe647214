"""Make pages of results: one metric's column is ranked, and only a page's rows are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from stratsweep.v1 import optimization_config_pb2 as config_pb2
from stratsweep.v1 import outcome_pb2
from stratsweep.v1.optimization_event_pb2 import OptimizationStarted
from stratsweep.v1.optimization_service_pb2 import ListResultsRequest, ListResultsResponse

from stratsweep_server.backtest import OptimizationDirection
from stratsweep_server.execution.grid import GridColumns
from stratsweep_server.optimization.background import checkpoint
from stratsweep_server.optimization.conditions import InvalidConditionError
from stratsweep_server.optimization.config import OptimizationConfig
from stratsweep_server.optimization.followed_log import FollowedLog
from stratsweep_server.optimization.ranking import best_row, rank
from stratsweep_server.optimization.requirements import (
    Requirements,
    compiled_requirement,
    qualifies,
)
from stratsweep_server.optimization.validation import Violation, find_requirement_excess
from stratsweep_server.rpc.events.arrow import arrow_stream, max_arrow_rows
from stratsweep_server.rpc.events.formats import fits
from stratsweep_server.rpc.events.rows import ranked_messages, result_message
from stratsweep_server.rpc.page_tokens import foreign_token, page_token, read_position
from stratsweep_server.rpc.reading_requests import (
    DEFAULT_PAGE_SIZE,
    MAX_RESULTS,
    page_size_violations,
    refuse,
)
from stratsweep_server.rpc.requests import find_required_id_violations
from stratsweep_server.texts import listed, quoted

_Number = TypeVar("_Number", bound=np.generic)

_BLOCK_ROWS = 1 << 16
_DIRECTIONS: dict[int, OptimizationDirection] = {
    config_pb2.OPTIMIZATION_DIRECTION_MAXIMIZE: OptimizationDirection.MAXIMIZE,
    config_pb2.OPTIMIZATION_DIRECTION_MINIMIZE: OptimizationDirection.MINIMIZE,
}


@dataclass(frozen=True, slots=True)
class Results:
    """Hold of what an optimization's results are made.

    Attributes:
        config: Its effective config.
        grid: Its parameters' values.
        log: Its outcomes.
        count: How many of them there are to be seen.
        best_directions: The better end of each metric that is declared, as the contract has it.
    """

    config: OptimizationConfig
    grid: GridColumns
    log: FollowedLog
    count: int
    best_directions: Mapping[str, int]

    @property
    def metric_names(self) -> set[str]:
        """Return every metric that may be asked for."""
        names = {*self.best_directions, *self.log.column_names}
        return {*names, self.config.optimization_target}


def best_directions(started: OptimizationStarted) -> dict[str, int]:
    """Return the better end of each metric that an optimization's first event declares."""
    return {metric.name: metric.best_direction for metric in started.metrics}


def check_results_request(request: ListResultsRequest) -> None:
    """Check what can be checked without knowing the optimization.

    Raises:
        InvalidRequestError: With every violation.
    """
    violations = [*find_required_id_violations(request.optimization_id)]
    violations += page_size_violations(request.page_size, MAX_RESULTS)
    if request.direction not in config_pb2.OptimizationDirection.values():
        violations.append(Violation("direction", f"{request.direction} is no direction"))
    if request.result_format not in outcome_pb2.ResultFormat.values():
        violations.append(Violation("result_format", f"{request.result_format} is no format"))
    excess = find_requirement_excess(request.requirements)
    violations += excess
    if request.requirements and not (excess or request.has_requirements):
        reason = "take the place of the optimization's own only with has_requirements; set that"
        violations.append(Violation("requirements", reason))
    refuse(violations)
    read_position(request)


def result_page(results: Results, request: ListResultsRequest) -> bytes:
    """Return a page of results, as a serialized response.

    A page ends early when it has about 1 MB.

    Args:
        results: Where they are; they may go on growing.
        request: What is asked; `check_results_request` has found nothing.

    Raises:
        InvalidRequestError: With every violation.
    """
    metric, requirements = _read_question(results, request)
    offset, count = _read_place(results, request)
    rows = _rows(results.log, requirements, count)
    limit = offset + (request.page_size or DEFAULT_PAGE_SIZE)
    page = np.empty(0, dtype=np.intp)
    if offset < len(rows):
        scores = _of_rows(results.log.metric(metric, 0, count), rows)
        indices = _of_rows(results.log.indices(0, count), rows)
        checkpoint()
        order = rank(scores, indices, _direction(results, request, metric), limit)
        page = order[offset:limit] if len(rows) == count else rows[order[offset:limit]]
    response = ListResultsResponse(total_count=len(rows))
    fill = _fill_arrow if request.result_format == outcome_pb2.RESULT_FORMAT_ARROW else _fill_rows
    offset += fill(response, results, page, offset + 1)
    if offset < len(rows):
        response.next_page_token = page_token(request, f"{offset}:{count}")
    return response.SerializeToString()


def best_result(results: Results) -> outcome_pb2.ParameterResult | None:
    """Return the best result so far that meets the requirements; None where none has the target."""
    log, config = results.log, results.config
    scores = log.metric(config.optimization_target, 0, results.count)
    rows = _rows(log, Requirements(config.requirements), results.count)
    indices = _of_rows(log.indices(0, results.count), rows)
    best = best_row(_of_rows(scores, rows), indices, config.direction)
    return None if best is None else result_message(log, int(rows[best]), results.grid)


def _read_question(results: Results, request: ListResultsRequest) -> tuple[str, Requirements]:
    """Return the metric to sort by, and what results have to meet."""
    names, violations = results.metric_names, []
    metric = request.metric or results.config.optimization_target
    if metric not in names:
        reason = f"is {quoted(metric)}; the metrics are {listed(sorted(names))}"
        violations.append(Violation("metric", reason))
    if not request.has_requirements:
        refuse(violations)
        return metric, Requirements(results.config.requirements)
    parameters = {axis.name for axis in results.config.axes}
    for number, text in enumerate(request.requirements):
        checkpoint()
        try:
            compiled_requirement(text, names, parameters)
        except InvalidConditionError as error:
            violations.append(Violation(f"requirements[{number}]", str(error)))
    refuse(violations)
    return metric, Requirements(request.requirements)


def _read_place(results: Results, request: ListResultsRequest) -> tuple[int, int]:
    """Return where the page begins, and of how many outcomes it is: those of the first page."""
    position = read_position(request)
    if not position:
        return 0, results.count
    offset, _, count = position.partition(":")
    if not (offset.isdecimal() and count.isdecimal()) or int(count) > results.count:
        raise foreign_token()
    return int(offset), int(count)


def _direction(results: Results, request: ListResultsRequest, metric: str) -> OptimizationDirection:
    number: int = request.direction
    if number == config_pb2.OPTIMIZATION_DIRECTION_UNSPECIFIED:
        if metric == results.config.optimization_target:
            return results.config.direction
        number = config_pb2.OPTIMIZATION_DIRECTION_BEST
    if number == config_pb2.OPTIMIZATION_DIRECTION_BEST:
        number = results.best_directions.get(metric, number)
    return _DIRECTIONS.get(number, OptimizationDirection.MAXIMIZE)


def _rows(log: FollowedLog, requirements: Requirements, count: int) -> NDArray[np.intp]:
    """Return the rows of successful outcomes that meet the requirements, in order of completion."""
    found = []
    for start in range(0, count, _BLOCK_ROWS):
        checkpoint()
        stop = min(start + _BLOCK_ROWS, count)
        rows = start + np.flatnonzero(~log.is_failure(start, stop))
        if requirements and len(rows):
            rows = rows[qualifies(log, requirements, rows)]
        found.append(rows)
    return np.concatenate(found) if found else np.empty(0, dtype=np.intp)


def _of_rows(values: NDArray[_Number], rows: NDArray[np.intp]) -> NDArray[_Number]:
    """Return the values of some rows, in order; without a copy where these are all."""
    return values if len(rows) == len(values) else values[rows]


def _fill_arrow(
    response: ListResultsResponse, results: Results, rows: NDArray[np.intp], first_rank: int
) -> int:
    """Write results into a response; return how many."""
    if len(rows) == 0:
        return 0
    rows = rows[: max_arrow_rows(results.grid, results.log.metric_count)]
    columns = results.log.columns(rows, results.log.metric_names(rows))
    response.arrow_results = b"".join(arrow_stream(columns, results.grid, first_rank))
    return len(rows)


def _fill_rows(
    response: ListResultsResponse, results: Results, rows: NDArray[np.intp], first_rank: int
) -> int:
    """Write results into a response; return how many."""
    size = 0
    most_rows = max_arrow_rows(results.grid, results.log.metric_count)  # rows take more
    columns = results.log.columns(rows[:most_rows])
    checkpoint()
    for message in ranked_messages(columns, results.grid, first_rank):
        response.results.append(message)
        size += message.ByteSize()
        if not fits(size):
            break
    return len(response.results)
