"""Run the server program: `python -m stratsweep_server`, or `stratsweep serve`.

What is heavy is imported after the fork server was started, while that does the same; so nothing of
it is imported at the top.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import click

from stratsweep_server.options import (
    ListenAddress,
    SecondsRange,
    ServerCommand,
    WholeNumber,
    bad_value,
    read_options_file,
)

EXIT_CANNOT_LISTEN = 4
EXIT_CANNOT_KEEP = 5


@click.command(
    "serve",
    cls=ServerCommand,
    context_settings={"auto_envvar_prefix": "STRATSWEEP", "show_default": True},
    epilog=(
        "Each option can also be set by an environment variable, such as STRATSWEEP_WORKERS. "
        "Exit codes: 0 stopped when asked to; 1 failed; 2 bad usage; 4 the address cannot be used; "
        "5 the state directory cannot be used; 130 ended by a second Ctrl-C."
    ),
)
@click.option(
    "--listen",
    type=ListenAddress(),
    default="127.0.0.1:50051",
    metavar="HOST:PORT|unix:PATH",
    help="Where to listen. Port 0 takes a free one. There is no encryption and no authentication: "
    "to serve other machines, put a proxy in front.",
)
@click.option(
    "--workers",
    type=WholeNumber(min=1),
    help="Worker processes.  [default: the CPUs that this process may use]",
)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Directory of SYMBOL.csv or SYMBOL.parquet files.",
)
@click.option(
    "--timezone",
    default="UTC",
    metavar="ZONE",
    help="Time zone, such as America/New_York, of times in price files that have none, where "
    "neither a request nor stratsweep.toml in the directory says one.",
)
@click.option(
    "--engine",
    default="default",
    metavar="NAME|FILE.py:FACTORY",
    help="The engine that runs backtests; a module's dotted name may stand for the file.",
)
@click.option(
    "--strategies",
    multiple=True,
    metavar="FILE.py|MODULE",
    help="Python file, or module, with strategies of yours; may be repeated.",
)
@click.option(
    "--max-combinations",
    type=WholeNumber(min=1),
    default=1_000_000,
    help="Largest grid accepted, before constraints.",
)
@click.option(
    "--max-optimizations",
    type=WholeNumber(min=1),
    default=64,
    help="Optimizations that may run at a time.",
)
@click.option(
    "--max-queued",
    type=WholeNumber(min=0),
    default=1_000,
    help="Optimizations that may wait until others have ended; 0 refuses them at once.",
)
@click.option(
    "--max-memory",
    type=WholeNumber(min=1),
    metavar="MB",
    help="Memory that optimizations may hold together; one that does not fit waits.  "
    "[default: half of what this machine, or its container, has]",
)
@click.option(
    "--state",
    default="",
    metavar="DIR|none",
    help="Where optimizations are kept; none: nowhere, they go with the server.  [default: "
    "stratsweep in $XDG_STATE_HOME, or in ~/.local/state]",
)
@click.option(
    "--retain-days",
    type=WholeNumber(min=1, max=100_000),
    default=90,
    help="Days for which an optimization is kept after it has ended.",
)
@click.option(
    "--retain-gigabytes",
    type=WholeNumber(min=1),
    default=10,
    help="Size of all that is kept, beyond which the oldest are removed.",
)
@click.option("--private", "is_private", is_flag=True, hidden=True)
@click.option("--read-only", "is_read_only", is_flag=True, hidden=True)
@click.option(
    "--scratch",
    type=click.Path(exists=True, file_okay=False, writable=True, path_type=Path),
    help="Where bars are shared with workers.  [default: the system's temporary directory]",
)
@click.option(
    "--start-timeout",
    type=SecondsRange(min=0, min_open=True),
    default=120.0,
    help="Seconds that a worker may take to be ready.",
)
@click.option(
    "--worker-memory",
    type=WholeNumber(min=1),
    metavar="MB",
    help="Memory of each worker beyond which its allocations fail (Linux).  [default: no limit]",
)
@click.option(
    "--worker-backtests",
    type=WholeNumber(min=1),
    metavar="N",
    help="Replace a worker by a fresh one after N backtests.  [default: never]",
)
@click.option(
    "--worker-memory-growth",
    type=WholeNumber(min=1),
    metavar="MB",
    help="Replace a worker whose memory has grown by this much (Linux).  [default: never]",
)
@click.option(
    "--grace",
    type=SecondsRange(min=0),
    default=10.0,
    help="Seconds that running optimizations get when the server is asked to stop.",
)
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info"
)
@click.option(
    "--worker-output",
    type=click.Choice(["log", "stdout"]),
    default="log",
    help="Where to send what strategies and engines print: to the log, or to standard output, in "
    "lines that begin with 'output: '.",
)
@click.option(
    "--exit-on-stdin-eof",
    is_flag=True,
    help="Stop when standard input ends: a server started by a program then never outlives it.",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=read_options_file,
    help="TOML file with defaults for these options.",
)
def main(
    *,
    log_format: str,
    log_level: str,
    worker_output: str,
    worker_memory: int | None,
    worker_backtests: int | None,
    worker_memory_growth: int | None,
    **options: Any,  # noqa: ANN401 - the fields of ServerConfig
) -> None:
    """Serve optimizations over gRPC until SIGTERM or Ctrl-C."""
    from stratsweep_server.execution.signals import hold_signals  # noqa: PLC0415 - see the top

    hold_signals()  # until `serve` looks after them
    if not options["is_read_only"]:
        _start_fork_server(options["engine"])

    import asyncio  # noqa: PLC0415 - see the top

    from stratsweep_server.app import serve  # noqa: PLC0415
    from stratsweep_server.config import ServerConfig  # noqa: PLC0415
    from stratsweep_server.execution.fork_server import stop_fork_server  # noqa: PLC0415
    from stratsweep_server.execution.limits import WorkerLimits  # noqa: PLC0415
    from stratsweep_server.logs import configure_logging, print_worker_output  # noqa: PLC0415
    from stratsweep_server.optimization.store import StoreUnavailableError  # noqa: PLC0415

    configure_logging(log_level, as_json=log_format == "json")
    if worker_output == "stdout":
        print_worker_output()
    limits = WorkerLimits(_bytes(worker_memory), worker_backtests, _bytes(worker_memory_growth))
    try:
        _check_timezone(options["timezone"])
        asyncio.run(serve(ServerConfig(worker_limits=limits, **options)))
    except OSError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(EXIT_CANNOT_LISTEN)
    except StoreUnavailableError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(EXIT_CANNOT_KEEP)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    finally:
        stop_fork_server()


def _start_fork_server(engine: str) -> None:
    """Start the fork server, which imports for workers while this process imports for itself."""
    from stratsweep_server.execution.fork_server import (  # noqa: PLC0415 - see the top
        default_start_method,
        start_fork_server,
    )

    if default_start_method() != "forkserver":
        return
    try:
        start_fork_server(is_default_engine=engine == "default")
    except OSError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)


def _check_timezone(name: str) -> None:
    from stratsweep_server.market_data.errors import (  # noqa: PLC0415 - see the top
        UnknownTimezoneError,
    )
    from stratsweep_server.market_data.timezones import check_timezone  # noqa: PLC0415

    try:
        check_timezone(name)
    except UnknownTimezoneError as error:
        raise bad_value("timezone", str(error)) from error


def _bytes(megabytes: int | None) -> int | None:
    return None if megabytes is None else megabytes * 1_000_000


if __name__ == "__main__":
    main(prog_name="stratsweep serve")
