"""Make sure that workers never outlive their server, however it ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from multiprocessing import forkserver, parent_process
from multiprocessing.connection import wait

_PR_SET_PDEATHSIG = 1


def die_with_server() -> None:
    """Make this process, a worker, die by SIGKILL as soon as the server process is gone.

    On Linux the kernel does it, even while C code holds the interpreter lock. The signal is bound
    to the direct parent. With the spawn method that is the server (and there the signal also fires
    when the thread that started the worker ends, so the pool starts workers from a permanent one).
    With forkserver it is the fork server, which ends when the last copy of its "alive" pipe is
    closed; each worker inherits a copy and has to close it. Elsewhere a thread waits for the server
    to end.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        _close_inherited_alive_pipe()  # after prctl: from here on the fork server may end
    threading.Thread(target=_exit_after_server, name="lifeline", daemon=True).start()


def _close_inherited_alive_pipe() -> None:
    # A private name, the same in CPython 3.11 to 3.13; where it is gone, the thread still works.
    state = getattr(forkserver, "_forkserver", None)
    alive_fd = getattr(state, "_forkserver_alive_fd", None)
    if alive_fd is not None:
        os.close(alive_fd)
        state._forkserver_alive_fd = None  # type: ignore[union-attr]  # noqa: SLF001


def _exit_after_server() -> None:
    server = parent_process()
    if server is not None:
        wait([server.sentinel])
    os.kill(os.getpid(), signal.SIGKILL)
