"""`stratsweep new`: write files to begin with."""

from __future__ import annotations

from pathlib import Path

import click


class _StrategyNameType(click.ParamType[str]):
    """A name that a function and its module can have."""

    name = "name"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Check the name.

        Raises:
            click.BadParameter: It is no name, or somebody else's.
        """
        from stratsweep.cli.strategy_template import name_problem  # noqa: PLC0415 - as in `strategy`

        text = str(value)
        if problem := name_problem(text):
            self.fail(f"{text!r} {problem}", param, ctx)
        return text


@click.group(short_help="Write a strategy to begin with.")
def new() -> None:
    """Write files to begin with."""


@new.command(short_help="Write a strategy and its test.")
@click.argument("name", type=_StrategyNameType())
def strategy(name: str) -> None:
    """Write a strategy that runs, NAME.py, and its test, test_NAME.py, into this directory.

    Files that are there already are left alone.
    """
    # Not at the top: other commands do not wait for it.
    from stratsweep.cli.strategy_template import (  # noqa: PLC0415
        EXAMPLE_PARAMETERS,
        STRATEGY,
        TEST,
        filled_in,
    )

    files = {Path(f"{name}.py"): STRATEGY, Path(f"test_{name}.py"): TEST}
    for path in files:
        if path.exists():
            raise click.UsageError(f"{path} is there already; choose another name, or move it")
    for path, template in files.items():
        with path.open("x", encoding="utf-8") as file:
            file.write(filled_in(template, name))
    click.echo(
        f"Wrote {name}.py and test_{name}.py.\n\n"
        f"Run it, on a folder with price files:\n"
        f"  stratsweep optimize {name} --strategies {name}.py {EXAMPLE_PARAMETERS} "
        "--data prices --symbol SPY\n"
        f"Test it:\n"
        f"  pytest test_{name}.py"
    )
