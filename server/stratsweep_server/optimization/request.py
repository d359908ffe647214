"""Hold what a client asks for, and say how the floor above writes it down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from stratsweep_server.optimization.config import OptimizationConfig
from stratsweep_server.optimization.preparation import PreparedOptimization
from stratsweep_server.optimization.states import OptimizationState
from stratsweep_server.optimization.validation import Violation

MAX_ABANDON_GRACE_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class OptimizationRequest:
    """Hold an optimization that a client asks for.

    Attributes:
        config: What to optimize.
        violations: Found while it was read.
        optimization_id: Its name; empty: the server makes one.
        labels: What its client calls it.
        is_detached: Whether it goes on without a client.
        abandon_grace: Seconds for which it goes on after the last attached call has left, up to
            `MAX_ABANDON_GRACE_SECONDS`; None: none, or as before.
        must_exist: Whether it may not be begun by this request.
        takes_results: Whether results of earlier optimizations on the same inputs are its own, too.
        resume_from: The optimization whose results are; empty: of none in particular.
    """

    config: OptimizationConfig
    violations: Sequence[Violation] = ()
    optimization_id: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    is_detached: bool = False
    abandon_grace: float | None = None
    must_exist: bool = False
    takes_results: bool = False
    resume_from: str = ""


class Messages(Protocol):
    """Write requests and first events for the store, and read them again."""

    def request(self, request: OptimizationRequest) -> bytes:
        """Return a request that has no violations as text that `read_request` reads."""

    def read_request(self, request: bytes) -> OptimizationRequest:
        """Return a request that was kept."""

    def started(
        self,
        optimization_id: str,
        prepared: PreparedOptimization,
        labels: Mapping[str, str],
        state: OptimizationState,
        reused_count: int,
    ) -> bytes:
        """Return the first event of an optimization."""

    def read_started(self, started: bytes) -> OptimizationConfig:
        """Return the effective config of a first event that was kept."""
