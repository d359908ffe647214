"""Name what can be wrong with market data.

MarketDataError
 ├─ InvalidSymbolError   the text is not a symbol at all
 ├─ UnknownSymbolError   no file has that name
 ├─ UnknownTimezoneError the text is no time zone
 ├─ FolderSettingsError  the folder's settings cannot be used
 ├─ InvalidBarsError     the file cannot be used
 └─ NoBarsError          the file has nothing within the dates

Messages are fit for clients: they name files and symbols, never the data directory.
"""

from __future__ import annotations

from datetime import date

from stratsweep_server.texts import quoted


def unit_of_rows(file_name: str) -> str:
    """Return what the rows of a price file are called in messages."""
    return "row" if file_name.lower().endswith(".parquet") else "line"


class MarketDataError(Exception):
    """Report that bars could not be provided."""


class InvalidSymbolError(MarketDataError):
    """Report a text that cannot be the name of a symbol, such as a path.

    Attributes:
        symbol: The text.
    """

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        reason = "a symbol is a name such as SPY or BRK.B, the price file's without its extension, "
        reason += "and never a path"
        if any(separator in symbol for separator in ",;|"):
            reason = (
                "several symbols are given one by one: repeat --symbol, or use a list in a program"
            )
        elif symbol != symbol.strip():
            reason = "leave out the blanks around it"
        super().__init__(f"{quoted(symbol)} is not a symbol: {reason}")


class UnknownSymbolError(MarketDataError):
    """Report a symbol without a price file.

    Args:
        hint: What to write instead, or where to look.

    Attributes:
        symbol: The symbol.
        nearest: Names that there are, most similar first; may be empty.
        unread: Names of files that seem to have its prices, in formats that are not read.
    """

    def __init__(
        self, symbol: str, nearest: tuple[str, ...], hint: str, unread: tuple[str, ...] = ()
    ) -> None:
        self.symbol = symbol
        self.nearest = nearest
        self.unread = unread
        super().__init__(f"no bars for the symbol {quoted(symbol)}; {hint}")


class UnknownTimezoneError(MarketDataError):
    """Report a text that is no time zone.

    Attributes:
        name: The text.
        nearest: Names that there are, most similar first; may be empty.
    """

    def __init__(self, name: str, nearest: tuple[str, ...]) -> None:
        self.name = name
        self.nearest = nearest
        hint = f"the nearest: {', '.join(nearest)}" if nearest else "such as America/New_York"
        super().__init__(f"{quoted(name)} is not a time zone; write an IANA name, {hint}")


class FolderSettingsError(MarketDataError):
    """Report settings beside the price files that cannot be used.

    Attributes:
        file_name: The file's name, without its directory.
        reason: What is wrong in it, and what to do.
    """

    def __init__(self, file_name: str, reason: str) -> None:
        self.file_name = file_name
        self.reason = reason
        super().__init__(f"{file_name}: {reason}")


class InvalidBarsError(MarketDataError):
    """Report a price file that cannot be used.

    Attributes:
        file_name: The file's name, without its directory.
        row: Where first: the 1-based line in a CSV file, header included, or the 1-based row in a
            Parquet file; None when it concerns the whole file.
        reason: What is wrong there, and what to do.
        bad_row_count: The number of bad rows, that one included; 0 where row is None.
    """

    def __init__(
        self, file_name: str, row: int | None, reason: str, *, bad_row_count: int = 0
    ) -> None:
        self.file_name = file_name
        self.row = row
        self.reason = reason
        self.bad_row_count = 0 if row is None else max(bad_row_count, 1)
        place = file_name if row is None else f"{file_name}, {unit_of_rows(file_name)} {row}"
        more = f" and {bad_row_count - 1:,} more" if bad_row_count > 1 else ""
        super().__init__(f"{place}{more}: {reason}")


class NoBarsError(MarketDataError):
    """Report a symbol that has no bars within the dates.

    Attributes:
        symbol: The symbol.
        start_date: The first day asked for; None for no limit.
        end_date: The last day asked for; None for no limit.
        first_date: The day of the symbol's first bar.
        last_date: The day of its last bar.
    """

    def __init__(
        self,
        symbol: str,
        start_date: date | None,
        end_date: date | None,
        first_date: date,
        last_date: date,
    ) -> None:
        self.symbol = symbol
        self.start_date = start_date
        self.end_date = end_date
        self.first_date = first_date
        self.last_date = last_date
        asked = " ".join(
            f"{word} {day}" for word, day in (("from", start_date), ("to", end_date)) if day
        )
        super().__init__(
            f"{symbol} has no bars {asked}; choose dates within {first_date} to {last_date}"
        )
