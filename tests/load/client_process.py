"""`python -m tests.load.client_process ADDRESS SEED SECONDS COMBINATIONS KIND=COUNT…`

One process of clients; prints its tally as one line of JSON.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from contextlib import AsyncExitStack

from tests.load.clients import connected
from tests.load.tally import Tally

PATIENCE_SECONDS = 90.0
"""How long streams that were begun may take to end after the time is over."""


async def run(
    address: str, seed: int, duration: float, combinations: int, kinds: dict[str, int]
) -> Tally:
    """Let `kinds` (method of `Client` to number of clients) act for `duration` seconds."""
    tally = Tally()
    end = time.monotonic() + duration
    async with AsyncExitStack() as stack:
        actions = []
        for kind, count in kinds.items():
            for number in range(count):
                generator = random.Random(f"{seed} {kind} {number}")
                client = await stack.enter_async_context(
                    connected(address, tally, generator, combinations, end)
                )
                actions.append(asyncio.create_task(getattr(client, kind)(), name=kind))
        done, stuck = await asyncio.wait(actions, timeout=duration + PATIENCE_SECONDS)
        tally.violate(f"a client of kind {task.get_name()} never ended" for task in stuck)
        for task in stuck:
            task.cancel()
        for task in done:
            if (error := task.exception()) is not None:
                tally.violate([f"a client of kind {task.get_name()} failed: {error!r}"])
    return tally


def main() -> None:
    """Read the arguments, run, report."""
    address, seed, duration, combinations, *pairs = sys.argv[1:]
    kinds = {kind: int(count) for kind, _, count in (pair.partition("=") for pair in pairs)}
    print(asyncio.run(run(address, int(seed), float(duration), int(combinations), kinds)).to_json())


if __name__ == "__main__":
    main()
