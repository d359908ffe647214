"""The log: one line per record, whatever a client sends."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable

import pytest
from stratsweep_server.logs import TextFormatter, configure_logging, escaped

HOSTILE = {
    "a line that looks like a record": "x\n12:00:00 ERROR   disk full",
    "a return to the line's start": "x\r12:00:00 ERROR   disk full",
    "an escape sequence": "\x1b[2J\x1b]0;owned\x07",
    "a control sequence of one character": "\x9b31m",
    "ends of lines, paragraphs and pages": "a\u2028b\u2029c\x85d\x0be\x0cf",
    "other directions of writing": "\u202eevil\u202c\u2066x\u2069\u200f\u061c",
    "a NUL and a backspace": "a\x00b\x08\x7f",
    "half of a surrogate pair": "a\udc80",
}


@pytest.fixture
def log(monkeypatch) -> Callable[..., Callable[[], str]]:
    """Configure logging as the program does; what is called then reads what was written."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")  # as standard error is

    def configure(*, as_json: bool) -> Callable[[], str]:
        monkeypatch.setattr(sys, "stderr", stream)
        root.handlers.clear()
        configure_logging("info", as_json=as_json)
        return read

    def read() -> str:
        stream.flush()
        return stream.buffer.getvalue().decode()

    yield configure
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize("logger", ["stratsweep_server.rpc", "asyncio", "of.some.library"])
def test_a_record_is_one_line_of_harmless_characters(log, text, as_json, logger):
    read = log(as_json=as_json)
    logging.getLogger(logger).warning("refused: %s", text)
    written = read()
    assert written.endswith("\n")
    line = written[:-1]
    assert line.isprintable()
    if as_json:
        assert json.loads(line)["message"] == f"refused: {text}"
    else:
        assert line.endswith(f" WARNING refused: {escaped(text)}")


def test_what_is_escaped_reads_as_python_writes_it():
    assert escaped("a\n\x1b\u2028\u202e") == "a\\n\\x1b\\u2028\\u202e"
    assert escaped("größer als 漢字 😀 \\ %s") == "größer als 漢字 😀 \\ %s"
    everything = escaped("".join(map(chr, range(0x10000))))
    assert not {"Cc", "Cf", "Zl", "Zp"} & set(map(unicodedata.category, everything))


def test_a_traceback_has_lines_of_its_own_that_no_text_in_it_can_forge(log):
    read = log(as_json=False)
    try:
        raise ValueError(HOSTILE["a line that looks like a record"] + "\x1b[2J")
    except ValueError:
        logging.getLogger("any").exception("failed")
    first, *rest = read().splitlines()
    assert first.endswith("ERROR   failed")
    assert rest[0] == "    Traceback (most recent call last):"
    assert rest[-1] == "    12:00:00 ERROR   disk full\\x1b[2J"
    assert all(line.startswith("    ") for line in rest)


def test_a_traceback_beside_the_message_follows_it(log):
    extra = {"traceback": "Traceback (most recent call last):\n  File …"}
    read = log(as_json=False)
    logging.getLogger("any").error("worker 1 did not start", extra=extra)
    assert read().splitlines()[1:] == [
        "    Traceback (most recent call last):",
        "      File …",
    ]
    read = log(as_json=True)
    logging.getLogger("any").error("worker 1 did not start", extra=extra)
    assert json.loads(read().splitlines()[-1])["traceback"] == extra["traceback"]


def test_formatting_leaves_the_record_to_other_handlers():
    record = logging.makeLogRecord({"msg": "a %s", "args": ("\n",)})
    TextFormatter().format(record)
    assert record.getMessage() == "a \n"


PRINTS = """
from stratsweep_server.execution.process import output_logger
from stratsweep_server.logs import configure_logging, print_worker_output
configure_logging("error", as_json=True)
print_worker_output()
output_logger.info("worker process %d: %s", 7, "x=1 | größe 5 %s")
"""


def test_what_workers_print_goes_to_standard_output_whatever_the_log_has_to_be():
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    process = subprocess.run(
        [sys.executable, "-c", PRINTS], capture_output=True, env=environment, check=True
    )
    assert process.stdout.decode() == "output: x=1 | größe 5 %s\n"
    assert process.stderr == b""


def test_nobody_who_reads_what_workers_print_is_no_trouble():
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        [sys.executable, "-c", f"{PRINTS}\nimport os; os._exit(0)"],
        stdout=writing,
        stderr=subprocess.PIPE,
        check=True,
    )
    os.close(writing)
    assert process.stderr == b""
