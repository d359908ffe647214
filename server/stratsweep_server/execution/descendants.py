"""Find and kill what a worker started, and what that started, even when it got away (Linux).

A process that begins a session of its own leaves its worker's process group, and one whose parent
ends is nobody's child. But all that a worker starts inherits a mark, which is a resource limit that
limits nothing: the time that real-time scheduling may take without a pause, of days. And when a
parent ends, the fork server adopts its children (`fork_server_setup`): so whatever dead workers
left is below it, marked with the number of its worker.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_FIRST_MARK = 1 << 40  # microseconds: 12 days
_PASSES = 50
_PAUSE_SECONDS = 0.002


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose own parent ends (on Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def mark_descendants() -> None:
    """Mark this process, a worker, and all that it will start, unless a limit is in the way."""
    if sys.platform == "linux":
        import resource  # noqa: PLC0415 - there is none on some platforms

        _, most = resource.getrlimit(resource.RLIMIT_RTTIME)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_RTTIME, (_FIRST_MARK + os.getpid(), most))


def end_descendants(worker: int, adopters: Iterable[int]) -> None:
    """Kill what a worker that is gone left behind; takes milliseconds, if there is anything.

    Args:
        worker: Its process id.
        adopters: The processes that adopt what it left.
    """
    _end(adopters, lambda mark: mark == _FIRST_MARK + worker)


def end_all_descendants(adopter: int) -> None:
    """Kill all workers below a process, and what they and those before them started."""
    _end([adopter], lambda mark: mark >= _FIRST_MARK)


def _end(adopters: Iterable[int], is_meant: Callable[[int], bool]) -> None:
    # Several passes: what is killed leaves children, and may have started more of them meanwhile.
    for _ in range(_PASSES):
        found = [
            child
            for adopter in adopters
            for child in _children_of(adopter)
            if is_meant(_mark_of(child))
        ]
        if not found:
            return
        for child in found:
            _kill_tree(child)
        time.sleep(_PAUSE_SECONDS)


def _kill_tree(root: int) -> None:
    tree = [root]
    for process in tree:  # which grows
        _send(process, signal.SIGSTOP)  # so that it starts no more while its children are sought
        tree += _children_of(process)
    for process in tree:
        _send(process, signal.SIGKILL)


def _send(process: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(process, number)


def _children_of(process: int) -> list[int]:
    """Return the children of a process, of each of its threads; none where it is gone."""
    children: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            with contextlib.suppress(OSError):  # a thread that has just ended
                children += map(int, (thread / "children").read_text().split())
    return children


def _mark_of(process: int) -> int:
    import resource  # noqa: PLC0415 - as above

    try:
        mark, _ = resource.prlimit(process, resource.RLIMIT_RTTIME)
    except (ProcessLookupError, PermissionError):
        return 0
    return mark
