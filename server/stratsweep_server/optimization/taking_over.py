"""Take over the results of another optimization on the same inputs: those of equal parameters.

The grids may differ. Combinations are matched by their parameters' values, not by their numbers.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest import ParameterColumn, ParameterValue
from stratsweep_server.execution.grid import ParameterAxis, axis_column
from stratsweep_server.execution.outcomes import OutcomeBatch
from stratsweep_server.optimization.background import checkpoint
from stratsweep_server.optimization.store import LogView

_BLOCK_ROWS = 10_000


def results_of(
    view: LogView,
    source_axes: Sequence[ParameterAxis],
    axes: Sequence[ParameterAxis],
    wanted: NDArray[np.int64],
) -> Iterator[OutcomeBatch]:
    """Yield the results of another log that are wanted, under their numbers in this grid.

    Failures are left out: they may have been the machine's, and run again.

    Args:
        view: The other log.
        source_axes: Of its grid.
        axes: Of this grid.
        wanted: The combinations of this grid that are missing, ascending.
    """
    if {axis.name for axis in source_axes} != {axis.name for axis in axes}:
        return
    match = GridMatch(source_axes, axes)
    for start in range(0, view.count, _BLOCK_ROWS):
        checkpoint()
        stop = min(start + _BLOCK_ROWS, view.count)
        indices = match.find(view.indices(start, stop))
        is_taken = _is_in(indices, wanted) & ~view.is_failure(start, stop)
        if not is_taken.any():
            continue
        rows = start + np.flatnonzero(is_taken)
        columns = view.columns(rows, view.metric_names(slice(start, stop)))
        yield replace(columns, indices=indices[is_taken]).batch()


class GridMatch:
    """Find the combinations of one grid in another by the values of their parameters.

    Args:
        source_axes: Of the grid that the combinations are of.
        axes: Of the grid in which to find them; it has the same parameters, in any order.
    """

    def __init__(self, source_axes: Sequence[ParameterAxis], axes: Sequence[ParameterAxis]) -> None:
        sources = {axis.name: axis for axis in source_axes}
        self._sizes = {axis.name: len(axis.values) for axis in source_axes}
        self._places = {
            axis.name: (len(axis.values), _places_in(sources[axis.name].values, axis.values))
            for axis in axes
        }

    def find(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the combinations' numbers in the other grid (int64); -1 where it has none."""
        positions: dict[str, NDArray[np.int64]] = {}
        for name in reversed(self._sizes):
            indices, positions[name] = np.divmod(indices, self._sizes[name])
        found = np.zeros(len(indices), dtype=np.int64)
        is_there = np.ones(len(indices), dtype=np.bool_)
        for name, (size, places) in self._places.items():
            here = places[positions[name]]
            is_there &= here >= 0
            found = found * size + here
        return np.where(is_there, found, -1)


def _places_in(
    source: Sequence[ParameterValue], values: Sequence[ParameterValue]
) -> NDArray[np.int64]:
    """Return where each value of one axis is in another; -1: nowhere. 1, 1.0 and True differ."""
    if isinstance(source, range | array) and isinstance(values, range | array):
        return _numbers_in(axis_column(source), axis_column(values))
    places = {(type(value), value): place for place, value in enumerate(values)}
    found = (places.get((type(value), value), -1) for value in source)
    return np.fromiter(found, dtype=np.int64, count=len(source))


def _numbers_in(source: ParameterColumn, values: ParameterColumn) -> NDArray[np.int64]:
    if source.dtype != values.dtype:
        return np.full(len(source), -1)
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    # In order, since looking for a million numbers here and there takes a hundred times as long.
    source_order = np.argsort(source, kind="stable")
    ranks = np.empty(len(source), dtype=np.int64)
    ranks[source_order] = np.searchsorted(ordered, source[source_order])
    places = order[np.minimum(ranks, len(values) - 1)]
    return np.where(values[places] == source, places, -1)


def _is_in(indices: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.bool_]:
    if len(wanted) == 0:
        return np.zeros(len(indices), dtype=np.bool_)
    places = np.minimum(np.searchsorted(wanted, indices), len(wanted) - 1)
    is_in: NDArray[np.bool_] = wanted[places] == indices
    return is_in
