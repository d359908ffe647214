"""`stratsweep optimize`: run an optimization, show its progress, print its ranking."""

from __future__ import annotations

import contextlib
import sys
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from stratsweep.cli.connection import ServerChoice, server_options
from stratsweep.cli.option_types import DayType, LabelType, SecondsType
from stratsweep.cli.output_shape import OutputShape, output_options
from stratsweep.cli.parameter_help import StrategyHelpCommand
from stratsweep.cli.parameters import ParameterType
from stratsweep.cli.result_report import give_result
from stratsweep.cli.violations import given_by, in_command_line_words
from stratsweep.config import ConfigOptions
from stratsweep.errors import InvalidConfigError, NotFoundError, StratsweepError
from stratsweep.events import OptimizationResult
from stratsweep.parameters import GridValues

if TYPE_CHECKING:  # gRPC is slow to import: a private server gets ready meanwhile
    from stratsweep.client import Client
    from stratsweep.repeats import RepeatCheck

_Value = TypeVar("_Value")
# Much faster than a message per backtest, and still smooth to look at.
_PROGRESS_INTERVAL = timedelta(milliseconds=100)
_LIST_TIMEOUT = timedelta(seconds=2)  # a note is not worth more
_UINT32_MAXIMUM = 2**32 - 1
_UINT64_MAXIMUM = 2**64 - 1
_EXAMPLE = """\b
Example:
  stratsweep optimize sma_cross --data prices --symbol SPY \\
      --param fast=5:50:5 --param slow=20:200:20 --where "fast < slow"
"""


@click.command(
    cls=StrategyHelpCommand,
    short_help="Find the best parameters of a strategy.",
    epilog=_EXAMPLE,
)
@click.argument("strategy")
@click.option(
    "--symbol",
    "symbols",
    multiple=True,
    required=True,
    help="What to trade. Repeatable: each gets an equal share of the cash.",
)
@click.option(
    "--each-symbol",
    is_flag=True,
    help="Optimize each symbol alone: a ranking each, and a summary.",
)
@click.option(
    "--param",
    "parameters",
    type=ParameterType(),
    multiple=True,
    metavar="NAME=VALUES",
    help="What to try: name=start:stop:step, both ends included, or name=a,b,c. Repeatable.",
)
@click.option(
    "--where",
    "constraints",
    multiple=True,
    metavar="CONDITION",
    help='Run only combinations that fulfil this, such as "fast < slow". Repeatable.',
)
@click.option(
    "--target",
    "optimization_target",
    metavar="METRIC",
    help="The metric to rank by. Default: the server's, sharpe_ratio.",
)
@click.option(
    "--require",
    "requirements",
    multiple=True,
    metavar="CONDITION",
    help='Rank only results that fulfil this, such as "trade_count >= 30". Repeatable.',
)
@click.option("--maximize", is_flag=True, help="Rank the largest value first.")
@click.option(
    "--minimize",
    is_flag=True,
    help="Rank the smallest value first. Default: the metric's better end.",
)
@click.option("--from", "start_date", type=DayType(), metavar="DATE", help="First day, YYYY-MM-DD.")
@click.option("--to", "end_date", type=DayType(), metavar="DATE", help="Last day, included.")
@click.option(
    "--timezone",
    metavar="ZONE",
    help="Time zone of these days, and of times in price files that have none, such as "
    "America/New_York. Default: what stratsweep.toml in the folder says, or the server's.",
)
@click.option(
    "--warm-up",
    "warm_up_bar_count",
    type=click.IntRange(min=0, max=_UINT32_MAXIMUM),
    metavar="N",
    default=0,
    help="Bars before the first day that indicators may use. Default: 0.",
)
@click.option(
    "--timeout",
    "backtest_timeout",
    type=SecondsType(),
    metavar="SECONDS",
    help="Kill a single backtest that runs longer. Default: 300.",
)
@click.option(
    "--cash", "starting_cash", type=float, help="The account at the start. Default: 10000."
)
@click.option("--commission", type=float, default=0.0, help="Fraction per side: 0.001 is 0.1 %.")
@click.option("--slippage", type=float, default=0.0, help="Fraction of the price, per side.")
@click.option(
    "--seed",
    type=click.IntRange(min=0, max=_UINT64_MAXIMUM),
    metavar="N",
    default=0,
    help="Determines the random numbers that backtests draw. Default: 0.",
)
@click.option(
    "--label",
    "labels",
    type=LabelType(),
    multiple=True,
    metavar="KEY=VALUE",
    help="What you call this optimization, in results and the server's log. Repeatable.",
)
@output_options
@click.option(
    "--check-repeats",
    type=click.IntRange(min=1),
    metavar="N",
    help="Run N ranked combinations again, and name those that give other results.",
)
@server_options
@click.pass_context
def optimize(
    context: click.Context,
    /,
    strategy: str,
    parameters: tuple[tuple[str, GridValues], ...],
    labels: tuple[tuple[str, str], ...],
    choice: ServerChoice,
    shape: OutputShape,
    maximize: bool,
    minimize: bool,
    **options: Any,  # noqa: ANN401 - those that are named as the contract's fields are
) -> None:
    """Run one backtest per combination of the parameters' values and rank them.

    `stratsweep optimize STRATEGY --help` also lists the parameters of that strategy.
    """
    if maximize and minimize:
        raise click.UsageError("--maximize and --minimize: give one of them")
    config = cast(
        ConfigOptions,
        options
        | {
            "parameters": _by_name(parameters, "--param", "join its values"),
            "maximize": maximize or None,
            "minimize": minimize or None,
            "max_ranked_results": shape.needed_row_count,
        },
    )
    labels_by_key = _by_name(labels, "--label", "give it one value")
    with choice.connect(None if shape.quiet else _print_output) as client:
        if shape.each_symbol:
            from stratsweep.cli.each_symbol import optimize_each  # noqa: PLC0415 - rich is slow

            context.exit(optimize_each(client, strategy, config, labels_by_key, shape, optimize))
        result = _run(client, strategy, config, labels_by_key, shape)
        repeats = None
        if shape.check_repeats and result.ranked:
            repeats = _repeat(client, result, shape.check_repeats, quiet=shape.quiet)
    context.exit(give_result(result, shape, repeats))


