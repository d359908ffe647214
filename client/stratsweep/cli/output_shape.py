"""What is printed and written of a result."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

import click

from stratsweep.events import OptimizationStarted

_TABLE_ROWS = 20
_EACH_TABLE_ROWS = 5


@dataclass(frozen=True, slots=True)
class OutputShape:
    """What is printed and written of a result: the options of the command by their names."""

    top: int | None
    metric_names: tuple[str, ...]
    output_format: str
    outputs: tuple[Path, ...]
    output_top: int | None
    check_repeats: int | None
    each_symbol: bool
    quiet: bool

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
