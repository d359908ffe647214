"""Exceptions as plain text, whatever their own methods do. Pure."""

from __future__ import annotations

import traceback

_MAX_MESSAGE_CHARACTERS = 2_000
_MAX_TRACEBACK_CHARACTERS = 32_000


def describe_exception(error: BaseException) -> str:
    """Type and text of an exception in one line, whatever its own methods do."""
    name = _type_name(error)
    try:
        text = " ".join(str(error).split())
    except BaseException as second:  # a hostile __str__ is no reason to die
        text = f"<its text could not be made: {_type_name(second)}>"
    return (f"{name}: {text}" if text else name)[:_MAX_MESSAGE_CHARACTERS]


def format_traceback(error: BaseException) -> str:
    """The traceback as text, its end where it is long."""
    try:
        text = "".join(traceback.format_exception(error, limit=-50))
    except BaseException as second:
        text = f"<the traceback could not be made: {_type_name(second)}>"
    return text[-_MAX_TRACEBACK_CHARACTERS:]


def _type_name(error: BaseException) -> str:
    # Past the metaclass, which may have its own idea of attributes.
    return str(type.__dict__["__qualname__"].__get__(type(error)))
