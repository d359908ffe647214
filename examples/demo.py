"""A first look: start a real server, run 100 combinations through the client, show the ranking.

Without arguments it makes a synthetic market of its own; with `--data DIR --symbol NAME` it uses
your price files. Run it with `make demo`.
"""

from __future__ import annotations

import csv
import random
import sys
import tempfile
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import click
from stratsweep import Client, ServerProcess, StratsweepError
from stratsweep.cli.progress import follow, progress_display
from stratsweep.cli.ranking_table import ranking_table
from stratsweep.cli.tables import failure_summary

SYNTHETIC_SYMBOL = "SYNTH"
SYNTHETIC_BAR_COUNT = 1_500
SEED = 20_240_229


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False), help="Your price files.")
@click.option("--symbol", help="The one to use, such as SPY.")
def main(data: str | None, symbol: str | None) -> None:
    """Optimize the crossover of two moving averages over 100 combinations."""
    if (data is None) != (symbol is None):
        raise click.UsageError("give both a data folder and a symbol, or neither")
    try:
        if data is not None and symbol is not None:
            run(data, symbol)
            return
        with tempfile.TemporaryDirectory(prefix="stratsweep-demo-") as folder:
            write_synthetic_market(Path(folder) / f"{SYNTHETIC_SYMBOL}.csv")
            click.echo(f"{SYNTHETIC_SYMBOL} is a synthetic market: a random walk, not real prices.")
            run(folder, SYNTHETIC_SYMBOL)
    except StratsweepError as error:
        sys.exit(f"error: {error}")


def run(data: str, symbol: str) -> None:
    """Start a server on a free port, optimize, print the ranking, stop the server."""
    with (
        ServerProcess(["--data", data, "--state", "none"], on_note=click.echo) as server,
        Client(server.address) as client,
    ):
        click.echo(f"A server listens on {server.address}.")
        stream = client.optimize(
            "sma_cross",
            symbols=symbol,
            parameters={"fast": range(5, 51, 5), "slow": range(60, 241, 20)},
            optimization_target="sharpe_ratio",
            commission=0.0005,
        )
        result = follow(stream, progress_display())
        click.echo(ranking_table(result, row_count=10), nl=False)
        if result.failures:
            click.echo(failure_summary(result.failures))
    click.echo("The server has stopped.")


def write_synthetic_market(path: Path) -> None:
    """Write daily bars of a random walk whose drift changes now and then; the same each time."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["Date", "Open", "High", "Low", "Close", "Volume"])
        writer.writerows(synthetic_bars(random.Random(SEED)))  # noqa: S311 - prices, not secrets


def synthetic_bars(generator: random.Random) -> Iterator[tuple[str | int, ...]]:
    """Yield date, open, high, low, close and volume of consecutive weekdays."""
    day, close, drift = date(2018, 1, 1), 100.0, 0.0
    for number in range(SYNTHETIC_BAR_COUNT):
        if number % 90 == 0:
            drift = generator.gauss(0.0003, 0.001)
        opening = close * (1 + generator.gauss(0, 0.002))
        close = opening * (1 + generator.gauss(drift, 0.01))
        high = max(opening, close) * (1 + abs(generator.gauss(0, 0.003)))
        low = min(opening, close) / (1 + abs(generator.gauss(0, 0.003)))
        prices = (f"{price:.4f}" for price in (opening, high, low, close))
        yield (day.isoformat(), *prices, generator.randint(1_000_000, 5_000_000))
        day += timedelta(days=3 if day.weekday() == 4 else 1)


if __name__ == "__main__":
    main()
