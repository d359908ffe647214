"""The most memory that a server, its workers, and single calls took."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.load.processes import descendants, peak_bytes, reset_peak, resident_bytes

_PAUSE_SECONDS = 0.2
_MAX_SERVER_MEMORY = 2**30
_MAX_WORKER_MEMORY = 2**30
_GONE = (FileNotFoundError, ProcessLookupError, RuntimeError)
"""What reading about a process raises when it has ended."""


@dataclass(slots=True)
class MemoryWatch:
    """Looks at a server again and again.

    Attributes:
        pid: Of the server.
        server_peak: Bytes.
        worker_peak: Bytes, of the largest process below the server.
        call_peak: Bytes that the server took for one call, at most.
    """

    pid: int
    server_peak: int = 0
    worker_peak: int = 0
    call_peak: int = 0

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(_PAUSE_SECONDS)

    def look(self) -> None:
        """Look once."""
        self.server_peak = max(self.server_peak, _peak(self.pid))
        self.worker_peak = max([self.worker_peak, *map(_peak, descendants(self.pid))])

    def violations(self) -> Iterator[str]:
        """Whether a peak was more than a server may take, in words."""
        for name, peak, limit in (
            ("the server", self.server_peak, _MAX_SERVER_MEMORY),
            ("a worker", self.worker_peak, _MAX_WORKER_MEMORY),
        ):
            if peak > limit:
                yield f"{name} took {peak / 2**20:,.0f} MiB at its peak"

    def rows(self) -> list[tuple[str, str]]:
        """For a report."""
        return [
            ("server memory at its peak", f"{self.server_peak / 2**20:,.0f} MiB"),
            ("the largest worker's", f"{self.worker_peak / 2**20:,.0f} MiB"),
        ]

    @contextmanager
    def cost(self) -> Iterator[list[int]]:
        """Measure what the server takes in the meantime: bytes, added to the list at the end."""
        taken: list[int] = []
        before = 0
        with contextlib.suppress(*_GONE):
            self.look()
            before = resident_bytes(self.pid)
            reset_peak(self.pid)
        yield taken
        taken.append(max(_peak(self.pid) - before, 0))
        self.look()
        self.call_peak = max(self.call_peak, taken[0])


def _peak(pid: int) -> int:
    with contextlib.suppress(*_GONE):
        return peak_bytes(pid)
    return 0
