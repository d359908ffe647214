"""What a server's log must be: whole lines of its own, none of them a traceback's. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

FORGED = "forged by a client"
"""A client's text; at the beginning of a line it is a line that a client has written."""

_TEXT_LINE = re.compile(r"\d\d:\d\d:\d\d (DEBUG|INFO|WARNING|ERROR|CRITICAL) *")
_FIELDS = {"time", "level", "logger", "message"}
_SHOWN = 300


def log_violations(content: bytes, *, is_json: bool) -> Iterator[str]:
    """What is wrong with a log, in words.

    Args:
        content: Of the whole log.
        is_json: Whether it is one JSON object a line, else text for people.
    """
    text = content.decode(errors="backslashreplace")
    count = text.count("Traceback (most recent call last)")
    if count:
        yield f"{count} tracebacks in the log"
    lines = text.removesuffix("\n").split("\n") if text else []
    is_ours = _is_record if is_json else _is_text
    foreign = [line for line in lines if not is_ours(line)]
    if foreign:
        yield f"{len(foreign)} lines of the log are none of the server's: {foreign[0][:_SHOWN]!r}"
    raw = [line for line in lines if not line.isprintable()]
    if raw:
        yield f"{len(raw)} lines of the log have control characters: {raw[0][:_SHOWN]!r}"


def _is_text(line: str) -> bool:
    begin = _TEXT_LINE.match(line)
    return begin is not None and not line[begin.end() :].startswith(FORGED)


def _is_record(line: str) -> bool:
    try:
        return json.loads(line).keys() >= _FIELDS
    except (ValueError, AttributeError):
        return False
