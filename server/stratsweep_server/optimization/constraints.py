"""Constraints: SQL boolean expressions over the parameters, evaluated by polars, without eval.

polars parses the text to an expression that can only reach the columns it is given: here the grid's
parameters. Every constraint sees the whole grid, so their order does not matter, and an aggregate
(`slow > avg(slow)`) means the one over the grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stratsweep_server.execution.plan import ParameterAxis
from stratsweep_server.optimization.grid import columns


class InvalidConstraintError(ValueError):
    """A constraint that cannot be applied; the text says why and what to do."""


def check_constraint(text: str, axes: Sequence[ParameterAxis]) -> None:
    """Refuse a constraint that does not parse, names an unknown parameter, or is not true or false.

    Args:
        text: Such as `fast < slow`.
        axes: The grid's axes; only their first values are looked at.

    Raises:
        InvalidConstraintError: With the reason.
    """
    try:
        expression = pl.sql_expr(text)
    except pl.exceptions.PolarsError as error:
        raise InvalidConstraintError(
            f"{text!r} is no SQL expression ({_first_line(error)}); write it like `fast < slow`"
        ) from error
    names = [axis.name for axis in axes]
    unknown = sorted(set(expression.meta.root_names()) - set(names))
    if unknown:
        raise InvalidConstraintError(
            f"{text!r} names {', '.join(unknown)}, which the grid does not have; "
            f"its parameters are {', '.join(names) or 'none'}"
        )
    sample = {axis.name: list(axis.values[:1]) for axis in axes}
    result = _evaluate(text, sample)
    if result.dtype not in (pl.Boolean, pl.Null):
        raise InvalidConstraintError(
            f"{text!r} gives a {result.dtype}, not true or false; compare it with something"
        )


def accepted_indices(
    axes: Sequence[ParameterAxis], size: int, constraints: Sequence[str]
) -> NDArray[np.int64]:
    """The combination indices for which every constraint is true, ascending, as int64.

    Args:
        axes: The grid's axes.
        size: The number of combinations of the grid.
        constraints: Each has passed `check_constraint`.
    """
    indices = np.arange(size, dtype=np.int64)
    accepted = np.ones(size, dtype=bool)
    table = columns(axes, indices) if constraints else {}
    for text in constraints:
        verdict = _evaluate(text, table).cast(pl.Boolean).fill_null(value=False)
        accepted &= verdict.to_numpy()
    return indices[accepted]


def _evaluate(text: str, table: Mapping[str, object]) -> pl.Series:
    height = max((len(column) for column in table.values()), default=1)  # type: ignore[arg-type]
    # One more column keeps the height, whatever the expression reads.
    frame = pl.DataFrame({**table, "": np.zeros(height, dtype=np.int8)})
    try:
        return frame.with_columns(pl.sql_expr(text).alias(""))[""]
    except pl.exceptions.PolarsError as error:
        raise InvalidConstraintError(
            f"{text!r} cannot be evaluated: {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
