"""Ctrl-C while an optimization runs: the first stops the work, a later one ends the command."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType

INTERRUPTED = "interrupted by Ctrl-C"
"""The reason that is kept."""
_SAME_PRESS_SECONDS = 0.5
"""Terminals and the programs around this one send one press twice."""


@contextmanager
def stopping_on_interrupt(
    stop: Callable[[], bool], can_stop: Callable[[], bool] = lambda: True
) -> Iterator[None]:
    """Let the first Ctrl-C of a block stop what runs, so that the block goes on to its end.

    Another one, half a second or more later, is a KeyboardInterrupt as anywhere else.

    Args:
        stop: Stops what runs; called once, from another thread. Where it returns False, what runs
            does not end by that, and the block is left at once.
        can_stop: Asked at a Ctrl-C; where there is nothing to stop, it is a KeyboardInterrupt.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:  # as of a command behind nohup or &
        yield
        return
    presses: SimpleQueue[bool] = SimpleQueue()  # may be filled by a signal's handler
    main_thread = threading.get_ident()
    first_time: float | None = None
    ends_by_itself = True

    def press(_number: int, _frame: FrameType | None) -> None:
        nonlocal first_time
        now = time.monotonic()
        if first_time is None and can_stop():
            first_time = now
            presses.put(True)
        elif not ends_by_itself or first_time is None or now - first_time >= _SAME_PRESS_SECONDS:
            raise KeyboardInterrupt

    def wait() -> None:
        nonlocal ends_by_itself
        if presses.get():
            ends_by_itself = stop()
            if not ends_by_itself:
                # A real one: it interrupts what the main thread waits for.
                signal.pthread_kill(main_thread, signal.SIGINT)

    # gRPC and rich take locks that the interrupted thread may hold.
    thread = threading.Thread(target=wait, name="interrupts", daemon=True)
    thread.start()
    signal.signal(signal.SIGINT, press)
    try:
        yield
    finally:
        presses.put(False)
        thread.join()
        signal.signal(signal.SIGINT, before)
