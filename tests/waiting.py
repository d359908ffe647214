"""Waiting for a state instead of sleeping for a time."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

GENEROUS_SECONDS = 30.0


async def until(condition: Callable[[], bool], what: str) -> None:
    """Look again and again until a condition holds; fail after a generous time."""
    deadline = time.monotonic() + GENEROUS_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"never happened: {what}")
        await asyncio.sleep(0.005)


def is_alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone, or going while it is read
        return not Path("/proc").is_dir()
