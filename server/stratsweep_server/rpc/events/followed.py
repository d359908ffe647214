"""Say what a stream follows: an optimization that waits, runs, or has ended."""

from __future__ import annotations

from typing import Protocol

from stratsweep_server.execution.grid import GridColumns
from stratsweep_server.optimization.config import OptimizationConfig
from stratsweep_server.optimization.followed_log import FollowedLog
from stratsweep_server.optimization.result import OptimizationResult


class Followed(Protocol):
    """Give a stream all that its events are made from; config, grid and log once it has begun.

    Equal answers give equal events, to the last bit, whoever asks and whenever.
    """

    @property
    def started(self) -> bytes:
        """Return the serialized `OptimizationStarted`."""

    @property
    def started_time(self) -> int:
        """Return when that event happened, in nanoseconds since the epoch."""

    async def begun(self, patience: float | None = None) -> bool:
        """Wait until it has begun; the started event is there before.

        Returns:
            False when `patience` seconds passed before that.
        """

    @property
    def config(self) -> OptimizationConfig:
        """Return the effective config; a stream needs its target and direction."""

    @property
    def grid(self) -> GridColumns:
        """Return the parameters' values."""

    @property
    def log(self) -> FollowedLog:
        """Return the outcomes so far."""

    async def result(self) -> OptimizationResult:
        """Wait for the end, at which the log is closed, and return it; may be cancelled."""
