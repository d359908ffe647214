"""Put names, texts of unknown origin and numbers into messages."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

_LONGEST_ECHO = 40
_LONGEST_LIST = 20


def quoted(text: object) -> str:
    """Quote a text of unknown origin for a message: escaped, and cut after 40 characters."""
    shown = str(text)
    return repr(shown if len(shown) <= _LONGEST_ECHO else shown[:_LONGEST_ECHO] + "…")


def counted(count: int, noun: str) -> str:
    """Return a number with what it counts: `1 worker`, `2,000 workers`.

    Args:
        count: How many.
        noun: What one of them is called; its plural ends with an s.
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(names: Collection[str], limit: int = _LONGEST_LIST) -> str:
    """List names of unknown origin for a message: so many, those that look strange quoted."""
    shown = ", ".join(
        name if name.isprintable() and 0 < len(name) <= _LONGEST_ECHO else quoted(name)
        for name in islice(names, limit)
    )
    left_out = len(names) - limit
    return f"{shown} ({left_out:,} not shown)" if left_out > 0 else shown
