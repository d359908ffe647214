"""What makes an executor nothing but the carrier of one process: its way back is cut off.

A worker unpickles these classes when it starts, so this module imports little.
"""

from __future__ import annotations

import os
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from typing import Any

from stratsweep_server.execution.mainless import MAINLESS_PROCESSES


class MuteQueue(SimpleQueue[Any]):
    """The executor's way back from its worker, with the worker's end cut off.

    Nothing of ours travels here, but a backtest may write to any descriptor it finds. The executor
    would unpickle what arrives, or wait for the rest of it for ever.
    """

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401 - the base class's own
        super().__setstate__(state)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._writer.fileno())  # type: ignore[attr-defined]
        os.close(nowhere)


class CarrierContext:
    """A multiprocessing context that mutes the executor and remembers the process it made."""

    def __init__(self, context: BaseContext) -> None:
        self._context = context
        self.process: BaseProcess | None = None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - every attribute of a context
        return getattr(self._context, name)

    def SimpleQueue(self) -> MuteQueue:  # noqa: N802 - the name in multiprocessing
        """A queue that the worker cannot write to."""
        return MuteQueue(ctx=self._context)

    def Process(self, *args: Any, **kwargs: Any) -> BaseProcess:  # noqa: ANN401, N802
        """A process that does not import the main module, remembered."""
        self.process = MAINLESS_PROCESSES[self._context.get_start_method()](*args, **kwargs)
        return self.process
