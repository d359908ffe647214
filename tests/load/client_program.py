"""A process of clients, started by the test that needs it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping

from tests.load.client_process import PATIENCE_SECONDS
from tests.load.server_program import ROOT
from tests.load.tally import Tally


async def tally_of(
    address: str, duration: float, combinations: int, kinds: Mapping[str, int], seed: int
) -> Tally:
    """Run one process of clients to its end.

    Args:
        address: Of the server.
        duration: Seconds in which calls are begun.
        combinations: The size of the larger optimizations.
        kinds: How many clients of which kind, by the name of the method of `clients.Client`.
        seed: Of their choices.

    Raises:
        RuntimeError: The process failed.
    """
    process = await start_clients(address, duration, combinations, kinds, seed)
    try:
        async with asyncio.timeout(duration + PATIENCE_SECONDS + 30):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise RuntimeError(f"a client process ended with {process.returncode}")
    return Tally.from_json(output.decode())


async def start_clients(
    address: str, duration: float, combinations: int, kinds: Mapping[str, int], seed: int
) -> asyncio.subprocess.Process:
    """Start one process of clients; the arguments are those of `tally_of`."""
    pairs = [f"{kind}={count}" for kind, count in kinds.items()]
    numbers = (str(seed), str(duration), str(combinations))
    command = ("-m", "tests.load.client_process", address, *numbers, *pairs)
    return await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=subprocess.PIPE, cwd=ROOT
    )
