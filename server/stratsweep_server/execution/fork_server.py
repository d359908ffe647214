"""Start the process that workers are forked from, so that what it imports is there when they start.

The server program starts it before it imports anything heavy itself, so that both get ready side
by side. That is why this module imports next to nothing.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, process, resource_tracker, util
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from stratsweep_server.execution.run_directory import RunDirectory
from stratsweep_server.execution.signals import held_signals

# What every worker needs: to import it again in each would be most of the time of its start.
_PRELOAD = (
    "concurrent.futures.process",
    "numpy.random",
    "stratsweep_server.execution.fork_server_setup",
    "stratsweep_server.execution.carrier",
    "stratsweep_server.execution.worker",
)
DEFAULT_ENGINE_PRELOAD = "stratsweep_server.backtest.default.preload"
"""The one engine that may be imported once for all workers: ours, since it starts no thread."""

_LAST_PRELOAD = "stratsweep_server.backtest.preloaded_inputs"

# The name of a socket has room for 107 characters.
_DIRECTORY_PREFIX = "ssweep-"

# Two workers with two OpenBLAS threads each took 2.9 times as long as with one.
_ONE_THREAD_EACH = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)


def default_start_method() -> str:
    """Return `forkserver` where there is one, else `spawn`; never `fork`, unsafe with threads."""
    methods = multiprocessing.get_all_start_methods()
    return "forkserver" if "forkserver" in methods and sys.platform != "darwin" else "spawn"


def start_fork_server(*, is_default_engine: bool) -> None:
    """Start this process's fork server without waiting for it; one that runs already is kept.

    Where somebody has removed its socket, nobody can ask it for a worker any more: another one is
    started, and the first stays for the workers that it has.

    It holds SIGTERM, Ctrl-C and SIGHUP back, which reach it where they are sent to the whole group:
    it ends with the last process that may ask it for a worker.

    Raises:
        OSError: It cannot be started.
    """
    engine = [DEFAULT_ENGINE_PRELOAD] if is_default_engine else []
    modules = [*_PRELOAD, *engine, _LAST_PRELOAD]
    multiprocessing.get_context("forkserver").set_forkserver_preload(modules)
    if _is_running() and _has_socket():
        return  # without a change of the environment, which no other thread should have to expect
    try:
        with held_signals():
            # First, since its start lets signals through: there is nothing yet to leave behind.
            resource_tracker.ensure_running()
        _provide_directory()
        if _is_running():
            _retire()
        with held_signals(), one_thread_each():
            forkserver.ensure_running()
    except OSError as error:
        raise OSError(f"the fork server cannot be started: {_with_place(error)}") from error
    _start.loading = _process_id()


def fork_server_has_forked() -> None:
    """Note that the fork server has loaded what it imports, for `stop_loading_fork_server`."""
    _start.loading = None


def stop_loading_fork_server() -> None:
    """Kill a fork server that `start_fork_server` started and that is still importing.

    Whoever waits for a process of it gets an EOFError. One that has forked is let alone: its
    workers would die with it, those of other pools in this process, too.
    """
    if _start.loading is not None and _start.loading == _process_id():
        with suppress(ProcessLookupError):
            os.kill(_start.loading, signal.SIGKILL)
    _start.loading = None


def fork_server_ids() -> list[int]:
    """Return the process ids of the fork servers of this process, retired ones first."""
    current = _process_id()
    return [*_start.retired, *([] if current is None else [current])]


def stop_fork_server() -> None:
    """End the fork server at once: call it at a program's end, when its workers are gone.

    By itself it would end a moment after its program, which people and programs would still see.
    """
    for process_id in fork_server_ids():
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(process_id, signal.SIGKILL)
            os.waitpid(process_id, 0)


class _Start:
    """Hold what multiprocessing does not know of the fork servers.

    Attributes:
        loading: The process id of the one that was started last, until it has forked.
        directory: Where their sockets are.
        retired: The process ids of those whose socket was lost. They end with this process, which
            has the other end of their "alive" pipes.
    """

    def __init__(self) -> None:
        self.loading: int | None = None
        self.directory: RunDirectory | None = None
        self.retired: list[int] = []


_start = _Start()


def _is_running() -> bool:
    process_id = _process_id()
    if process_id is None:
        return False
    try:  # and leave its exit code to multiprocessing
        return os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


def _provide_directory() -> None:
    """Have multiprocessing put sockets where the next server sweeps them if this one is killed."""
    if _start.directory is None:
        _start.directory = RunDirectory(prefix=_DIRECTORY_PREFIX)
        util.Finalize(None, _start.directory.close, exitpriority=-100)  # as multiprocessing's own
    # A private name, the same in CPython 3.8 to 3.14; multiprocessing would make one of its own.
    config = process.current_process()._config  # type: ignore[attr-defined]  # noqa: SLF001
    config["tempdir"] = str(_start.directory.ensure())


def _has_socket() -> bool:
    address = _state("_forkserver_address")
    return address is None or Path(address).exists()


def _retire() -> None:
    """Have multiprocessing forget the fork server, and leave it running."""
    _start.retired.append(_state("_forkserver_pid"))
    for name in ("_forkserver_address", "_forkserver_alive_fd", "_forkserver_pid"):
        setattr(forkserver._forkserver, name, None)  # noqa: SLF001


def _process_id() -> int | None:
    process_id: int | None = _state("_forkserver_pid")
    return process_id


def _state(name: str) -> Any:  # noqa: ANN401 - whatever it is
    # Private names, the same in CPython 3.11 to 3.13; where they are gone, a server that stops
    # waits for a fork server that still imports.
    return getattr(getattr(forkserver, "_forkserver", None), name, None)


def _with_place(error: OSError) -> str:
    """Say where the fork server's socket goes when its name is too long: 107 characters fit."""
    if "too long" not in str(error):
        return error.strerror or str(error)  # without a path: clients see it
    place = f"its socket goes to the directory for temporary files ({gettempdir()}, TMPDIR)"
    return f"{error}; {place}"


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Limit each numeric library to one thread in processes that are started within the block.

    Variables that the user has set win.
    """
    added = {name: value for name, value in _ONE_THREAD_EACH.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
