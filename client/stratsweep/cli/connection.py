"""Which server a command talks to: one that runs, or a private one for as long as it takes."""

from __future__ import annotations

import contextlib
import re
import shlex
import signal
import sys
import tempfile
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import wraps
from itertools import takewhile
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from stratsweep.cli.option_types import AddressType, SecondsType
from stratsweep.errors import (
    NotFoundError,
    ServerError,
    ServerUnavailableError,
    StratsweepError,
    StreamInterruptedError,
    VersionMismatchWarning,
)
from stratsweep.events import OptimizationState
from stratsweep.server_process import ServerProcess

if TYPE_CHECKING:
    from stratsweep.client import Client

_FAILED_START = re.compile(r"^[0-9:]+ ERROR +worker \d+ did not start: ")
_LINES_OF_A_FAILED_START = 500
# Shorter than the Python clients': a person waits, and no connection of before is to be mended.
_CONNECT_TIMEOUT_SECONDS = 2.0
_RECONNECT_TIMEOUT_SECONDS = 60.0
_RESUMING = ("server", "data", "workers", "engine", "strategies", "state")
# Options of the server program that are for this module alone.
_PRIVATE = ("--private",)
_READING = ("--private", "--read-only")

_SERVER_OPTIONS = (
    click.option(
        "--server",
        metavar="ADDRESS",
        type=AddressType(),
        help="Ask the server at host:port or unix:PATH. Default: start a private one.",
    ),
    click.option(
        "--connect-timeout",
        metavar="SECONDS",
        type=SecondsType(minimum=0),
        help="How long to wait for the server at --server. Default: 2.",
    ),
    click.option(
        "--reconnect-timeout",
        metavar="SECONDS",
        type=SecondsType(minimum=0),
        help="How long to try to go on where the connection to it was lost. Default: 60.",
    ),
)
_STATE_OPTION = click.option(
    "--state",
    metavar="DIR",
    help="Where optimizations are kept. Default: where your commands keep them.",
)
_OPTIONS = (
    *_SERVER_OPTIONS,
    click.option(
        "--data",
        metavar="DIR",
        type=click.Path(exists=True, file_okay=False),
        help="The private server's price files, SYMBOL.csv or .parquet. Default: this directory.",
    ),
    click.option(
        "--workers",
        metavar="N",
        type=click.IntRange(min=1),
        help="The private server's processes. Default: the CPUs that it may use.",
    ),
    click.option(
        "--engine", metavar="NAME|FILE.py:FACTORY", help="The private server's backtest engine."
    ),
    click.option(
        "--strategies",
        metavar="FILE.py|MODULE",
        multiple=True,
        help="A Python file, or module, with strategies, for the private server. Repeatable.",
    ),
    click.option(
        "--state",
        metavar="DIR|none",
        help="Where the private server keeps optimizations; none: nowhere. Default: stratsweep in "
        "$XDG_STATE_HOME, or in ~/.local/state.",
    ),
)


@dataclass(frozen=True, slots=True)
class ServerChoice:
    """The values of `server_options`, or of `store_options`, by which a server only reads.

    Attributes:
        is_reading: Whether a private server is to run nothing.
    """

    server: str | None = None
    connect_timeout: float | None = None
    reconnect_timeout: float | None = None
    data: str | None = None
    workers: int | None = None
    engine: str | None = None
    strategies: tuple[str, ...] = ()
    state: str | None = None
    is_reading: bool = False

    def options(self) -> list[str]:
        """Return the options that make this choice, as they are written."""
        return self._written(each.name for each in fields(self) if each.name != "is_reading")

    def command(self, name: str, *arguments: str) -> str:
        """Return the command that does something with what this choice's store keeps."""
        names = ("server", "state") if name != "resume" else _RESUMING
        return shlex.join(["stratsweep", name, *arguments, *self._written(names)])

    def _written(self, names: Iterable[str]) -> list[str]:
        texts = []
        for name in names:
            value = getattr(self, name)
            for each in value if isinstance(value, tuple) else (value,):
                if each is not None:
                    texts += [f"--{name.replace('_', '-')}", str(each)]
        return texts

    def check(self) -> None:
        """Refuse options of the private server beside `--server`, and those of `--server` without.

        Raises:
            click.UsageError: They contradict each other.
        """
        if self.server is None:
            for name in ("connect_timeout", "reconnect_timeout"):
                if getattr(self, name) is not None:
                    option = f"--{name.replace('_', '-')}"
                    raise click.UsageError(f"{option} is for the server at --server")
            if self.is_reading and self.state is not None and not Path(self.state).is_dir():
                is_status = self.state.upper() in OptimizationState.__members__
                hint = f"; write --status {self.state.lower()}" if is_status else ""
                raise click.UsageError(f"--state: there is no directory {self.state}{hint}")
            return
        for name in ("data", "workers", "engine", "strategies", "state"):
            if getattr(self, name):
                raise click.UsageError(
                    f"--{name} is for the private server; --server talks to one that runs already"
                )

    @contextmanager
    def connect(self, on_output: Callable[[str], None] | None = None) -> Iterator[Client]:
        """Give a client of the chosen server.

        Args:
            on_output: Called, from another thread, with each line that backtests print on a private
                server. Default: they go to its log.

        Raises:
            StratsweepError: There is no server, or the block raised it; with a note that helps.
        """
        if self.server is None:
            with self._private_server(on_output) as client:
                yield client
            return
        connect, reconnect = (
            default if given is None else given
            for given, default in (
                (self.connect_timeout, _CONNECT_TIMEOUT_SECONDS),
                (self.reconnect_timeout, _RECONNECT_TIMEOUT_SECONDS),
            )
        )
        with _warnings_as_lines(), client_of(self.server, connect, reconnect) as client:
            try:
                yield client
            except ServerUnavailableError as error:
                if not error.reason:
                    error.add_note(
                        f"Is a server running at {self.server}? Start one with `stratsweep serve`, "
                        "or leave out --server for a private one."
                    )
                raise

    def _private_arguments(self) -> list[str]:
        if self.is_reading:
            return [*_READING, *self.options()]
        return [*_PRIVATE, *replace(self, data=self.data or ".").options()]

    @contextmanager
    def _private_server(self, on_output: Callable[[str], None] | None) -> Iterator[Client]:
        with (
            _exit_on_termination(),
            tempfile.TemporaryDirectory(prefix="stratsweep-") as folder,
            ServerProcess(
                self._private_arguments(),
                listen=f"unix:{Path(folder) / 'server.sock'}",
                on_note=lambda note: click.echo(note, err=True),
                on_output=on_output,
            ) as server,
            # It is there, or has failed.
            client_of(server.address, 0.0, reconnect_timeout=0.0) as client,
        ):
            try:
                yield client
            except (ServerError, ServerUnavailableError, StreamInterruptedError) as error:
                _add_log(error, server)
                raise
            except NotFoundError as error:
                if error.reason == "UNKNOWN_SYMBOL":
                    prices = Path(self.data or ".").resolve()
                    error.add_note(f"The price files are those in {prices} (--data).")
                raise


