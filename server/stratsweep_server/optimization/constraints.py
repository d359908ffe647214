"""Constraints: SQL boolean expressions over the parameters, evaluated by polars, without eval.

Every constraint sees the whole grid, so their order does not matter, and an aggregate
(`slow > avg(slow)`) means the one over the grid. What they may say is in `constraint_text`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stratsweep_server.backtest import ParameterValue
from stratsweep_server.execution.plan import GridColumns, ParameterAxis
from stratsweep_server.market_data.errors import quoted
from stratsweep_server.optimization.constraint_text import ConstraintTextError, read_constraint

# What a client can write must never end the server: a bug in polars arrives as a PanicException,
# which is no Exception.
_POLARS_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException)


class InvalidConstraintError(ValueError):
    """A constraint that cannot be applied; the text says why and what to do."""


def check_constraint(text: str, sample: Mapping[str, ParameterValue]) -> None:
    """Refuse a constraint that does not parse, names an unknown parameter, or is not true or false.

    Args:
        text: Such as `fast < slow`.
        sample: A value of each parameter of the grid.

    Raises:
        InvalidConstraintError: With the reason.
    """
    result = _evaluate(text, {name: [value] for name, value in sample.items()})
    if result.dtype not in (pl.Boolean, pl.Null):
        raise InvalidConstraintError(
            f"{quoted(text)} gives a {result.dtype}, not true or false; compare it with something"
        )


def accepted_indices(
    axes: Sequence[ParameterAxis], size: int, constraints: Sequence[str]
) -> NDArray[np.int64]:
    """The combination indices for which every constraint is true, ascending, as int64.

    Args:
        axes: The grid's axes.
        size: The number of combinations of the grid.
        constraints: Each has passed `check_constraint`.

    Raises:
        InvalidConstraintError: One that fails on some of the values.
    """
    indices = np.arange(size, dtype=np.int64)
    accepted = np.ones(size, dtype=bool)
    table = GridColumns(axes).at(indices) if constraints else {}
    for text in constraints:
        verdict = _evaluate(text, table).cast(pl.Boolean).fill_null(value=False)
        accepted &= verdict.to_numpy()
    return indices[accepted]


def _evaluate(text: str, table: Mapping[str, Sequence[object] | NDArray[np.generic]]) -> pl.Series:
    height = max((len(column) for column in table.values()), default=1)
    # One more column keeps the height, whatever the expression reads.
    frame = pl.DataFrame({**table, "": np.zeros(height, dtype=np.int8)})
    try:
        expression = pl.sql_expr(read_constraint(text, table))
        return frame.with_columns(expression.alias(""))[""]
    except ConstraintTextError as error:
        raise InvalidConstraintError(f"{quoted(text)} {error}") from error
    except _POLARS_ERRORS as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise InvalidConstraintError(
            f"{quoted(text)} cannot be evaluated ({reason}); write it like `fast < slow`"
        ) from error
