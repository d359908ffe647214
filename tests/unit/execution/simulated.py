"""Workers without processes: they do at once, on the event loop, what a test decides."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from enum import Enum

import numpy as np
from stratsweep_server.backtest import EngineDescription
from stratsweep_server.backtest.sources import CopyPlace, ModuleSource
from stratsweep_server.execution import messages
from stratsweep_server.execution.activity import Running
from stratsweep_server.execution.messages import FrameReader, Loaded, MessageKind

Fate = Enum("Fate", ["SUCCEED", "RAISE", "DIE", "HANG"])


class SimulatedActivity:
    """The shared words; a test may write anything into them."""

    def __init__(self) -> None:
        self.words: Running | None = None

    def running(self) -> Running | None:
        return self.words


class SimulatedWorker:
    """Follows `WorkerProcess`; fails the test where a real one would use a closed descriptor."""

    def __init__(
        self,
        pid: int,
        fate_of: Callable[[int], Fate],
        *,
        is_ready: bool = True,
        start_failure: str = "",
        takes_batches: bool = False,
        sources: Sequence[ModuleSource] = (),
    ) -> None:
        self.pid = pid
        self.activity = SimulatedActivity()
        self.is_detached = False
        self.is_dead = False
        self.is_stuck = False
        self.copies: CopyPlace | None = None
        self.received: list[MessageKind] = []
        self.plans: set[int] = set()
        self.last_message = b""
        self._fate_of = fate_of
        self._is_ready = is_ready
        self._start_failure = start_failure
        self._takes_batches = takes_batches
        self._sources = sources
        self._loop = asyncio.get_running_loop()

    def attach(self, on_message, on_malformed, on_exit) -> None:
        self.say, self._on_malformed, self._on_exit = on_message, on_malformed, on_exit
        if self._start_failure:
            self._loop.call_soon(self.fail_to_start, self._start_failure)
        elif self._is_ready:
            self._loop.call_soon(self.become_ready)

    def fail_to_start(self, cause: str) -> None:
        frame = messages.encode_start_failed(cause)
        self.say(MessageKind.START_FAILED, frame[5:])

    def become_ready(self) -> None:
        frame = messages.encode_ready(Loaded(EngineDescription(), tuple(self._sources)))
        self.say(MessageKind.READY, frame[5:])

    def send(self, data: bytes, descriptor: int | None = None) -> None:
        assert not self.is_detached, "sent to a closed socket"
        if self.is_dead:
            return
        for kind, body in FrameReader().feed(data):
            self.received.append(kind)
            if kind is MessageKind.CHUNK:
                self.plans.add(messages.decode_chunk(body)[0])
                self._loop.call_soon(self._run, *messages.decode_chunk(body)[1:])

    def kill(self) -> None:
        assert not self.is_detached, "killed through a closed descriptor"
        self.die()

    def die(self) -> None:
        if not self.is_dead:
            self.is_dead = True
            self._loop.call_soon(self._on_exit)

    def detach(self) -> None:
        assert not self.is_detached
        if self.last_message:
            self.say(MessageKind.OUTCOMES, self.last_message)
        self.is_detached = True

    def last_words(self) -> str:
        return ""

    def _run(self, chunk_id: int, indices: np.ndarray, apart: bool) -> None:
        fates = []
        for index in indices.tolist():
            if self.is_dead or self.is_stuck:
                return
            fates.append(self._fate_of(index))
            if fates[-1] in (Fate.DIE, Fate.HANG):
                break
        *done, last = fates
        if last not in (Fate.DIE, Fate.HANG):
            self._answer(chunk_id, 0, fates)
            return
        self.is_stuck = True
        is_batch = self._takes_batches and len(indices) > 1 and not apart
        place = None if is_batch else len(done)
        self.activity.words = Running(chunk_id, place, time.monotonic())
        if not is_batch:
            self._answer(chunk_id, 0, done)
        if last is Fate.DIE:
            self.die()

    def _answer(self, chunk_id: int, offset: int, fates: list[Fate]) -> None:
        if fates:
            self.say(MessageKind.OUTCOMES, outcomes_body(chunk_id, offset, fates))


def outcomes_body(chunk_id: int, offset: int, fates: list[Fate]) -> bytes:
    """The body of an OUTCOMES frame."""
    table = np.array([[1.0 if fate is Fate.SUCCEED else math.nan] for fate in fates])
    failures = [(row, "raised", "") for row, fate in enumerate(fates) if fate is Fate.RAISE]
    frame = messages.encode_outcomes(
        chunk_id, offset, 1e-4 * len(fates), [1e-4] * len(fates), ["score"], table, failures
    )
    return frame[5:]


class SimulatedLauncher:
    """Follows `Launcher`. `may_start` and `may_reap` hold starts and the reaping of the dead up.

    Args:
        fate_of: What becomes of a combination index.
        start: Makes the worker with this number, or raises; default: one that works.
    """

    def __init__(
        self,
        fate_of: Callable[[int], Fate] = lambda index: Fate.SUCCEED,
        start: Callable[[int], SimulatedWorker] | None = None,
    ) -> None:
        self.workers: list[SimulatedWorker] = []
        self.may_start = asyncio.Event()
        self.may_start.set()
        self.may_reap = asyncio.Event()
        self.may_reap.set()
        self.exit_words = "exited with code 3"
        self.start_count = 0
        self._start = start or (lambda number: SimulatedWorker(number, fate_of))

    async def start(self, copies: CopyPlace) -> SimulatedWorker:
        await asyncio.sleep(0)
        self.start_count += 1
        if not self.may_start.is_set():
            await self.may_start.wait()
            raise EOFError
        worker = self._start(self.start_count)
        worker.copies = copies
        self.workers.append(worker)
        return worker

    async def reap(self, worker: SimulatedWorker) -> str:
        assert worker.is_dead
        await self.may_reap.wait()
        return self.exit_words

    def stop_starting(self) -> None:
        self.may_start.set()

    def close(self) -> None:
        assert all(worker.is_detached for worker in self.workers)
