"""Compile conditions: from a text to what can be evaluated, or to what to write instead."""

from __future__ import annotations

from collections.abc import Callable

from stratsweep_server.optimization.condition_names import Names
from stratsweep_server.optimization.constraint_hints import rewrite
from stratsweep_server.optimization.constraint_text import ConstraintTextError, read_condition
from stratsweep_server.optimization.constraint_types import Expression, Kind, typed
from stratsweep_server.optimization.limits import MAX_CONSTRAINT_CHARACTERS
from stratsweep_server.texts import quoted


class InvalidConditionError(ValueError):
    """Report a condition that cannot be applied; the text says why and what to do."""


def compile_condition(
    text: str, names: Names, variable_of: Callable[[str], Expression]
) -> Expression:
    """Return a condition that can be evaluated.

    Args:
        text: Such as `fast < slow`.
        names: What it may name.
        variable_of: Gives what each of these names is.

    Raises:
        InvalidConditionError: It does not parse, names what there is not, applies something to what
            it does not go with, or is not true or false.
    """
    try:
        return _condition(text, names, variable_of)
    except ConstraintTextError as error:
        what = _correction(text, names, variable_of) or str(error)
        raise InvalidConditionError(f"{quoted(text)} {what}") from error


def _condition(text: str, names: Names, variable_of: Callable[[str], Expression]) -> Expression:
    expression = typed(read_condition(text, names), variable_of)
    if expression.kind not in (Kind.TRUTH, Kind.NOTHING):
        raise ConstraintTextError(
            f"gives {expression.kind.value}, not true or false; compare it with something"
        )
    return expression


def _correction(text: str, names: Names, variable_of: Callable[[str], Expression]) -> str:
    """Return what to write instead, if that can be told and read; else nothing."""
    if len(text) > MAX_CONSTRAINT_CHARACTERS or not text.isprintable():
        return ""
    rewritten, found = rewrite(text, names.known)
    try:
        _condition(rewritten, names, variable_of)
    except ConstraintTextError:
        return ""
    return f"has {' and '.join(found)}; write `{rewritten}`" if found else ""