def _print_output(line: str) -> None:
    # Not click: it finds its own way past what rich has put there to keep the bar below.
    with contextlib.suppress(OSError):  # whoever no longer reads it still gets the ranking
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def _by_name(pairs: tuple[tuple[str, _Value], ...], option: str, advice: str) -> dict[str, _Value]:
    by_name: dict[str, _Value] = {}
    for name, value in pairs:
        if name in by_name:
            raise click.UsageError(f"{option}: {name!r} is named more than once; {advice}")
        by_name[name] = value
    return by_name


def _run(
    client: Client,
    strategy: str,
    config: ConfigOptions,
    labels: dict[str, str],
    shape: OutputShape,
) -> OptimizationResult:
    from stratsweep.cli.progress import follow, progress_display  # noqa: PLC0415 - rich is slow
    from stratsweep.cli.slowness import SlownessWatch  # noqa: PLC0415 - as that

    stream = client.optimize(
        strategy, labels=labels, progress_interval=_PROGRESS_INTERVAL, **config
    )
    watch = None if shape.quiet else SlownessWatch(partial(_takes_columns, client, strategy))
    try:
        return follow(stream, progress_display(quiet=shape.quiet), watch, shape.check_columns)
    except (InvalidConfigError, NotFoundError) as error:
        error.violations = in_command_line_words(error.violations, given_by(config), optimize)
        raise


def _repeat(
    client: Client, result: OptimizationResult, count: int, *, quiet: bool
) -> RepeatCheck | None:
    """Run combinations again. What goes wrong with that costs the ranking nothing."""
    if not quiet:
        click.echo(f"running {min(count, len(result.ranked)):,} of them again", err=True)
    try:
        return client.check_repeats(result, count=count)
    except StratsweepError as error:
        click.echo(f"error: they could not all run again: {error}", err=True)
    except KeyboardInterrupt:
        click.echo("interrupted before all had run again", err=True)
    return None


def _takes_columns(client: Client, strategy: str) -> bool | None:
    """Whether a strategy decides for many combinations at once; None where that is not known."""
    try:
        catalogue = client.list_strategies(timeout=_LIST_TIMEOUT)
    except StratsweepError:
        return None
    declared = (each.takes_columns for each in catalogue.strategies if each.name == strategy)
    return next(declared, None)
