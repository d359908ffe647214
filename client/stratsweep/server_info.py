"""What a server says of itself: its versions, its engine, and what it takes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """Describe a server: its versions, its engine, and what it takes.

    Attributes:
        server_version: The version of the package that it is from, such as "0.1.0".
        contract_version: The version of the contract that it has, MAJOR.MINOR, such as "1.1".
        engine: The name of its backtest engine: "default", or "module:factory".
        worker_count: The number of its worker processes.
        max_combinations: The largest grid that it takes, before constraints.
        max_optimizations: How many optimizations may run at a time; more are refused by
            `ServerBusyError`.
        uptime: Time since it began to serve.
    """

    server_version: str
    contract_version: str
    engine: str
    worker_count: int
    max_combinations: int
    max_optimizations: int
    uptime: timedelta
