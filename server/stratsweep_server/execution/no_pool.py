"""A pool without workers, for a server that only reads: it starts at once and runs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest import EngineDescription
from stratsweep_server.execution.generation import Generation, LoadedSource
from stratsweep_server.execution.plan import BacktestPlan
from stratsweep_server.execution.pool import (
    OutcomeListener,
    RunningWorkload,
    WorkersUnavailableError,
)
from stratsweep_server.execution.shared_bars import SharedBars
from stratsweep_server.market_data.bars import Bars


class NoPool:
    """Refuse, as a `BacktestPool`, whatever would need a worker.

    Attributes:
        worker_count: The number of workers, 0.
    """

    worker_count = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    @property
    def generation(self) -> Generation:
        """Refuse.

        Raises:
            WorkersUnavailableError: Always.
        """
        _refuse()

    def share(self, bars: Sequence[Bars]) -> SharedBars:  # noqa: ARG002 - the Protocol's
        """Refuse.

        Raises:
            WorkersUnavailableError: Always.
        """
        _refuse()

    async def describe_engine(self) -> EngineDescription:
        """Refuse.

        Raises:
            WorkersUnavailableError: Always.
        """
        _refuse()

    async def loaded_sources(self) -> Sequence[LoadedSource]:
        """Refuse.

        Raises:
            WorkersUnavailableError: Always.
        """
        _refuse()

    def submit(
        self,
        plan: BacktestPlan,  # noqa: ARG002 - the Protocol's
        indices: NDArray[np.int64],  # noqa: ARG002
        *,
        backtest_timeout: float,  # noqa: ARG002
        on_outcomes: OutcomeListener,  # noqa: ARG002
        generation: Generation | None = None,  # noqa: ARG002
        bars: SharedBars | None = None,  # noqa: ARG002
    ) -> RunningWorkload:
        """Refuse.

        Raises:
            WorkersUnavailableError: Always.
        """
        _refuse()

    def reload(self) -> None:
        """Load nothing: there is nobody to run it."""


def _refuse() -> NoReturn:
    raise WorkersUnavailableError("this server only reads what is kept, and runs nothing")
