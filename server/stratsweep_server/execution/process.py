"""Start, talk to and kill one worker process from the server, and tell how it ended.

The process is carried by a ProcessPoolExecutor with a single worker, so that it can be killed and
replaced without touching any other. Starting and reaping block for milliseconds, so each runs on a
thread of the launcher (a permanent one because, with the spawn method, a worker's parent-death
signal is bound to the thread that started it).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import process
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import cast

from stratsweep_server.backtest.sources import CopyPlace
from stratsweep_server.execution import worker
from stratsweep_server.execution.activity import Activity, shared_words
from stratsweep_server.execution.carrier import CarrierContext
from stratsweep_server.execution.limits import WorkerLimits
from stratsweep_server.execution.messages import FrameReader, MalformedMessageError, MessageKind
from stratsweep_server.execution.output import LAST_WORDS, WorkerOutput

logger = logging.getLogger(__name__)
output_logger = logging.getLogger("stratsweep_server.worker_output")

_RECEIVE_BYTES = 1 << 18
_SEND_BUFFER_BYTES = 1 << 22  # a chunk and its outcomes: neither side waits for a busy other


class WorkerProcess:
    """Control a started worker. Everything but `start` and `reap` is called on the event loop.

    Attributes:
        pid: Its process id.
        activity: The words in which it says what it runs.
    """

    def __init__(
        self,
        executor: ProcessPoolExecutor,
        process: BaseProcess,
        peer: socket.socket,
        output: int,
        activity: Activity,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        if process.pid is None:
            raise RuntimeError("the worker process was not started")
        self.pid = process.pid
        self.activity = activity
        self._executor = executor
        self._process = process
        self._socket = peer
        self._output_descriptor = output
        self._output = WorkerOutput()
        self._is_crashing = False
        self._reader = FrameReader()
        self._outgoing: deque[tuple[memoryview, int | None]] = deque()
        self._pidfd = _open_pidfd(self.pid)
        self._loop = loop

    @staticmethod
    def start(
        context: BaseContext,
        packed_engine: bytes,
        copies: CopyPlace,
        limits: WorkerLimits,
        loop: asyncio.AbstractEventLoop,
    ) -> WorkerProcess:
        """Start a worker (blocking; on the launcher thread) that is then used on `loop`."""
        words = Connection(shared_words())
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            with contextlib.suppress(OSError):  # where the system allows less, it is less
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        output_reader, output_writer = os.pipe()
        carrier = CarrierContext(context)
        pipe, output = Connection(theirs.detach()), Connection(output_writer, readable=False)
        copy_directory = Connection(os.dup(copies.directory))
        executor = ProcessPoolExecutor(
            max_workers=1,
            mp_context=cast(BaseContext, carrier),
            initializer=worker.connect,
            initargs=(pipe, output, words, packed_engine, copies, copy_directory, limits),
        )
        try:
            executor.submit(worker.serve)
            if carrier.process is None:
                raise RuntimeError("the executor started no process")
            _leave_to_its_executor(carrier.process)
            ours.setblocking(False)
            os.set_blocking(output_reader, False)
            activity = Activity(words.fileno())
            return WorkerProcess(executor, carrier.process, ours, output_reader, activity, loop)
        except BaseException:
            ours.close()
            os.close(output_reader)
            executor.shutdown(wait=False)
            raise
        finally:
            for connection in (pipe, output, words, copy_directory):
                connection.close()

    def attach(
        self,
        on_message: Callable[[MessageKind, bytes], None],
        on_malformed: Callable[[MalformedMessageError], None],
        on_exit: Callable[[], None],
    ) -> None:
        """Call back for each message, for bytes that are none, and once after the exit."""
        self._on_message = on_message
        self._on_malformed = on_malformed
        self._loop.add_reader(self._socket, self._receive)
        self._loop.add_reader(self._output_descriptor, self._read_output)
        self._loop.add_reader(self._exit_descriptor, self._exited, on_exit)

    def send(self, data: bytes, descriptor: int | None = None) -> None:
        """Send without waiting; what the socket does not take now goes when it can.

        Args:
            data: Some bytes.
            descriptor: Of a file to hand over with them; it may be closed afterwards.
        """
        rest = memoryview(data)
        if not self._outgoing:
            rest = rest[self._send_now(rest, descriptor) :]
        if not rest:
            return
        kept = None
        if descriptor is not None and len(rest) == len(data):  # it goes with the first byte
            try:
                kept = os.dup(descriptor)
            except OSError:  # none is left, and without the file the worker is of no use
                self.kill()
                return
        self._outgoing.append((rest, kept))
        if len(self._outgoing) == 1:
            self._loop.add_writer(self._socket, self._send_rest)

    def kill(self) -> None:
        """Kill the process with SIGKILL. `on_exit` follows."""
        with contextlib.suppress(ProcessLookupError):
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            else:
                os.kill(self.pid, signal.SIGKILL)

    def detach(self) -> None:
        """Hand over what the exit left in the socket, then close every descriptor."""
        while self._receive():
            pass
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        for _, descriptor in self._outgoing:
            if descriptor is not None:
                os.close(descriptor)
        self._outgoing.clear()
        self._read_output()
        self._loop.remove_reader(self._output_descriptor)
        os.close(self._output_descriptor)
        self._log(self._output.finish())
        if self._pidfd is not None:
            os.close(self._pidfd)
        # Kills what a backtest started, too: the process group has the worker's own id.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.activity.close()

    def last_words(self) -> str:
        """Return what the interpreter printed when it crashed; empty when it printed nothing."""
        return self._output.last_words()

    def reap(self) -> str:
        """End the executor after the exit, and return in words how the process ended.

        Blocks: called on the launcher's reaper thread.
        """
        self._executor.shutdown(wait=True)
        return describe_exit(self._process.exitcode)

    @property
    def _exit_descriptor(self) -> int:
        # When the fork server is killed, sentinels report an end though workers still run; a pidfd
        # does not.
        return self._process.sentinel if self._pidfd is None else self._pidfd

    def _exited(self, on_exit: Callable[[], None]) -> None:
        self._loop.remove_reader(self._exit_descriptor)
        on_exit()

    def _receive(self) -> bool:
        """Take what the worker sent, once per turn of the loop; returns whether there was any."""
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except (BlockingIOError, ConnectionResetError):
            return False
        try:
            for kind, body in self._reader.feed(data):
                self._on_message(kind, body)
        except MalformedMessageError as error:
            self._loop.remove_reader(self._socket)
            self._on_malformed(error)
            return False
        if not data:
            self._loop.remove_reader(self._socket)
        return bool(data)

    def _read_output(self) -> None:
        # Once per turn of the loop, as in `_receive`: a flood must not keep other events waiting.
        try:
            data = os.read(self._output_descriptor, _RECEIVE_BYTES)
        except BlockingIOError:
            return
        if data:
            self._log(self._output.feed(data, time.monotonic()))
        else:
            self._loop.remove_reader(self._output_descriptor)

    def _log(self, lines: Iterator[str]) -> None:
        for line in lines:
            self._is_crashing = self._is_crashing or line.startswith(LAST_WORDS)
            # The interpreter's last words are nothing that a backtest has printed.
            log = logger if self._is_crashing else output_logger
            log.info("worker process %d: %s", self.pid, line)

    def _send_rest(self) -> None:
        rest, descriptor = self._outgoing[0]
        sent = self._send_now(rest, descriptor)
        if sent == 0:
            return
        if descriptor is not None:
            os.close(descriptor)
        self._outgoing[0] = rest[sent:], None
        if sent == len(rest):
            self._outgoing.popleft()
        if not self._outgoing:
            self._loop.remove_writer(self._socket)

    def _send_now(self, data: memoryview, descriptor: int | None) -> int:
        """Send what the socket takes; returns how many bytes."""
        try:
            if descriptor is None:
                return self._socket.send(data)
            return socket.send_fds(self._socket, [data], [descriptor])
        except BlockingIOError:
            return 0
        except (BrokenPipeError, ConnectionResetError):
            return len(data)  # it is dying; on_exit says the rest


def _leave_to_its_executor(child: BaseProcess) -> None:
    """Keep the start of another process from collecting this one's exit code, too.

    Under forkserver the code can be read once: whoever comes second takes 255 for it, for both.
    """
    # A private name, the same in CPython 3.11 to 3.13; where it is gone, an exit code is rarely
    # reported wrong.
    children: set[BaseProcess] = getattr(process, "_children", set())
    children.discard(child)


def _open_pidfd(pid: int) -> int | None:
    # Not on macOS, and not in every Python on Linux: conda's has none (python-trio/trio#2855).
    if sys.platform == "linux" and hasattr(os, "pidfd_open"):
        return os.pidfd_open(pid)
    return None


def describe_exit(exit_code: int | None) -> str:
    """Return in words how a process ended: `was killed by SIGSEGV (signal 11)`."""
    if exit_code is None:
        return "ended"
    if exit_code >= 0:
        return f"exited with code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = "a signal"
    hint = " — out of memory?" if -exit_code == signal.SIGKILL else ""
    return f"was killed by {name} (signal {-exit_code}){hint}"
