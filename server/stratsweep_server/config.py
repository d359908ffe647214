"""Collect everything that can be set about a server in one frozen place, ServerConfig."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stratsweep_server.backtest.loading import DEFAULT_ENGINE
from stratsweep_server.execution.limits import WorkerLimits
from stratsweep_server.execution.pool import NO_LIMITS, START_TIMEOUT_SECONDS
from stratsweep_server.market_data.bars import UTC
from stratsweep_server.optimization.limits import DEFAULT_MAX_COMBINATIONS
from stratsweep_server.optimization.places import DEFAULT_MAX_OPTIMIZATIONS, DEFAULT_MAX_QUEUED

DEFAULT_LISTEN = "127.0.0.1:50051"
DEFAULT_GRACE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Hold the settings with which a server runs.

    Attributes:
        listen: `host:port` (port 0: a free one) or `unix:PATH`.
        workers: Worker processes; None: the CPUs that this process may use.
        data: The directory of price files; None without.
        timezone: IANA name of the zone of times in price files that have none, where neither a
            request nor the directory says one.
        engine: "default", "module:factory" or "file.py:factory".
        strategies: Modules that register strategies with the default engine: names, or paths of
            files.
        max_combinations: The largest grid accepted, before constraints.
        max_optimizations: How many may run at a time.
        max_queued: How many may wait until others have ended; beyond that they are refused.
        max_memory: Megabytes that running optimizations may hold together; None: half of what this
            machine has, or the container around it.
        state: The directory in which optimizations are kept, "none" to keep nothing beyond the
            process, empty for the default one.
        is_private: Serves one command, which can do without a place to keep optimizations; what
            other servers have left is none of its business.
        is_read_only: Has no workers: answers what is asked about optimizations that are kept.
        retain_days: For how many days an optimization is kept after it has ended.
        retain_gigabytes: How much all that is kept may take; the oldest go first.
        scratch: Where shared bars go while an optimization runs; None: the system's temporary
            directory.
        start_timeout: Seconds that a worker may take to be ready.
        worker_limits: What each worker may use, and when it is replaced.
        grace: Seconds that running optimizations get when the server is asked to stop.
        exit_on_stdin_eof: Stop when standard input ends, so that a server started by a program
            never outlives it.
    """

    listen: str = DEFAULT_LISTEN
    workers: int | None = None
    data: Path | None = None
    timezone: str = UTC
    engine: str = DEFAULT_ENGINE
    strategies: tuple[str, ...] = ()
    max_combinations: int = DEFAULT_MAX_COMBINATIONS
    max_optimizations: int = DEFAULT_MAX_OPTIMIZATIONS
    max_queued: int = DEFAULT_MAX_QUEUED
    max_memory: int | None = None
    state: str = ""
    is_private: bool = False
    is_read_only: bool = False
    retain_days: int = 90
    retain_gigabytes: int = 10
    scratch: Path | None = None
    start_timeout: float = START_TIMEOUT_SECONDS
    worker_limits: WorkerLimits = NO_LIMITS
    grace: float = DEFAULT_GRACE_SECONDS
    exit_on_stdin_eof: bool = False
