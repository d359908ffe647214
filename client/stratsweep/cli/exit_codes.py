"""What the command's exit codes mean, and how errors become one."""

from __future__ import annotations

import os
import sys
from enum import IntEnum

import click

from stratsweep.cli.usage_hints import explained
from stratsweep.errors import (
    InputsChangedError,
    InvalidConfigError,
    NotFoundError,
    OptimizationExistsError,
    OptimizationRunningError,
    ServerBusyError,
    ServerStartError,
    ServerUnavailableError,
    StratsweepError,
    StreamInterruptedError,
)


class ExitCode(IntEnum):
    """The exit codes of every command."""

    SUCCESS = 0
    FAILURE = 1
    BAD_USAGE = 2
    NO_SUCCESS = 3
    NO_SERVER = 4
    INTERRUPTED = 130
    BROKEN_PIPE = 141


EXIT_CODES_HELP = """\b
Exit codes:
  0    there are results
  1    the server failed, the connection to it was lost, or a file could not be written
  2    bad usage, or the server refused what was asked for
  3    no combination could be ranked; with --each-symbol, of one symbol at least
  4    cannot connect to the server, or start it, or it takes no more work
  130  interrupted, cancelled, or stopped with the server; the ranking, if any, is partial
  141  the reader of standard output went away"""


_REFUSALS = (
    InvalidConfigError,
    NotFoundError,
    OptimizationExistsError,
    OptimizationRunningError,
    InputsChangedError,
)


class ExitCodeGroup(click.Group):
    """A group whose commands end with the documented exit codes and one message."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; print what went wrong and exit with its code."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise explained(error) from None
        except StratsweepError as error:
            _print_error(error)
            ctx.exit(exit_code_of(error))
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(ExitCode.INTERRUPTED)
        except BrokenPipeError:
            _discard_output()
            ctx.exit(ExitCode.BROKEN_PIPE)
        except OSError as error:
            _discard_output()
            click.echo(f"error: {error}", err=True)
            ctx.exit(ExitCode.FAILURE)


def exit_code_of(error: StratsweepError) -> ExitCode:
    """Return the exit code for an error."""
    if isinstance(error, _REFUSALS):
        return ExitCode.BAD_USAGE
    if isinstance(error, ServerUnavailableError | ServerBusyError | ServerStartError):
        return ExitCode.NO_SERVER
    return ExitCode.INTERRUPTED if _is_stop(error) else ExitCode.FAILURE


def _is_stop(error: StratsweepError) -> bool:
    """Whether somebody stopped the server while it worked."""
    return isinstance(error, StreamInterruptedError) and error.reason == "DRAINING"


def _discard_output() -> None:
    """Let the interpreter, which flushes standard output once more at its end, succeed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_error(error: StratsweepError) -> None:
    click.echo(f"error: {error}", err=True)
    for note in getattr(error, "__notes__", ()):
        click.echo(note, err=True)
