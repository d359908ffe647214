"""Log lines on standard error: for people, or JSON for machines."""

from __future__ import annotations

import logging
import sys

from pythonjsonlogger.json import JsonFormatter


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
        formatter = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
