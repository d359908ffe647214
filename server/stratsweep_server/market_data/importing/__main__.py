"""The import program: `python -m stratsweep_server.market_data.importing`, `stratsweep import`."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from stratsweep_server.market_data.errors import (
    InvalidSymbolError,
    MarketDataError,
    UnknownTimezoneError,
)
from stratsweep_server.market_data.file_names import is_symbol
from stratsweep_server.market_data.importing.joining import join
from stratsweep_server.market_data.importing.layouts import LAYOUTS, VendorLayout
from stratsweep_server.market_data.importing.report import report_json, report_on, report_text
from stratsweep_server.market_data.importing.sources import ReadingOptions, read_sources
from stratsweep_server.market_data.importing.target_file import (
    TargetExistsError,
    target_of,
    write_bars_file,
)
from stratsweep_server.market_data.timezones import check_timezone

# The words of --columns, and what such a column is to the reader of files.
_ROLES = ("time", "date", "open", "high", "low", "close", "adjusted_close", "volume")


def _columns(
    _context: click.Context, _parameter: click.Parameter, values: Sequence[str]
) -> dict[str, str]:
    """Parse `time=Date,open=3` to columns by role."""
    columns: dict[str, str] = {}
    for pair in (each.strip() for value in values for each in value.split(",")):
        role, _, name = pair.partition("=")
        if role not in _ROLES or not name:
            raise click.BadParameter(
                f"{pair!r} is not ROLE=COLUMN, such as open=Eröffnung or open=3; "
                f"roles are {', '.join(_ROLES)}"
            )
        if role in columns:
            raise click.BadParameter(f"{role} is there twice")
        columns[role] = name
    if "date" in columns and "time" in columns:
        columns["clock"] = columns.pop("time")
    elif "date" in columns:
        columns["time"] = columns.pop("date")
    return columns


def _timezone(_context: click.Context, _parameter: click.Parameter, name: str) -> str:
    try:
        if name:
            check_timezone(name)
    except UnknownTimezoneError as error:
        raise click.BadParameter(str(error)) from error
    return name


def _symbol(_context: click.Context, _parameter: click.Parameter, name: str) -> str:
    if not is_symbol(name):
        raise click.BadParameter(str(InvalidSymbolError(name)))
    return name


@click.command(
    "import",
    epilog="Exit codes: 0 the file is written; 1 the files cannot be used, or the file not be "
    "written; 2 bad usage, or the file exists; 130 interrupted.",
)
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE...",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--symbol", required=True, metavar="NAME", callback=_symbol, help="What the prices are of."
)
@click.option(
    "--to",
    "folder",
    default=".",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write NAME.parquet to.  [default: this one]",
)
@click.option(
    "--layout",
    type=click.Choice(list(LAYOUTS)),
    help="Whose files these are: tells the columns of files without names, and the time zone.",
)
@click.option(
    "--columns",
    multiple=True,
    metavar="ROLE=COLUMN,...",
    callback=_columns,
    help="Which column is which, by its name or its position from 1: time=Stamp,open=2. Roles: "
    f"{', '.join(_ROLES)}. May be repeated.",
)
@click.option(
    "--timezone",
    default="",
    metavar="ZONE",
    callback=_timezone,
    help="Of times that have none, such as America/New_York.  [default: the layout's, else what "
    "stratsweep.toml beside a file says, else UTC]",
)
@click.option(
    "--skip-bad-rows",
    is_flag=True,
    help="Leave out bad rows, and report them, instead of refusing their file.",
)
@click.option("--overwrite", is_flag=True, help="Replace NAME.parquet.")
@click.option(
    "--format",
    "report_format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Of the report.",
)
def main(
    *,
    files: tuple[Path, ...],
    symbol: str,
    folder: Path,
    layout: str | None,
    columns: dict[str, str],
    timezone: str,
    skip_bad_rows: bool,
    overwrite: bool,
    report_format: str,
) -> None:
    """Join price files of one symbol to one clean Parquet file, and report on it.

    The files may be in any order, overlap where they agree, and be compressed (.gz, .zst, or .zip
    with one file of text inside). Nothing is written unless all of them can be used.
    """
    vendor = LAYOUTS[layout] if layout else VendorLayout(())
    try:
        target = target_of(folder, symbol, overwrites=overwrite)
        options = ReadingOptions(
            vendor.of_files(layout or "", columns), timezone or vendor.timezone, skip_bad_rows
        )
        joined = join(read_sources(symbol, files, options))
        write_bars_file(target, joined.bars)
        report = report_on(target, joined)
    except TargetExistsError as error:
        raise click.UsageError(str(error)) from error
    except (MarketDataError, OSError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(128 + signal.SIGINT)
    if report_format == "json":
        click.echo(json.dumps(report_json(report), indent=2))
    else:
        click.echo(report_text(report))


if __name__ == "__main__":
    main(prog_name="stratsweep import")
