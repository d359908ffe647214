"""What a server still holds when the load is gone, and what it leaves when it has ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

from tests.load.processes import Usage, usage
from tests.load.server_program import ServerProgram
from tests.waiting import is_alive

_PAUSE_SECONDS = 0.25
_STEADY_LOOKS = 4
_SETTLE_SECONDS = 15.0
_IDLE_SECONDS = 2.0
_IDLE_SHARE = 0.01
"""Of one core: below it a server counts as idle."""


async def warmed_up(server: ServerProgram) -> Usage:
    """What a server holds once that changes no more."""
    last, count = usage(server.pid), 0
    while count < _STEADY_LOOKS:
        await asyncio.sleep(_PAUSE_SECONDS)
        now = usage(server.pid)
        is_same = (now.pids, now.descriptors) == (last.pids, last.descriptors)
        last, count = now, count + 1 if is_same else 0
    return last


async def settled(server: ServerProgram, before: Usage) -> Usage:
    """What the server holds once it has let go of everything, or when patience is over."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while True:
        await asyncio.sleep(_PAUSE_SECONDS)
        now = usage(server.pid)
        if not leaks(before, now) or time.monotonic() > deadline:
            return now


def leaks(before: Usage, after: Usage) -> list[str]:
    """What a server holds that it did not hold before, in words."""
    found = []
    if len(after.pids) != len(before.pids):
        found.append(f"{len(after.pids)} processes below the server, {len(before.pids)} before")
    if after.zombies:
        found.append(f"{len(after.zombies)} zombies below the server")
    if after.descriptors.total() > before.descriptors.total():
        found.append(
            f"{after.descriptors.total()} open descriptors, {before.descriptors.total()} before; "
            f"there are more of {dict(after.descriptors - before.descriptors)}"
        )
    return found


async def idle_share(server: ServerProgram) -> float:
    """Cores that server and workers use when left alone, once replaced workers have started."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while True:
        before = usage(server.pid)
        await asyncio.sleep(_IDLE_SECONDS)
        used = usage(server.pid).cpu_seconds - before.cpu_seconds
        if used <= _IDLE_SHARE * _IDLE_SECONDS or time.monotonic() > deadline:
            return used / _IDLE_SECONDS


def idle_violations(share: float) -> list[str]:
    """Whether a share of a core is more than an idle server may use, in words."""
    return [f"idle, it uses {share:.1%} of a core"] if share > _IDLE_SHARE else []


async def left_over(server: ServerProgram, pids: Collection[int]) -> list[str]:
    """What a server that has ended left behind, in words.

    Args:
        server: It has ended.
        pids: The processes that it had.
    """
    found = []
    deadline = time.monotonic() + 5.0
    while left := [pid for pid in pids if is_alive(pid)]:
        if time.monotonic() > deadline:
            found.append(f"{len(left)} of its processes outlived it")
            break
        await asyncio.sleep(0.05)
    if files := sorted(path.name for path in server.scratch.iterdir()):
        found.append(f"it left files: {', '.join(files)}")
    return found
