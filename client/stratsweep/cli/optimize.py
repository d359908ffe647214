"""`stratsweep optimize`: run an optimization, show its progress, print its ranking."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from stratsweep.cli.connection import ServerChoice, print_above, server_options
from stratsweep.cli.exit_codes import ExitCode
from stratsweep.cli.following import PROGRESS_INTERVAL, kept_note, run_to_end
from stratsweep.cli.option_types import DayType, LabelType, OptimizationIdType, SecondsType
from stratsweep.cli.output_shape import OutputShape, output_options
from stratsweep.cli.parameter_help import StrategyHelpCommand
from stratsweep.cli.parameters import ParameterType
from stratsweep.cli.result_report import EXIT_CODES, give_result
from stratsweep.cli.violations import given_by, in_command_line_words
from stratsweep.config import ConfigOptions, RunOptions
from stratsweep.errors import InvalidConfigError, NotFoundError, StratsweepError
from stratsweep.events import OptimizationResult
from stratsweep.parameters import GridValues

if TYPE_CHECKING:  # gRPC is slow to import: a private server gets ready meanwhile
    from stratsweep.client import Client
    from stratsweep.repeats import RepeatCheck

_Value = TypeVar("_Value")
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
@click.option(
    "--id",
    "optimization_id",
    type=OptimizationIdType(),
    metavar="ID",
    help="Its id. One that is known, with the same config, is gone on with: what has completed is "
    "not run again. Default: one that sorts by time.",
)
@click.option(
    "--reuse",
    is_flag=True,
    help="Take over combinations that an earlier optimization ran with the same inputs.",
)
@click.option(
    "--detach",
    is_flag=True,
    help="Start it at --server, print its id, and leave: it goes on without this command.",
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
    optimization_id: str | None,
    detach: bool,
    reuse: bool,
    **options: Any,  # noqa: ANN401 - those that are named as the contract's fields are
) -> None:
    """Run one backtest per combination of the parameters' values and rank them.

    `stratsweep optimize STRATEGY --help` also lists the parameters of that strategy.
    """
    _check_run(choice, shape, detach=detach, has_id=optimization_id is not None)
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
    run = RunOptions(
        labels=_by_name(labels, "--label", "give it one value"),
        progress_interval=PROGRESS_INTERVAL,
        reuse=reuse,
        detached=detach,
    )
    if optimization_id is not None:
        run["optimization_id"] = optimization_id
    note = ""
    with choice.connect(None if shape.quiet else print_above) as client:
        if shape.each_symbol:
            from stratsweep.cli.each_symbol import optimize_each  # noqa: PLC0415 - rich is slow

            context.exit(optimize_each(client, strategy, config, run, shape, choice, optimize))
        with _in_command_line_words(config):
            if detach:
                context.exit(_start_detached(client, strategy, config, run, choice))
            result = run_to_end(client, strategy, config, run, shape, choice)
        repeats = None
        if shape.check_repeats and result.ranked:
            repeats = _repeat(client, result, shape.check_repeats, quiet=shape.quiet)
        if not shape.quiet:
            note = kept_note(client, choice, result)
    is_written = give_result(result, shape, repeats)
    if note:
        click.echo(note, err=True)
    context.exit(EXIT_CODES[result.state] if is_written else ExitCode.FAILURE)


def _check_run(choice: ServerChoice, shape: OutputShape, *, detach: bool, has_id: bool) -> None:
    """Refuse options that contradict how it is to run."""
    if detach and choice.server is None:
        raise click.UsageError("--detach needs --server: a private server ends with the command")
    if detach and (shape.outputs or shape.check_repeats):
        option = "--output" if shape.outputs else "--check-repeats"
        raise click.UsageError(f"{option} is for a result, which --detach does not wait for")
    if shape.each_symbol and (detach or has_id):
        option = "--detach" if detach else "--id"
        raise click.UsageError(f"{option} is for one optimization, not for --each-symbol")


def _start_detached(
    client: Client, strategy: str, config: ConfigOptions, run: RunOptions, choice: ServerChoice
) -> ExitCode:
    """Start an optimization that goes on without this command, and print its id."""
    with client.optimize(strategy, **run, **config) as stream:
        next(iter(stream))
    click.echo(stream.optimization_id)
    click.echo(f"follow it: {choice.command('watch', stream.optimization_id)}", err=True)
    return ExitCode.SUCCESS


def _by_name(pairs: tuple[tuple[str, _Value], ...], option: str, advice: str) -> dict[str, _Value]:
    by_name: dict[str, _Value] = {}
    for name, value in pairs:
        if name in by_name:
            raise click.UsageError(f"{option}: {name!r} is named more than once; {advice}")
        by_name[name] = value
    return by_name


@contextmanager
def _in_command_line_words(config: ConfigOptions) -> Iterator[None]:
    """Name the options in what a server refuses."""
    try:
        yield
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
