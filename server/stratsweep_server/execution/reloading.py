"""Load engine and strategies anew.

A worker that runs nothing does it first, so that what is wrong with them disturbs nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from stratsweep_server.execution import messages
from stratsweep_server.execution.generation import Generation
from stratsweep_server.execution.launcher import Launcher
from stratsweep_server.execution.messages import MalformedMessageError, MessageKind

logger = logging.getLogger(__name__)


class Reloader:
    """Load a new generation when asked to, one at a time.

    Requests that come together are one; those that come while one is loaded make one more.

    Args:
        new_trial: Makes the trial of a new generation.
        adopt: Called with a generation that has been loaded.
    """

    def __init__(self, new_trial: Callable[[], Trial], adopt: Callable[[Generation], None]) -> None:
        self._new_trial = new_trial
        self._adopt = adopt
        self._trial: Trial | None = None
        self._is_wanted = asyncio.Event()
        self._is_closing = False

    def request(self) -> None:
        """Ask for a new generation, and return at once."""
        self._is_wanted.set()

    async def run(self) -> None:
        """Serve requests until `close`."""
        while True:
            await self._is_wanted.wait()
            if self._is_closing:
                return
            self._is_wanted.clear()
            await self._load()

    def close(self) -> None:
        """Make `run` end."""
        self._is_closing = True
        self._is_wanted.set()
        if self._trial is not None:
            self._trial.close()

    async def _load(self) -> None:
        logger.info("loading engine and strategies anew")
        try:
            trial = self._trial = self._new_trial()
            obstacle = await trial.run()
        except Exception as error:  # as in `Slot.supervise`
            obstacle = f"the worker process could not be started: {error!r}"
        if self._is_closing:
            return
        if obstacle:
            first_line, _, traceback = obstacle.partition("\n")
            logger.error(
                "they cannot be loaded, and nothing changes: %s",
                first_line,
                extra={"traceback": traceback} if traceback else None,
            )
        else:
            self._adopt(trial.generation)


class Trial:
    """Load a generation in an extra worker, beside those that run backtests.

    Args:
        generation: What to load.
        launcher: Starts and reaps the worker.
        start_timeout: Seconds that it may take.

    Attributes:
        generation: What to load.
    """

    def __init__(self, generation: Generation, launcher: Launcher, start_timeout: float) -> None:
        self.generation = generation
        self._launcher = launcher
        self._start_timeout = start_timeout
        self._obstacle: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._exited = asyncio.Event()

    async def run(self) -> str:
        """Load the generation. Returns why that is not possible; empty where it is.

        Raises:
            Exception: The worker cannot be started.
        """
        worker = await self._launcher.start(self.generation.copies)
        worker.attach(self._on_message, self._on_malformed, self._on_exit)
        timer = asyncio.get_running_loop().call_later(
            self._start_timeout,
            self._conclude,
            f"the worker process was not ready after {self._start_timeout:g} s",
        )
        obstacle = await self._obstacle
        timer.cancel()
        worker.kill()
        await self._exited.wait()
        worker.detach()
        end = await self._launcher.reap(worker)
        return f"the worker process {end}" if obstacle is None else obstacle

    def close(self) -> None:
        """Stop waiting for the worker."""
        self._conclude("the worker pool was closed")

    def _on_message(self, kind: MessageKind, body: bytes) -> None:
        if self._obstacle.done():
            return
        if kind is MessageKind.READY:
            loaded = messages.decode_ready(body)
            self._conclude(self.generation.admit(loaded, self.generation.copies))
        else:
            self._conclude(body.decode(errors="replace").strip())

    def _on_malformed(self, error: MalformedMessageError) -> None:
        self._conclude(f"the worker process sent something that is no message: {error}")

    def _on_exit(self) -> None:
        self._exited.set()
        self._conclude(None)

    def _conclude(self, obstacle: str | None) -> None:
        if not self._obstacle.done():
            self._obstacle.set_result(obstacle)
