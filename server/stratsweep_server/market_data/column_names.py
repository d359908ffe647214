"""Tell which column of a price file is which, by the names that vendors give them.

Names are compared by their letters and digits alone, in lower case: `<OPEN>`, `Open ` and `open`
are one name. A number in front, as in `1. open`, does not count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from stratsweep_server.texts import listed, quoted

PRICES = ("open", "high", "low", "close")
TIME_ROLES = ("time", "date", "clock")
OPTIONAL = ("adjusted_close", "volume", "tick_volume")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# The words for each column; of several in one file the first is taken.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "open": _words("open openprice priceopen openingprice pxopen otwarcie"),
    "high": _words("high highprice pricehigh highestprice pxhigh najwyzszy"),
    "low": _words("low lowprice pricelow lowestprice pxlow najnizszy"),
    "close": _words("close closeprice priceclose closingprice closelast pxlast zamkniecie"),
    "adjusted_close": _words("adjclose adjustedclose closeadj closeadjusted"),
    "volume": _words(
        "volume vol totalvolume tradedvolume volumetraded tradingvolume basevolume sharevolume"
        " realvolume pxvolume wolumen"
    ),
    "tick_volume": _words("tickvol tickvolume"),
}
_TIMES = _words("datetime timestamp")
_DATES = _words("date dtyyyymmdd")
_CLOCKS = _words("time")
# Where there is none of those; the time at which a bar begins first.
_TIMES_ALONE = _words(
    "timeperiodstart periodstart windowstart barstart opentime timeopen opentimestamp starttime"
    " timestart starttimestamp startat start begin bartime"
    " datetimeutc utcdatetime timestamputc utctimestamp timeutc utctime dateutc utcdate utc"
    " datetimegmt gmttime timegmt gmt localtime"
    " unixtimestamp timestampunix unixtime timeunix unix unixms unixtimestampms"
    " epoch epochtime epochms timestampms timestampns timems mts tsevent ts dt"
    " dates tradedate tradingdate tradingday exchangedate data"
)
# How pandas writes an index that has no name.
_NAMELESS_INDEX = ("", "index", "unnamed0", "indexlevel0")
# One letter means what it does beside the others.
_LETTERS = {"open": "o", "high": "h", "low": "l", "close": "c"}
_LETTERS_BESIDE = {"time": "t", "volume": "v"}
# Of the volumes of a pair, one counts what is traded, and one what it is paid in.
_PAID_IN = frozenset(_words("usd usdt usdc busd tusd fdusd eur gbp jpy krw try currency"))
# What is told of a volume, in a column of its own, and is none.
_OF_A_VOLUME = frozenset(_words("ma sma ema avg average mean median change delta ratio rank score"))

# Columns beside the prices that tell something of them.
_SYMBOLS = _words("ticker tickers symbol symbols instrument pair secid tic")
_ONLY_NASDAQ = "closelast"

# What may be a column, and may be something else.
_PERHAPS: Mapping[str, tuple[str, ...]] = {
    "time": ("date", "time", "stamp", "day", "epoch"),
    "open": ("open", "first"),
    "high": ("high", "max"),
    "low": ("low", "min"),
    "close": ("close", "last", "latest", "settle", "price", "ltp"),
}
_LONGEST_HINT, _LONGEST_NAME = 40, 200
_VALUE = re.compile(r"[+-]?[0-9][0-9.,:/ TZeE+-]*")
_WANTED = (
    "a time (Date, Datetime, Timestamp or Time), Open, High, Low and Close; Adj Close and Volume "
    "are optional"
)


class ColumnNamesError(Exception):
    """Report names that do not say which column is which; the text says what to do."""


def price_columns(names: Sequence[str]) -> set[str]:
    """Return which of open, high, low and close are among the names."""
    found = _Names(names)
    letters = {role for role, letter in _LETTERS.items() if letter in found.plain}
    if len(letters) == len(PRICES):
        return letters
    return {role for role in PRICES if any(name in found.plain for name in _NAMES[role])}


def is_value(text: str) -> bool:
    """Return whether a text is a number or a time, and so no name."""
    return _VALUE.fullmatch(text.strip()) is not None


def column_positions(
    names: Sequence[str], chosen: Mapping[str, str] | None = None
) -> dict[str, int]:
    """Find the position of each column that matters.

    Args:
        names: Of the columns.
        chosen: By role, the columns that a caller names, or gives the positions of, from 1.

    Returns:
        By role: one of `time`, `date`, or `date` and `clock`; `open`, `high`, `low`, `close`;
        perhaps `adjusted_close`, `volume` and `tick_volume`.

    Raises:
        ColumnNamesError: One is missing, or is there twice.
    """
    found = _Names(names)
    positions: dict[str, int | None] = {
        role: found.chosen(name) for role, name in (chosen or {}).items()
    }
    _refuse_shared(positions, names)
    if positions.keys().isdisjoint(TIME_ROLES):
        positions |= found.times()
    positions |= {role: found.price(role) for role in PRICES if role not in positions}
    problems = found.problems
    if missing := [role for role, position in positions.items() if position is None]:
        problems += [_missing(missing, names, positions)]
    optional = [role for role in OPTIONAL if role not in positions]
    if "volume" in positions:
        optional.remove("tick_volume")
    taken = set(positions.values())
    by_name = {role: found.first(_NAMES[role]) for role in optional}
    positions |= {
        role: None if position in taken else position for role, position in by_name.items()
    }
    positions["volume"] = _or_else(positions["volume"], found.volume_by_another_name)
    if problems:
        raise ColumnNamesError("; ".join(problems))
    return {role: position for role, position in positions.items() if position is not None}


def symbol_column(names: Sequence[str]) -> str:
    """Return the name of a column of symbols; empty without one."""
    return next((name for name in names if _plain(name) in _SYMBOLS), "")


def writes_month_first(names: Sequence[str]) -> bool:
    """Return whether the names are those of a vendor that always writes 12/31/2024."""
    return any(_plain(name) == _ONLY_NASDAQ for name in names)


def names_utc(names: Sequence[str], positions: Mapping[str, int]) -> bool:
    """Return whether a time column's name says that its times are UTC, as `Gmt time` does.

    `Time (GMT-5)` does not.
    """
    plain = [_plain(names[positions[role]]) for role in TIME_ROLES if role in positions]
    return any(re.search(r"(utc|gmt)(?![0-9])", name) for name in plain)


def volume_note(names: Sequence[str], positions: Mapping[str, int]) -> tuple[str, ...]:
    """Tell which columns may be the volume, where none is taken for it."""
    perhaps = [name for name in names if "vol" in _plain(name)]
    if not perhaps or not positions.keys().isdisjoint(("volume", "tick_volume")):
        return ()
    return (f"no volume is read; if {listed(perhaps, 3)} is it, rename it to Volume",)


def _refuse_shared(chosen: Mapping[str, int | None], names: Sequence[str]) -> None:
    """Refuse one column for two roles, but for a single price that is to be all four.

    Raises:
        ColumnNamesError: A caller chose one.
    """
    if len({chosen.get(role) for role in PRICES}) == 1:
        chosen = {role: position for role, position in chosen.items() if role not in PRICES[1:]}
    role_of: dict[int | None, str] = {}
    for role, position in chosen.items():
        other = role_of.setdefault(position, role)
        if other != role and position is not None:
            roles = f"{other} and {role}".replace("clock", "time").replace("_", " ")
            raise ColumnNamesError(
                f"{quoted(names[position])} is chosen as {roles}; choose another for one of them"
            )


def _or_else(position: int | None, other: Callable[[], int | None]) -> int | None:
    return other() if position is None else position


def _missing(
    missing: Sequence[str], names: Sequence[str], positions: Mapping[str, int | None]
) -> str:
    taken = set(positions.values())
    hints = []
    for role in missing:
        perhaps = [
            name
            for position, name in enumerate(names)
            if position not in taken
            and len(name) <= _LONGEST_HINT
            and any(word in _plain(name) for word in _PERHAPS[role])
        ]
        if perhaps:
            hints.append(f"if {listed(perhaps, 3)} is the {role}, rename it to {role.capitalize()}")
    shown = f"no column for {', '.join(missing)} among {listed(names, 10)}"
    return "; ".join([shown, f"wanted are {_WANTED}", *hints])


class _Names:
    """Look up the names of one file, and collect what is wrong with them."""

    def __init__(self, names: Sequence[str]) -> None:
        self.problems: list[str] = []
        self._names = names
        self.plain = [_plain(name) for name in names]

    def first(self, spellings: Sequence[str]) -> int | None:
        """Return the position of the first of these names that is there; None without one."""
        spelling = next((each for each in spellings if each in self.plain), None)
        if spelling is None:
            return None
        found = [index for index, name in enumerate(self.plain) if name == spelling]
        if len(found) > 1:
            shown = listed([self._names[index] for index in found])
            self.problems.append(f"{shown} are the same column; keep one")
        return found[0]

    def chosen(self, name: str) -> int:
        """Return the position of the column that a caller means.

        Raises:
            ColumnNamesError: There is none, or there are several.
        """
        same = [index for index, each in enumerate(self._names) if each == name] or [
            index for index, plain in enumerate(self.plain) if plain == _plain(name)
        ]
        if not same and name.isdecimal() and 1 <= int(name) <= len(self._names):
            return int(name) - 1
        if len(same) == 1:
            return same[0]
        there = f"there are {len(same)} columns" if same else "there is no column"
        raise ColumnNamesError(f"{there} {quoted(name)} among {listed(self._names, 10)}")

    def times(self) -> dict[str, int | None]:
        if (stamp := self.first(_TIMES)) is not None:
            return {"time": stamp}
        day, clock = self.first(_DATES), self.first(_CLOCKS)
        if day is not None and clock is not None:
            return {"date": day, "clock": clock}
        if day is not None or clock is not None:
            return {"time": clock if day is None else day}
        letter = [_LETTERS_BESIDE["time"]] if self._has_letters() else []
        return {"time": self.first([*_TIMES_ALONE, *letter, *_NAMELESS_INDEX])}

    def price(self, role: str) -> int | None:
        letter = [_LETTERS[role]] if self._has_letters() else []
        # Investing.com calls the close the price; elsewhere that may be anything.
        price = ["price"] if role == "close" and "change" in self.plain else []
        return self.first([*_NAMES[role], *letter, *price])

    def volume_by_another_name(self) -> int | None:
        if self._has_letters():
            return self.first([_LETTERS_BESIDE["volume"]])
        volumes = [name for name in self.plain if name.startswith("volume")]
        units = [name.removeprefix("volume") for name in volumes]
        counted = [unit for unit in units if unit.isalpha() and unit not in _PAID_IN | _OF_A_VOLUME]
        if len(units) == 2 and len(counted) == 1 and not _PAID_IN.isdisjoint(units):
            return self.first(["volume" + counted[0]])
        return None

    def _has_letters(self) -> bool:
        return all(letter in self.plain for letter in _LETTERS.values())


def _plain(name: str) -> str:
    """Return a name's letters and digits, in lower case; a second price is one in spite of its 1.

    pandas and polars write a name that is there twice as `Close.1` and `Close_duplicated_0`.
    """
    if len(name) > _LONGEST_NAME:
        return name
    name = re.sub(r"^[0-9]+\. ", "", name)
    first = re.sub(r"(\.|_duplicated_)[0-9]+$", "", name)
    plain, plain_first = ("".join(filter(str.isalnum, text)).lower() for text in (name, first))
    known = {*PRICES, "adjclose", "adjustedclose", "volume"}
    return plain_first if plain_first in known else plain
