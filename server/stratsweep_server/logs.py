"""Write log lines to standard error: text for people, or JSON for machines."""

from __future__ import annotations

import contextlib
import logging
import sys
import textwrap
from types import TracebackType
from typing import TypeAlias, cast

from pythonjsonlogger.json import JsonFormatter

from stratsweep_server.execution.process import output_logger

_ExceptionInfo: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)


def configure_logging(level: str, *, as_json: bool) -> None:
    """Send every log record to standard error.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        as_json: One JSON object per line instead of text.
    """
    handler = logging.StreamHandler(sys.stderr)
    if as_json:
        fields = ("asctime", "levelname", "name", "message")
        formatter: logging.Formatter = JsonFormatter(
            " ".join(f"%({field})s" for field in fields),
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        )
    else:
        formatter = TextFormatter()
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def print_worker_output() -> None:
    """Print what workers print to standard output, instead of having it in the log.

    Each line begins with `output: `: that is for whoever has started this server as a program.
    """
    output_logger.setLevel(logging.INFO)
    output_logger.propagate = False
    output_logger.addHandler(_OutputPrinter())


class _OutputPrinter(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        """Print the line of a record, whose message names the process before it."""
        *_, line = cast(tuple[object, ...], record.args)
        with contextlib.suppress(OSError):  # nobody reads it any more
            sys.stdout.buffer.write(f"output: {line}\n".encode(errors="replace"))
            sys.stdout.buffer.flush()


class TextFormatter(logging.Formatter):
    """Format each record as one line, whatever is in it: names and values come from clients.

    Tracebacks, those of an exception and the `traceback` that a record may have beside its message,
    follow on lines of their own, which begin with spaces as no record does.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, and its tracebacks."""
        text = super().format(record)
        traceback = getattr(record, "traceback", "")
        return f"{text}\n{_indented(traceback)}" if traceback else text

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the record's line."""
        record.message = escaped(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: _ExceptionInfo) -> str:  # noqa: N802 - logging's name
        """Return an exception's traceback."""
        return _indented(super().formatException(ei))


def escaped(text: str) -> str:
    """Return a text in which everything that has no glyph is written as Python writes it.

    That is all that has no glyph: control characters, ends of lines and paragraphs, and what turns
    the direction of writing.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def _indented(lines: str) -> str:
    return textwrap.indent("\n".join(map(escaped, lines.split("\n"))), "    ")
