"""The Parquet file that an import writes."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import polars as pl

from stratsweep_server.market_data.bars import Bars
from stratsweep_server.market_data.file_names import PARQUET_EXTENSION, symbol_of
from stratsweep_server.market_data.importing.moments import are_dates


class TargetExistsError(Exception):
    """Report a file that is in the way; the text says which, and what to do."""


def target_of(folder: Path, symbol: str, *, overwrites: bool) -> Path:
    """Return the path of a symbol's file.

    Args:
        folder: Where it is to be; it need not exist.
        symbol: The symbol's name.
        overwrites: Whether the file itself may be there already.

    Raises:
        TargetExistsError: It is there, or the folder has another file of the symbol.
    """
    target = folder / (symbol + PARQUET_EXTENSION)
    if target.exists() and not overwrites:
        raise TargetExistsError(f"{target} exists; name another folder with --to, or --overwrite")
    others = sorted(
        path.name
        for path in (folder.iterdir() if folder.is_dir() else ())
        if symbol_of(path.name) == symbol and path.name != target.name
    )
    if others:
        raise TargetExistsError(
            f"{folder} has {others[0]}, and of two files of one symbol none is used; name another "
            "folder with --to"
        )
    return target


def write_bars_file(target: Path, bars: Bars) -> None:
    """Write bars as a price file that reads back bit by bit; nobody sees a part of it.

    Times are dates where the bars have dates, else UTC.

    Raises:
        OSError: It cannot be written.
    """
    time = pl.Series("time", bars.time).cast(pl.Datetime("ns"))
    time = time.cast(pl.Date) if are_dates(bars) else time.dt.replace_time_zone("UTC")
    prices = (pl.Series(name, getattr(bars, name)) for name in ("open", "high", "low", "close"))
    frame = pl.DataFrame([time, *prices, pl.Series("volume", bars.volume)])
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        frame.write_parquet(unfinished)
        unfinished.replace(target)
    except pl.exceptions.PolarsError as error:  # a full disk
        raise OSError(f"{target} cannot be written: {error}") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            unfinished.unlink()
