"""Split the end of an optimization into messages of at most about 1 MB."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from stratsweep.v1 import optimization_event_pb2

from stratsweep_server.execution.grid import GridColumns
from stratsweep_server.optimization.result import OptimizationResult
from stratsweep_server.optimization.states import OptimizationState
from stratsweep_server.rpc.events.formats import RankingFormat, ResultPart, fits
from stratsweep_server.rpc.events.rows import failure_parts, fill_seconds

_STATES = {
    OptimizationState.SUCCEEDED: optimization_event_pb2.OPTIMIZATION_STATE_SUCCEEDED,
    OptimizationState.FAILED: optimization_event_pb2.OPTIMIZATION_STATE_FAILED,
    OptimizationState.CANCELLED: optimization_event_pb2.OPTIMIZATION_STATE_CANCELLED,
}


def result_parts(
    result: OptimizationResult, ranking_format: RankingFormat, grid: GridColumns
) -> Iterator[ResultPart]:
    """Yield the parts of a result, made one by one; the last one says so."""
    pieces = chain(
        ranking_format.ranked_parts(result.ranked_results), failure_parts(result.failures, grid)
    )
    part = next(pieces, ResultPart())
    part_index = 0
    for piece in pieces:
        if _are_small(part, piece):
            part.result.failures.extend(piece.result.failures)
        else:
            _fill(part, result, part_index)
            yield part
            part, part_index = piece, part_index + 1
    part.result.is_last_part = True
    _fill(part, result, part_index)
    yield part


def _are_small(part: ResultPart, piece: ResultPart) -> bool:
    """Return whether the end of the ranking and the beginning of the failures can share a part."""
    is_seam = bool(piece.result.failures) and not part.result.failures
    return is_seam and fits(part.size + piece.size)


def _fill(part: ResultPart, result: OptimizationResult, part_index: int) -> None:
    message = part.result
    message.state = _STATES[result.state]
    message.total_count = result.total_count
    message.succeeded_count = result.succeeded_count
    message.failed_count = result.failed_count
    message.unqualified_count = result.unqualified_count
    message.without_target_count = result.without_target_count
    fill_seconds(message.execution_duration, result.execution_time)
    message.message = result.message
    message.part_index = part_index