def client_of(
    address: str,
    connect_timeout: float = _CONNECT_TIMEOUT_SECONDS,
    reconnect_timeout: float = _RECONNECT_TIMEOUT_SECONDS,
) -> Client:
    """Return a client of the server at an address, which says when it reconnects."""
    from stratsweep.client import Client  # noqa: PLC0415 - gRPC is slow to import, servers to start

    return Client(
        address,
        connect_timeout=connect_timeout,
        reconnect_timeout=reconnect_timeout,
        on_reconnect=lambda loss: print_above(
            f"{loss.message}; connecting again, for {reconnect_timeout:g} s"
        ),
    )


def print_above(line: str) -> None:
    """Print a line to standard error, above a bar where there is one."""
    # Not click: it finds its own way past what rich has put there to keep the bar below.
    with contextlib.suppress(OSError):  # whoever no longer reads it still gets the ranking
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Print what is warned of without the place in this program that warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", VersionMismatchWarning)
        warnings.showwarning = lambda message, *_: click.echo(f"warning: {message}", err=True)
        yield


def _add_log(error: StratsweepError, server: ServerProcess) -> None:
    """Add what the server's log has beside the error: the place in the user's code, or its end.

    Nothing where the error is of an optimization that another server has left.
    """
    place = _failed_start(server.log_tail(_LINES_OF_A_FAILED_START))
    if error.reason == "NO_WORKERS" and place is not None:
        if place:
            error.add_note(place)
    elif error.reason != "OPTIMIZATION_INTERRUPTED" and (log := server.log_tail()):
        error.add_note(f"The private server's log ends with:\n{log}")


def _failed_start(log: str) -> str | None:
    """The traceback with which a worker's start failed last; None if that is not in the log."""
    lines = log.splitlines()
    starts = [number for number, line in enumerate(lines) if _FAILED_START.search(line)]
    if not starts:
        return None
    traceback = takewhile(lambda line: line.startswith("    "), lines[starts[-1] + 1 :])
    return textwrap.dedent("\n".join(traceback))


def server_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that choose a server to a command, which gets them as `choice`."""
    return _with_choice(command, _OPTIONS, is_reading=False)


def store_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say where optimizations are kept to a command that only reads them."""
    return _with_choice(command, (*_SERVER_OPTIONS, _STATE_OPTION), is_reading=True)


def _with_choice(
    command: Callable[..., None],
    options: Sequence[Callable[[Callable[..., None]], Callable[..., None]]],
    *,
    is_reading: bool,
) -> Callable[..., None]:
    @wraps(command)
    def with_choice(*arguments: Any, **values: Any) -> None:  # noqa: ANN401 - click's
        names = [each.name for each in fields(ServerChoice) if each.name in values]
        choice = ServerChoice(**{name: values.pop(name) for name in names}, is_reading=is_reading)
        choice.check()
        command(*arguments, choice=choice, **values)

    for option in reversed(options):
        with_choice = option(with_choice)
    return with_choice


@contextmanager
def _exit_on_termination() -> Iterator[None]:
    """Let a signal that ends this process unwind it, so that server and files are cleared away."""

    def exit_now(signal_number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + signal_number)

    before = {each: signal.signal(each, exit_now) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
