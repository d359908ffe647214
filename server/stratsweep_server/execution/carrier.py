"""Make an executor nothing but the carrier of one process, by cutting its way back off.

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
    """Replace the queue of an executor's results by one whose end in the worker leads nowhere.

    Nothing of ours travels here, but a backtest may write to any descriptor it finds. The executor
    would unpickle what arrives, or wait for the rest of it for ever.
    """

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401 - the base class's own
        super().__setstate__(state)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._writer.fileno())  # type: ignore[attr-defined]
        os.close(nowhere)


class CarrierContext:
    """Wrap a multiprocessing context: mute its executor and remember the process that it made."""

    def __init__(self, context: BaseContext) -> None:
        self._context = context
        self.process: BaseProcess | None = None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - every attribute of a context
        return getattr(self._context, name)

    def SimpleQueue(self) -> MuteQueue:  # noqa: N802 - the name in multiprocessing
        """Make a queue that the worker cannot write to."""
        return MuteQueue(ctx=self._context)

    def Process(self, *args: Any, **kwargs: Any) -> BaseProcess:  # noqa: ANN401, N802
        """Make, and remember, a process that does not import the main module."""
        self.process = MAINLESS_PROCESSES[self._context.get_start_method()](*args, **kwargs)
        return self.process
