"""Turn exceptions into plain text, whatever their own methods do. Pure."""

from __future__ import annotations

import importlib
import traceback
from pathlib import Path
from types import TracebackType

_OURS = (str(Path(__file__).parents[1]), "<frozen importlib", str(Path(importlib.__file__).parent))
_MAX_MESSAGE_CHARACTERS = 2_000
_MAX_TRACEBACK_CHARACTERS = 32_000


def describe_exception(error: BaseException) -> str:
    """Return an exception's type and text in one line of at most 2,000 characters."""
    name = _type_name(error)
    try:
        text = " ".join(str(error).split())
    except BaseException as second:  # a hostile __str__ is no reason to die
        text = f"<its text could not be made: {_type_name(second)}>"
    return (f"{name}: {text}" if text else name)[:_MAX_MESSAGE_CHARACTERS]


def format_traceback(error: BaseException) -> str:
    """Return the traceback as text, from the user's code on; only its end where it is long."""
    try:
        start = _first_of_others(error.__traceback__)
        text = "".join(traceback.format_exception(type(error), error, start, limit=-50))
    except BaseException as second:
        text = f"<the traceback could not be made: {_type_name(second)}>"
    return text[-_MAX_TRACEBACK_CHARACTERS:]


def format_loading_failure(error: BaseException) -> str:
    """Return the traceback of what failed while the user's modules were loaded, as text.

    It has the frames of the user's own code, or all where there is none; of a SyntaxError file,
    line and caret.
    """
    try:
        report = traceback.TracebackException.from_exception(error, limit=-50)
        _leave_out_ours(report)
        if not report.stack and not isinstance(error, SyntaxError):
            return format_traceback(error)
        text = "".join(report.format())
    except BaseException as second:
        text = f"<the traceback could not be made: {_type_name(second)}>"
    return text[-_MAX_TRACEBACK_CHARACTERS:]


def _leave_out_ours(report: traceback.TracebackException) -> None:
    """Cut our frames off an exception and its causes; Python has broken cycles among these."""
    waiting = [report]
    while waiting:
        each = waiting.pop()
        frames = [frame for frame in each.stack if not frame.filename.startswith(_OURS)]
        each.stack = traceback.StackSummary.from_list(frames)
        waiting += [cause for cause in (each.__cause__, each.__context__) if cause is not None]
        waiting += each.exceptions or []


def _first_of_others(start: TracebackType | None) -> TracebackType | None:
    """Return the frames from the user's first on; all where we called a library."""
    place = start
    while place is not None and _file_of(place).startswith(_OURS):
        place = place.tb_next
    return start if place is None or "site-packages" in _file_of(place) else place


def _file_of(place: TracebackType) -> str:
    return place.tb_frame.f_code.co_filename


def _type_name(error: BaseException) -> str:
    # Asked of `type` itself, since a metaclass may answer for `__qualname__` in its own way.
    return str(type.__dict__["__qualname__"].__get__(type(error)))
