"""Start a server as a program of its own, know its address, and stop it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import IO, Self

from stratsweep.errors import ServerStartError

_SERVER_MODULES = ("stratsweep_server", "numba", "polars", "talib")
_READY_PREFIX = "listening on "
_NOTE_PREFIX = "note: "
_OUTPUT_PREFIX = "output: "
_STOP_TIMEOUT_SECONDS = 15.0  # more than the server's default grace
_HELPERS_TIMEOUT_SECONDS = 1.0
_LOG_LINES_SHOWN = 20
_LOG_BYTES_SHOWN = 16_384


def server_command(arguments: Sequence[str]) -> list[str]:
    """Return the command line that runs the server in this Python environment.

    Raises:
        ServerStartError: The server is not installed.
    """
    return _command("stratsweep_server", arguments)


def importing_command(arguments: Sequence[str]) -> list[str]:
    """Return the command line that imports price files, a program of the server's package.

    Raises:
        ServerStartError: The server is not installed.
    """
    return _command("stratsweep_server.market_data.importing", arguments)


def _command(module: str, arguments: Sequence[str]) -> list[str]:
    # Its code comes with the client's, what it needs only with the extra.
    if any(importlib.util.find_spec(name) is None for name in _SERVER_MODULES):
        raise ServerStartError(
            "the server is not installed here; install it with: pip install 'stratsweep[server]'"
        )
    return [sys.executable, "-m", module, *arguments]


class ServerProcess:
    """Run a server for the length of a `with` block, and never longer than this process lives.

    It is a program of its own, in this Python environment: what `stratsweep serve` starts. It needs
    the extra `server`, and ends with this process even where that is killed.

    Args:
        arguments: More of the server's options, such as `["--data", "prices", "--workers", "4"]`.
        listen: `host:port`, port 0 for a free one, or `unix:/path`.
        start_timeout: How long to wait until it serves, in seconds. It serves before its workers
            are ready; the first call waits for these.
        on_note: Called, from another thread, with what the server wants people to know while they
            wait, such as that it compiles.
        on_output: Called, from another thread, with each line that strategies and engines print, of
            which there are at most 100 of each worker in 10 seconds; `fast=5 slow=20 | ` stands
            before a line of the backtest with these values. Default: they go to the server's log.

    Attributes:
        address: Where it listens: what `Client` takes.
        process_id: Its process id.

    Raises:
        ServerStartError: On entering: it is not installed, it ended, or it does not serve in time.

    Example:
        >>> from stratsweep import Client, ServerProcess
        >>> with ServerProcess(["--data", "prices"]) as server, Client(server.address) as client:
        ...     parameters = {"period": range(10, 30, 5)}
        ...     stream = client.optimize("momentum", symbols="SPY", parameters=parameters)
        ...     print(stream.result().best)
    """

    address: str
    process_id: int

    def __init__(
        self,
        arguments: Sequence[str] = (),
        *,
        listen: str = "127.0.0.1:0",
        start_timeout: float = 60.0,
        on_note: Callable[[str], None] | None = None,
        on_output: Callable[[str], None] | None = None,
    ) -> None:
        output = [] if on_output is None else ["--worker-output", "stdout"]
        private = ["--private", "--exit-on-stdin-eof"]
        self._arguments = ["--listen", listen, *output, *private, *arguments]
        self._start_timeout = start_timeout
        self._listeners = {_NOTE_PREFIX: on_note, _OUTPUT_PREFIX: on_output}

    def start(self) -> None:
        """Start the server and return once it serves.

        Raises:
            ServerStartError: It is not installed, it ended, or it does not serve in time.
        """
        command = server_command(self._arguments)
        self._log = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - closed in `stop`
        self._process = subprocess.Popen(  # noqa: S603 - our own program, no shell
            command,
            # The server ends when this pipe does: it cannot outlive us, however we die.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            # Ctrl-C is ours to handle: the terminal sends it to its foreground group only.
            process_group=0,
        )
        self.process_id = self._process.pid
        first_line: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._follower = threading.Thread(
            target=_follow, args=(self._process.stdout, first_line, self._listeners), daemon=True
        )
        self._follower.start()
        try:
            self.address = self._wait_until_ready(first_line)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server: SIGTERM, and SIGKILL if it has not ended after fifteen seconds.

        What it started, such as workers, is gone then, too.
        """
        self._process.terminate()
        # Not `wait(timeout)`: it looks every 50 ms, and people wait for this.
        end = threading.Thread(target=self._process.wait, daemon=True)
        end.start()
        try:
            end.join(_STOP_TIMEOUT_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
            # What it started ends moments later, and holds its standard output until then.
            self._follower.join(_HELPERS_TIMEOUT_SECONDS)
            self._log.close()
            if self._process.stdin is not None:
                self._process.stdin.close()

    def log_tail(self, line_count: int = _LOG_LINES_SHOWN) -> str:
        """Return the last lines that the server wrote to its log, of at most 16 KB."""
        # pread: the server writes through the same file offset.
        log = self._log.fileno()
        size = os.fstat(log).st_size
        tail = os.pread(log, _LOG_BYTES_SHOWN, max(0, size - _LOG_BYTES_SHOWN))
        return "\n".join(tail.decode(errors="replace").splitlines()[-line_count:])

    def _wait_until_ready(self, first_line: queue.SimpleQueue[str]) -> str:
        try:
            line = first_line.get(timeout=self._start_timeout)
        except queue.Empty:
            raise self._start_error(f"did not serve within {self._start_timeout:g} s") from None
        if line.startswith(_READY_PREFIX):
            return line.removeprefix(_READY_PREFIX).strip()
        if line:
            raise self._start_error(f"answered {line.strip()!r} instead of its address")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_TIMEOUT_SECONDS)
        raise self._start_error(f"ended with exit code {self._process.returncode}")

    def _start_error(self, what: str) -> ServerStartError:
        return ServerStartError(
            f"the server {what}", exit_code=self._process.poll(), log=self.log_tail()
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _follow(
    stdout: IO[bytes],
    first_line: queue.SimpleQueue[str],
    listeners: Mapping[str, Callable[[str], None] | None],
) -> None:
    """Hand over the first line that is nobody's, and read on, so that the server never blocks.

    Args:
        stdout: What the server prints.
        first_line: Takes that line; an empty one where there is none.
        listeners: Whom lines are for that begin with a prefix.
    """
    is_waiting = True
    with stdout:
        for line in stdout:
            text = line.decode(errors="replace")
            prefix = next(filter(text.startswith, listeners), None)
            if prefix is not None:
                if (listener := listeners[prefix]) is not None:
                    listener(text.removeprefix(prefix).rstrip())
            elif is_waiting:
                first_line.put(text)
                is_waiting = False
    if is_waiting:
        first_line.put("")
