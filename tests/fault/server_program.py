"""A real server program that is killed, and started again at the same address."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import grpc
from stratsweep.v1 import optimization_service_pb2_grpc

from tests.waiting import GENEROUS_SECONDS

READY = "listening on "


class ServerProgram:
    """Starts `python -m stratsweep_server` with some arguments, any number of times.

    Args:
        arguments: Of the program; after those that every test needs.
        listen: Its address.
        environment: More of it.

    Attributes:
        address: Where it listens; once it was started.
        process: The program that was started last.
    """

    address: str
    process: subprocess.Popen[str]

    def __init__(
        self,
        *arguments: str,
        listen: str = "127.0.0.1:0",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = [sys.executable, "-m", "stratsweep_server", "--listen", listen]
        self._command += ["--workers", "2", *arguments]
        self._environment = {**os.environ, **(environment or {})}

    def launch(self) -> None:
        """Start it, and return before it serves."""
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in `kill`
        self.process = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=self._environment,
        )

    def start(self) -> None:
        """Start it, and return once it serves."""
        self.launch()
        assert self.process.stdout is not None
        line = next((line for line in self.process.stdout if not line.startswith("note: ")), "")
        assert line.startswith(READY), self._read_log()
        self.address = line.removeprefix(READY).strip()

    def ended(self) -> tuple[int, str]:
        """Wait until it has ended by itself; return its exit code and its log."""
        code = self.process.wait(GENEROUS_SECONDS)
        return code, self._read_log()

    def kill(self) -> None:
        """Send it SIGKILL, and return once it is gone; nothing happens where it is."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()

    def _read_log(self) -> str:
        self._log.seek(0)
        return self._log.read()


@contextmanager
def running(*arguments: str, **options: object) -> Iterator[ServerProgram]:
    """A server program that serves, killed at the end."""
    program = ServerProgram(*arguments, **options)  # type: ignore[arg-type] # as it takes them
    try:
        program.start()
        yield program
    finally:
        program.kill()


@contextmanager
def server(state: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], object]]:
    """The process of a server program that keeps what it runs, and a stub of it."""
    with (
        running("--state", str(state), *arguments) as program,
        grpc.insecure_channel(program.address) as channel,
    ):
        yield program.process, optimization_service_pb2_grpc.OptimizationServiceStub(channel)
