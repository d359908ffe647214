"""Read the number columns of a price file, prices and volume, in the notation they are in.

Text is a plain number (1004.5, 1.0045e3), or has a comma before its decimals (1004,5), or has the
other mark between thousands, too (1,004.5 and 1.004,5). The file's own numbers have to tell which:
`1,004` is 1004 beside `998.5`, and 1.004 beside `0,98`. A file whose numbers all fit both ways is
refused. Where they fit neither way, the one that most of them fit says which number is wrong. A
currency sign in front ($1004.5), and in volumes a letter behind (1.2M), are read where all numbers
of a column have one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stratsweep_server.market_data.price_table import PriceTable
from stratsweep_server.texts import quoted

Floats: TypeAlias = NDArray[np.float64]
_Texts: TypeAlias = Mapping[str, pl.Series]

_ROLES = ("open", "high", "low", "close", "adjusted_close", "volume", "tick_volume")
_VOLUMES = ("volume", "tick_volume")
_TEXT_TYPES = (pl.String, pl.Categorical, pl.Enum)

# By itself, such a number is one of thousands or one with three decimals.
_AMBIGUOUS = r"^[+-]?[1-9][0-9]{0,2}[.,][0-9]{3}(e[369])?$"
_FOUR_DIGITS = r"^[+-]?[0-9]{4}"
_CURRENCY_SIGNS = frozenset("$€£¥")
_MAGNITUDES = {"K": "e3", "M": "e6", "B": "e9"}
_SCALED = r"^[0-9][0-9.,]*[KMB]$"
_HOW_TO_TELL = "write all with a decimal point and no other mark, such as 1004.0 or 1.0040"
_HOW_TO_WRITE = "write numbers as 1004.5, without currency signs or marks between thousands"


@dataclass(frozen=True, slots=True)
class _Notation:
    """Hold the mark before decimals, and the one that may stand between thousands."""

    decimal: str
    group: str

    def misfits(self, text: pl.Series) -> pl.Series:
        """Tell which texts are not such numbers."""
        decimal, group = re.escape(self.decimal), re.escape(self.group)
        plain = rf"([0-9]+({decimal}[0-9]*)?|{decimal}[0-9]+)([eE][+-]?[0-9]+)?"
        grouped = rf"[1-9][0-9]{{0,2}}({group}[0-9]{{3}})+({decimal}[0-9]*)?(e[369])?"
        return ~text.str.contains(rf"^[+-]?({plain}|{grouped}|(?i:nan|inf|infinity))$")

    def read(self, text: pl.Series) -> pl.Series:
        """Return the numbers that its numbers are, Float64."""
        plain = text.str.replace_all(self.group, "", literal=True)
        return plain.str.replace(self.decimal, ".", literal=True).cast(pl.Float64, strict=False)


_POINT, _COMMA = _Notation(".", ","), _Notation(",", ".")


def read_numbers(table: PriceTable) -> dict[str, Floats]:
    """Return the columns of numbers by their role, float64, NaN where they have nothing.

    Rows are reported as bad where something is not a number, or may be either of two; there it
    means nothing.

    Args:
        table: Of columns that have no `number_type_problems`.
    """
    columns = _number_columns(table)
    texts = {
        role: _without_signs(column.cast(pl.String), role)
        for role, column in columns.items()
        if column.dtype in _TEXT_TYPES
    }
    numbers = {
        role: texts.get(role, column).cast(pl.Float64, strict=False)
        for role, column in columns.items()
    }
    if not all(_are_plain(text, numbers[role]) for role, text in texts.items()):
        notation = _notation(table, texts)
        numbers |= {role: notation.read(text) for role, text in texts.items()}
    return {role: column.to_numpy(writable=True) for role, column in numbers.items()}


def number_type_problems(table: PriceTable) -> list[str]:
    """Say which columns are stored as what no number can be made of."""
    return [
        f"the {_name(role)} column holds {column.dtype.base_type()}, not numbers"
        for role, column in _number_columns(table).items()
        if not (column.dtype.is_numeric() or column.dtype in (*_TEXT_TYPES, pl.Null))
    ]


def _number_columns(table: PriceTable) -> dict[str, pl.Series]:
    return {role: table.columns[role] for role in _ROLES if role in table.columns}


def _without_signs(text: pl.Series, role: str) -> pl.Series:
    """Take off a currency sign or spell a magnitude (1.2M) that all numbers of a column have."""
    sample = str((len(text) and text[0]) or text.drop_nulls().first() or "")
    if sample[:1] in _CURRENCY_SIGNS and text.str.starts_with(sample[:1]).all():
        return text.str.slice(1)
    if role in _VOLUMES and sample[-1:] in (*_MAGNITUDES, "-"):
        filled = text.set(text == "-", None)
        if filled.str.contains(_SCALED).all():
            return filled.str.replace_many(_MAGNITUDES)
    return text


def _are_plain(text: pl.Series, numbers: pl.Series) -> bool:
    """Return whether a column has plain numbers, with no point that may be between thousands.

    985, 1.004 and 1.012 may be a rise to 1012. Decimals of prices are three for all of them, as in
    150.120, or for some of them fewer, where zeros are cut off.
    """
    if numbers.null_count() > text.null_count():
        return False
    values = numbers.to_numpy()  # NaN where nothing is
    is_broken = np.isfinite(values) & (values != np.floor(values))
    if is_broken.any() and not re.match(_AMBIGUOUS, text[int(is_broken.argmax())]):
        return True  # nearly every column of prices ends here
    filled = text.drop_nulls()
    has_point = filled.str.contains(".", literal=True)
    if has_point.all() or not has_point.any():
        return True
    return not _may_be_thousands(filled.filter(has_point)).all()


def _notation(table: PriceTable, texts: _Texts) -> _Notation:
    """Return the only notation that all numbers of a file fit, or the one that most of them fit.

    Numbers are reported where they fit both or not that one, or have a mark between thousands by
    exception.
    """
    misfits = {notation: _where(texts, notation.misfits) for notation in (_POINT, _COMMA)}
    counts = {notation: sum(map(np.sum, masks.values())) for notation, masks in misfits.items()}
    usual, other = sorted(counts, key=counts.__getitem__)
    if not counts[other]:
        _report(table, texts, _where(texts, _may_be_thousands), _ambiguity, _HOW_TO_TELL)
    _report(
        table,
        texts,
        {role: bad & misfits[other][role] for role, bad in misfits[usual].items()},
        lambda _: "is not a number",
        _HOW_TO_WRITE,
    )
    mark = {".": "point", ",": "comma"}
    unlike = f"has a decimal {mark[other.decimal]}, most numbers of the file a decimal"
    _report(
        table, texts, misfits[usual], lambda _: f"{unlike} {mark[usual.decimal]}", _HOW_TO_WRITE
    )
    exceptions = _where(texts, lambda text: _grouped_by_exception(text, usual))
    _report(table, texts, exceptions, _ambiguity, _HOW_TO_TELL)
    return usual


def _may_be_thousands(text: pl.Series) -> pl.Series:
    return text.str.contains(_AMBIGUOUS)


def _grouped_by_exception(text: pl.Series, notation: _Notation) -> pl.Series:
    """Tell which have a mark between thousands in a column where others of thousands have none."""
    is_grouped = text.str.contains(notation.group, literal=True) & _may_be_thousands(text)
    return is_grouped & bool(text.str.contains(_FOUR_DIGITS).any())


def _ambiguity(cell: str) -> str:
    thousands, decimals = re.sub("[.,]", "", cell), cell.replace(",", ".")
    return f"may be {thousands} or {decimals}, and the other numbers do not tell"


def _where(texts: _Texts, test: Callable[[pl.Series], pl.Series]) -> dict[str, NDArray[np.bool_]]:
    """Test each text of each column; one that is missing fails."""
    return {role: test(text).fill_null(False).to_numpy() for role, text in texts.items()}


def _report(
    table: PriceTable,
    texts: _Texts,
    bad: Mapping[str, NDArray[np.bool_]],
    what: Callable[[str], str],
    advice: str,
) -> None:
    """Report the rows that have a bad number.

    Args:
        table: Where the texts are from.
        texts: The columns by role.
        bad: By role, one element per row.
        what: What is wrong with a text.
        advice: What to do.
    """
    for role, rows in bad.items():

        def sentence(index: int, role: str = role) -> str:
            cell = texts[role][index]
            return f"the {_name(role)} {quoted(cell)} {what(cell)}"

        table.bad_rows.report(rows, sentence, advice, role)


def _name(role: str) -> str:
    return role.replace("_", " ")
