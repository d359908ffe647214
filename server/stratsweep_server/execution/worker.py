"""Run the worker's side: a process that builds its engine, then runs what the server sends.

The process is carried by a ProcessPoolExecutor with one worker: its initializer is `connect`, its
only call is `serve`. Everything that must arrive travels over the private socket instead of the
executor's queues, because a worker that is killed while it writes a large result there leaves the
executor's future unresolved for ever.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import sys
import traceback
from dataclasses import dataclass, replace
from multiprocessing import parent_process
from multiprocessing.connection import Connection

from stratsweep_server.backtest.generators import (
    scatter_generators,
    seed_generators_for_loading,
)
from stratsweep_server.backtest.inputs import loaded_inputs
from stratsweep_server.backtest.loading import EngineLoadError, EngineSpec, describe, load_engine
from stratsweep_server.backtest.sources import CopyPlace, SourceKeeper
from stratsweep_server.execution import messages
from stratsweep_server.execution.activity import Activity
from stratsweep_server.execution.descendants import mark_descendants
from stratsweep_server.execution.exceptions import describe_exception, format_loading_failure
from stratsweep_server.execution.fork_server import DEFAULT_ENGINE_PRELOAD
from stratsweep_server.execution.labelled_output import LabelledOutput
from stratsweep_server.execution.lifeline import die_with_server
from stratsweep_server.execution.limits import (
    WorkerLimits,
    apply_memory_limit,
    offer_to_oom_killer,
)
from stratsweep_server.execution.machine_memory import return_large_arrays
from stratsweep_server.execution.packed_engine import unpack_engine
from stratsweep_server.execution.session import Session
from stratsweep_server.execution.signals import release_signals

_INDICATOR_TABLE_BYTES = 8 * 1024 * 1024
"""What a batch needs for a moment is smaller."""
_SESSION_FAILED = 70  # EX_SOFTWARE

_connection: WorkerConnection | None = None


@dataclass(frozen=True, slots=True)
class WorkerConnection:
    """Hold a worker's ends of what connects it with its server."""

    socket: socket.socket
    activity: Activity
    packed_engine: bytes
    copies: CopyPlace
    output: LabelledOutput


def connect(
    pipe: Connection,
    output: Connection,
    words: Connection,
    packed_engine: bytes,
    copies: CopyPlace,
    copy_directory: Connection,
    limits: WorkerLimits,
) -> None:
    """Set the process up and keep the socket; this is the executor's initializer."""
    global _connection  # noqa: PLW0603 - an initializer has no other way to hand over
    os.setpgid(0, 0)  # children of a backtest are killed with it
    for number in (signal.SIGINT, signal.SIGHUP):  # they are the server's business
        signal.signal(number, signal.SIG_IGN)
    release_signals()  # the fork server holds them
    sys.excepthook = sys.__excepthook__  # the fork server has one of its own
    die_with_server()
    mark_descendants()
    labelled_output = _redirect_output(output)
    offer_to_oom_killer()
    apply_memory_limit(limits)
    return_large_arrays(_INDICATOR_TABLE_BYTES)
    server = socket.socket(fileno=os.dup(pipe.fileno()))
    pipe.close()
    activity = Activity(words.fileno())
    words.close()
    copies = replace(copies, directory=os.dup(copy_directory.fileno()))
    copy_directory.close()
    _connection = WorkerConnection(server, activity, packed_engine, copies, labelled_output)


def _redirect_output(output: Connection) -> LabelledOutput:
    """Send what is printed, and the interpreter's last words in a crash, to the server's log."""
    for descriptor in (1, 2):
        os.dup2(output.fileno(), descriptor)
    output.close()
    faulthandler.enable(file=2)
    labelled_output = LabelledOutput()
    labelled_output.install()
    return labelled_output


def serve() -> None:
    """Build the engine, then run chunks until the server hangs up; the executor's only call."""
    connection = _connection
    if connection is None:
        raise RuntimeError("the worker was not connected")
    try:
        seed_generators_for_loading()
        keeper = SourceKeeper(connection.copies)
        keeper.install()
        spec = unpack_engine(connection.packed_engine)
        _warn_unless_preloaded(spec)
        engine = load_engine(spec)
        description = describe(engine)
        later = keeper.keep_late_imports()
        sources = keeper.sources()
        inputs = loaded_inputs(sources, later)
        ready = messages.encode_ready(messages.Loaded(description, sources, inputs))
        scatter_generators()
    except EngineLoadError as error:
        # Its text says what to change; only the traceback of the user's own code adds to that.
        cause = "" if error.__cause__ is None else f"\n{format_loading_failure(error.__cause__)}"
        text = " ".join(str(error).split()) + cause
        connection.socket.sendall(messages.encode_start_failed(text))
        return
    except BaseException as error:
        text = f"{describe_exception(error)}\n{format_loading_failure(error)}"
        connection.socket.sendall(messages.encode_start_failed(text))
        return
    connection.socket.sendall(ready)
    try:
        session = Session(connection.socket, connection.activity, engine)
        connection.output.label = session.running_combination
        session.run()
    except BaseException:  # the executor would swallow it and the process would live on, deaf
        traceback.print_exc()
        os._exit(_SESSION_FAILED)


def _warn_unless_preloaded(engine: EngineSpec) -> None:
    # The fork server swallows ImportErrors: without this, workers would just start slowly.
    server = parent_process()
    is_forked = server is not None and server.pid != os.getppid()
    if is_forked and engine.is_default and DEFAULT_ENGINE_PRELOAD not in sys.modules:
        print(f"not preloaded: {DEFAULT_ENGINE_PRELOAD}; workers start slowly", file=sys.stderr)  # noqa: T201
