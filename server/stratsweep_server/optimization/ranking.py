"""Rank by the target, then by combination index; undefined scores last. Pure.

It depends on nothing but each combination's own score, so it is the same for any number of workers,
any chunking and any order of completion.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest import OptimizationDirection


def rank(
    scores: NDArray[np.float64],
    indices: NDArray[np.int64],
    direction: OptimizationDirection,
    limit: int = 0,
) -> NDArray[np.intp]:
    """Return row numbers from best to worst.

    Args:
        scores: The target's value per row; NaN where undefined.
        indices: Combination index per row; unique.
        direction: Which end is best.
        limit: How many of the best are wanted; 0: all. A few are found without sorting the rest.
    """
    keys = _ascending(scores, direction)
    if not 0 < limit < len(keys):
        return _sorted(keys, indices)
    rows = _smallest(keys, indices, limit)
    return rows[_sorted(keys[rows], indices[rows])]


def best_row(
    scores: NDArray[np.float64], indices: NDArray[np.int64], direction: OptimizationDirection
) -> int | None:
    """Return the row of rank 1; None when no score is defined. Arguments as in `rank`."""
    if len(scores) == 0:
        return None
    keys = _ascending(scores, direction)
    smallest = np.fmin.reduce(keys)
    rows = np.flatnonzero(keys == smallest)
    return int(rows[np.argmin(indices[rows])]) if len(rows) else None


def is_better(
    score: float,
    combination_index: int,
    best_score: float,
    best_combination_index: int,
    direction: OptimizationDirection,
) -> bool:
    """Return whether a combination ranks before the best so far; both scores are defined."""
    if score == best_score:
        return combination_index < best_combination_index
    is_maximizing = direction is OptimizationDirection.MAXIMIZE
    return score > best_score if is_maximizing else score < best_score


def _ascending(
    scores: NDArray[np.float64], direction: OptimizationDirection
) -> NDArray[np.float64]:
    """Return keys of which the smallest is best; numpy sorts NaN to the end."""
    return -scores if direction is OptimizationDirection.MAXIMIZE else scores


def _sorted(keys: NDArray[np.float64], indices: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the rows by key, NaN last; those of equal keys by index.

    Few keys are equal, mostly: sorting all by key and then the equal ones takes a quarter of what
    `np.lexsort` takes.
    """
    rows = np.argsort(keys)
    in_order = keys.take(rows)
    is_nan = np.isnan(in_order)
    is_as_before = np.zeros(len(rows), dtype=np.bool_)
    is_as_before[1:] = (in_order[1:] == in_order[:-1]) | (is_nan[1:] & is_nan[:-1])
    is_tied = is_as_before.copy()
    is_tied[:-1] |= is_as_before[1:]
    tied = rows[is_tied]
    if len(tied):
        groups = np.cumsum(~is_as_before, dtype=np.int64)[is_tied]
        rows[is_tied] = tied.take(_by_group(groups, indices.take(tied)))
    return rows


def _by_group(groups: NDArray[np.int64], indices: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return places by group, which ascend, and by index within each."""
    width = int(indices.max()) + 1
    if int(groups[-1]) < 2**63 // width:  # one number for both takes a third of the time
        return np.argsort(groups * width + indices)
    return np.lexsort((indices, groups))


def _smallest(
    keys: NDArray[np.float64], indices: NDArray[np.int64], count: int
) -> NDArray[np.intp]:
    """Return the rows of the `count` smallest keys, unordered; equal keys go by smallest index."""
    last = np.partition(keys, count - 1)[count - 1]
    if np.isnan(last):
        is_tied = np.isnan(keys)
        is_inside = ~is_tied
    else:
        is_tied = keys == last
        is_inside = keys < last
    inside, tied = np.flatnonzero(is_inside), np.flatnonzero(is_tied)
    missing = count - len(inside)
    return np.concatenate((inside, tied[np.argpartition(indices[tied], missing - 1)[:missing]]))
