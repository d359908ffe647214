"""Say where an optimization stands, and how it may move on: the one place that knows."""

from __future__ import annotations

from enum import Enum


class OptimizationState(Enum):
    """Name where an optimization stands."""

    QUEUED = "QUEUED"
    """It waits until others have ended."""
    RUNNING = "RUNNING"
    """Its backtests run."""
    SUCCEEDED = "SUCCEEDED"
    """Every combination ran, and at least one result has the target."""
    FAILED = "FAILED"
    """No result can be ranked."""
    CANCELLED = "CANCELLED"
    """It was stopped; what had completed is ranked."""
    INTERRUPTED = "INTERRUPTED"
    """Its server or its store failed it; what has completed is kept, and it can go on."""

    @property
    def is_ended(self) -> bool:
        """Return whether it never changes again."""
        return not _NEXT[self]

    @property
    def is_under_way(self) -> bool:
        """Return whether it waits or runs, and so has to be held by a process."""
        return self in {OptimizationState.QUEUED, OptimizationState.RUNNING}


_NEXT = {
    OptimizationState.QUEUED: {
        OptimizationState.RUNNING,
        OptimizationState.CANCELLED,
        OptimizationState.FAILED,
        OptimizationState.INTERRUPTED,
    },
    OptimizationState.RUNNING: {
        OptimizationState.QUEUED,  # after its process was killed, where all places are taken
        OptimizationState.SUCCEEDED,
        OptimizationState.FAILED,
        OptimizationState.CANCELLED,
        OptimizationState.INTERRUPTED,
    },
    OptimizationState.INTERRUPTED: {
        OptimizationState.QUEUED,
        OptimizationState.RUNNING,
        OptimizationState.CANCELLED,
    },
    OptimizationState.SUCCEEDED: set(),
    OptimizationState.FAILED: set(),
    OptimizationState.CANCELLED: set(),
}


class ForbiddenTransitionError(Exception):
    """Report that an optimization cannot move from where it stands to where it was to go."""


def require_transition(before: OptimizationState, after: OptimizationState) -> None:
    """Check that an optimization may move so, or stay where it is while it has not ended.

    Raises:
        ForbiddenTransitionError: It may not.
    """
    if before.is_ended or after not in {before, *_NEXT[before]}:
        raise ForbiddenTransitionError(
            f"an optimization that is {before.value} is not {after.value} next"
        )
