"""What a log must not have, and what it may."""

from __future__ import annotations

import json

import pytest

from tests.load.log_check import FORGED, log_violations

RECORD = {"time": "12:00:00", "level": "INFO", "logger": "x", "message": FORGED}


def test_a_good_log_has_nothing_wrong():
    assert list(log_violations(b"", is_json=False)) == []
    text = f"12:00:00 INFO    listening\n12:00:01 WARNING refused: {FORGED}\n"
    assert list(log_violations(text.encode(), is_json=False)) == []
    assert list(log_violations(json.dumps(RECORD).encode() + b"\n", is_json=True)) == []


@pytest.mark.parametrize(
    ("line", "is_json", "text"),
    [
        (f"12:00:00 INFO    {FORGED}", False, "1 lines of the log are none of the server's"),
        ("thread 'polars' panicked", False, "1 lines of the log are none of the server's"),
        ("thread 'polars' panicked", True, "1 lines of the log are none of the server's"),
        ("[1]", True, "1 lines of the log are none of the server's"),
        ("12:00:00 INFO    \x1b[2J", False, "1 lines of the log have control characters"),
        ("12:00:00 ERROR   Traceback (most recent call last):", False, "1 tracebacks in the log"),
    ],
)
def test_a_line_that_the_server_would_not_write_is_seen(line, is_json, text):
    (found,) = log_violations(line.encode(), is_json=is_json)
    assert found.startswith(text)
