"""Limit what a worker may use, and tell when it is replaced although it did nothing wrong."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """Hold the limits of each worker; None means no limit.

    Attributes:
        memory_bytes: Memory of its own (data and private mappings; shared bars do not count) beyond
            which allocations fail: the backtest gets a MemoryError or crashes. Linux only.
        max_backtests: Backtests after which it is replaced, at the end of a chunk.
        max_memory_growth_bytes: Growth of its resident memory since its first chunk beyond which it
            is replaced, at the end of a chunk. Linux only.
    """

    memory_bytes: int | None = None
    max_backtests: int | None = None
    max_memory_growth_bytes: int | None = None


def apply_memory_limit(limits: WorkerLimits) -> None:
    """Make the allocations of this process, a worker, fail beyond its memory limit (Linux)."""
    if limits.memory_bytes is not None and sys.platform == "linux":
        import resource  # noqa: PLC0415 - there is none on some platforms

        # Not RLIMIT_AS: it counts memory maps, the shared bars among them.
        resource.setrlimit(resource.RLIMIT_DATA, (limits.memory_bytes, limits.memory_bytes))


def offer_to_oom_killer() -> None:
    """Have Linux kill this process, a worker, before the server when memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


@dataclass(slots=True)
class WorkerUsage:
    """Count what a worker has used since it was ready.

    Attributes:
        backtest_count: Backtests that it ran.
        first_resident_bytes: Its resident memory when it was first looked at.
    """

    backtest_count: int = 0
    first_resident_bytes: int | None = None

    def exceeds(self, limits: WorkerLimits, pid: int) -> bool:
        """Return whether it is time for a fresh worker; called between chunks."""
        if limits.max_backtests is not None and self.backtest_count >= limits.max_backtests:
            return True
        if limits.max_memory_growth_bytes is None:
            return False
        resident = resident_bytes(pid)
        if resident is None:
            return False
        if self.first_resident_bytes is None:
            self.first_resident_bytes = resident
        return resident - self.first_resident_bytes > limits.max_memory_growth_bytes


def resident_bytes(pid: int) -> int | None:
    """Return a process's resident memory, private and shared; None where it cannot be read."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
