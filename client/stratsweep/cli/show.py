"""`stratsweep show`: the results of an optimization that is kept."""

from __future__ import annotations

import click

from stratsweep.cli.connection import ServerChoice, store_options
from stratsweep.cli.exit_codes import ExitCode
from stratsweep.cli.kept import find_optimization
from stratsweep.cli.option_types import OptimizationIdType
from stratsweep.cli.output_shape import OutputShape, output_options
from stratsweep.cli.result_report import give_result
from stratsweep.cli.violations import in_command_line_words
from stratsweep.errors import InvalidConfigError

_EXAMPLE = """\b
Example:
  stratsweep show 01jd --sort total_return --require "trade_count >= 30" --output all.csv
"""


@click.command(short_help="Show the results of one that is kept.", epilog=_EXAMPLE)
@click.argument("optimization_id", metavar="ID", type=OptimizationIdType())
@click.option(
    "--sort", "metric", metavar="METRIC", help="Rank by this metric. Default: as they were ranked."
)
@click.option("--maximize", is_flag=True, help="Rank the largest value first.")
@click.option(
    "--minimize",
    is_flag=True,
    help="Rank the smallest value first. Default: of another metric its better end.",
)
@click.option(
    "--require",
    "requirements",
    multiple=True,
    metavar="CONDITION",
    help='Rank only results that fulfil this, such as "trade_count >= 30". Repeatable. Default: '
    "what was required.",
)
@output_options
@store_options
@click.pass_context
def show(
    context: click.Context,
    /,
    optimization_id: str,
    *,
    choice: ServerChoice,
    shape: OutputShape,
    metric: str | None,
    maximize: bool,
    minimize: bool,
    requirements: tuple[str, ...],
) -> None:
    """Show everything that `optimize` can show of an optimization, now or later.

    ID is its id or a beginning of it that no other has; `stratsweep list` names them. Of one that
    has not ended, it is what has completed so far. Nothing is run.
    """
    if maximize and minimize:
        raise click.UsageError("--maximize and --minimize: give one of them")
    with choice.connect() as client:
        # These are slow to import; a private server gets ready meanwhile.
        from stratsweep.cli.kept_results import Order, kept_result  # noqa: PLC0415
        from stratsweep.cli.optimization_table import describe_stand  # noqa: PLC0415

        order = Order(metric, minimize if minimize or maximize else None, requirements)
        stand = find_optimization(client, optimization_id)
        shape.check_columns(stand.started)
        if not shape.quiet:
            click.echo(describe_stand(stand), err=True)
        try:
            result = kept_result(client, stand, shape, order)
        except InvalidConfigError as error:
            given = {"requirements": requirements}
            error.violations = in_command_line_words(error.violations, given, context.command)
            raise
    if not give_result(result, shape):
        context.exit(ExitCode.FAILURE)
    context.exit(ExitCode.SUCCESS if result.ranked else ExitCode.NO_SUCCESS)
