"""The ranking: by the target, then by combination index; undefined scores last. Pure.

It depends on nothing but each combination's own score, so it is the same for any number of workers,
any chunking and any order of completion.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.optimization.config import OptimizationDirection


def rank(
    scores: NDArray[np.float64], indices: NDArray[np.int64], direction: OptimizationDirection
) -> NDArray[np.intp]:
    """Row numbers from best to worst.

    Args:
        scores: The target's value per row; NaN where undefined.
        indices: Combination index per row; unique.
        direction: Which end is best.
    """
    keys = -scores if direction is OptimizationDirection.MAXIMIZE else scores
    return np.lexsort((indices, keys, np.isnan(keys)))


def is_better(score: float, best: float, direction: OptimizationDirection) -> bool:
    """Whether a defined score beats the best one so far, strictly."""
    return score > best if direction is OptimizationDirection.MAXIMIZE else score < best
