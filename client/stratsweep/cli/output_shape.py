"""What is printed and written of a result."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any

import click

from stratsweep.cli.option_types import NamesType
from stratsweep.cli.output_files import OutputFileType, keep_existing
from stratsweep.events import OptimizationStarted

_UINT32_MAXIMUM = 2**32 - 1
_TABLE_ROWS = 20
_EACH_TABLE_ROWS = 5
_OPTIONS = (
    click.option(
        "--top",
        type=click.IntRange(min=1, max=_UINT32_MAXIMUM),
        metavar="N",
        help="Print only the best N. Default: 20 in a table, 5 in one of each symbol, else all.",
    ),
    click.option(
        "--columns",
        "metric_names",
        type=NamesType(),
        metavar="METRIC,…",
        default=(),
        help="The metrics in the table, in this order. Default: the target and the usual ones.",
    ),
    click.option(
        "--format",
        "output_format",
        type=click.Choice(["table", "json", "csv"]),
        default="table",
        help="What to print on standard output.",
    ),
    click.option(
        "--output",
        "outputs",
        type=OutputFileType(),
        multiple=True,
        metavar="FILE",
        help="Also write a .json, .csv or .parquet file with every result. Repeatable.",
    ),
    click.option(
        "--output-top",
        type=click.IntRange(min=1, max=_UINT32_MAXIMUM),
        metavar="N",
        help="Only the best N in files. Default: all.",
    ),
    click.option("--overwrite", is_flag=True, help="Replace files that are there already."),
    click.option(
        "--quiet",
        is_flag=True,
        help="Nothing but the result: no progress, nothing that backtests print, no remarks.",
    ),
)


@dataclass(frozen=True, slots=True)
class OutputShape:
    """What is printed and written of a result: the options of the command by their names."""

    top: int | None
    metric_names: tuple[str, ...]
    output_format: str
    outputs: tuple[Path, ...]
    output_top: int | None
    quiet: bool
    check_repeats: int | None = None
    each_symbol: bool = False

    def check(self) -> None:
        """Refuse options that would change nothing.

        Raises:
            click.UsageError: They contradict each other.
        """
        if self.metric_names and self.output_format != "table":
            raise click.UsageError("--columns is for the table; JSON and CSV have every metric")
        if self.output_top is not None and not self.outputs:
            raise click.UsageError("--output-top is for the files of --output; there is none")
        if self.check_repeats and self.each_symbol:
            raise click.UsageError("--check-repeats is for one optimization, not for --each-symbol")

    def check_columns(self, started: OptimizationStarted) -> None:
        """Refuse metrics that the engine does not declare, where it declares any.

        Raises:
            click.BadParameter: With what was probably meant.
        """
        declared = [each.name for each in started.metrics]
        for name in self.metric_names:
            if declared and name not in declared:
                near = difflib.get_close_matches(name, declared, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(declared)}"
                raise click.BadParameter(f"{name!r} is no metric; {hint}", param_hint="--columns")

    @property
    def printed_row_count(self) -> int | None:
        """How many rows of a ranking are printed; None for all."""
        usual = _EACH_TABLE_ROWS if self.each_symbol else _TABLE_ROWS
        return self.top or (usual if self.output_format == "table" else None)

    @property
    def needed_row_count(self) -> int:
        """How many rows anything needs, so that no others travel; 0 for all."""
        if self.check_repeats:
            return 0
        counts = [self.printed_row_count, *([self.output_top] if self.outputs else [])]
        return max(each or 0 for each in counts) if all(counts) else 0


def output_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say what is printed and written, which it gets as `shape`.

    Options that contradict each other, and files that are there already, are refused first.
    """

    @wraps(command)
    def with_shape(*arguments: Any, overwrite: bool, **options: Any) -> None:  # noqa: ANN401
        names = [each.name for each in fields(OutputShape) if each.name in options]
        shape = OutputShape(**{name: options.pop(name) for name in names})
        shape.check()
        keep_existing(shape.outputs, overwrite=overwrite)
        command(*arguments, shape=shape, **options)

    for option in reversed(_OPTIONS):
        with_shape = option(with_shape)
    return with_shape
