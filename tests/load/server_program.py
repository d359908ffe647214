"""A real server program on loopback, started and ended by the test that needs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parents[2]


class ServerProgram:
    """`python -m stratsweep_server` on a free port of 127.0.0.1; its log goes to a file.

    It ends with the program that started it, however that ends.

    Args:
        folder: Where its log and its shared files go.
        arguments: Further command-line arguments.
        max_memory: Bytes of address space that it and each of its workers may have, or None.
    """

    def __init__(self, folder: Path, *arguments: str, max_memory: int | None = None) -> None:
        self.scratch = folder / "scratch"
        self.state = folder / "state"
        self.log = folder / "server.log"
        self._arguments = arguments
        self._max_memory = max_memory

    def __enter__(self) -> ServerProgram:
        self.scratch.mkdir(parents=True)
        command = [sys.executable, "-m", "stratsweep_server", "--listen", "127.0.0.1:0"]
        command += ["--exit-on-stdin-eof", "--state", str(self.state)]
        command += ["--scratch", str(self.scratch)]
        command += self._arguments
        if self._max_memory is not None:
            limit = f'ulimit -v {self._max_memory // 1_024} && exec "$@"'
            command = ["sh", "-c", limit, "sh", *command]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
            )
        line = self._process.stdout.readline()
        if not line.startswith("listening on "):
            self._process.kill()
            raise RuntimeError(f"the server did not start: {self.log.read_text()}")
        self.address = line.split()[-1]
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        """The server's own process id."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def stop(self, patience: float = 30.0) -> int:
        """SIGTERM; returns the exit code.

        Raises:
            subprocess.TimeoutExpired: It is still there after `patience` seconds.
        """
        self._process.terminate()
        return self._process.wait(patience)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
