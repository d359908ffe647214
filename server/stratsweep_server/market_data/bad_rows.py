"""Collect what is wrong with the rows of a price file: all of it, counted, told in a few words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.market_data.errors import InvalidBarsError, unit_of_rows
from stratsweep_server.texts import counted

_Bools: TypeAlias = NDArray[np.bool_]
_Indices: TypeAlias = NDArray[np.int64]

# So many rows of a file, at most three that have the same advice, and at least one of each group.
_SHOWN_ROWS, _SHOWN_OF_GROUP, _SHOWN_GROUPS = 6, 3, 12
_ALL_COLUMNS = ""


@dataclass(frozen=True, slots=True)
class _Kind:
    """Hold rows that have the same thing wrong with them.

    Attributes:
        indices: Their positions in the table, ascending, at least one.
        what: Tells what is wrong from a position.
        advice: What to do; may be empty.
    """

    indices: _Indices
    what: Callable[[int], str]
    advice: str

    def has(self, index: int) -> bool:
        """Return whether a position is among them."""
        place = int(np.searchsorted(self.indices, index))
        return place < len(self.indices) and int(self.indices[place]) == index


class BadRows:
    """Collect the bad rows of one table, as far as it has been checked.

    What is known to be bad of a row is left out of later checks, which need not mind it.

    Attributes:
        file_name: The file's name, without its directory.
        rows: Each row's number in the file, as `InvalidBarsError.row` counts.
    """

    def __init__(self, file_name: str, rows: _Indices) -> None:
        """Begin without a bad row."""
        self.file_name = file_name
        self.rows = rows
        self._kinds: list[_Kind] = []
        self._bad_cells: dict[str, _Bools] = {}

    @property
    def indices(self) -> _Indices:
        """Return the positions of the bad rows in the table, int64, ascending, each once."""
        return _indices_of(self._kinds)

    def each(self) -> Iterator[tuple[int, str]]:
        """Yield each bad row's number in the file, ascending, and what is wrong with it first."""
        for index in self.indices.tolist():
            first, *others = [kind for kind in self._kinds if kind.has(index)]
            more = f", and {counted(len(others), 'more fault')}" if others else ""
            yield int(self.rows[index]), first.what(index) + more

    def report(
        self, bad: _Bools, what: str | Callable[[int], str], advice: str, *columns: str
    ) -> None:
        """Add rows, except those of which a column concerned was reported already.

        Args:
            bad: One element per row.
            what: What is wrong, or what tells it from a position in the table.
            advice: What to do; may be empty.
            columns: The roles of the columns concerned; none for all of them.
        """
        if not bad.any():
            return
        concerned = columns or (_ALL_COLUMNS,)
        for column in (*concerned, _ALL_COLUMNS):
            if column in self._bad_cells:
                bad = bad & ~self._bad_cells[column]
        indices = np.flatnonzero(bad)
        if len(indices):
            tell = (lambda _: what) if isinstance(what, str) else what
            self._kinds.append(_Kind(indices, tell, advice))
        for column in concerned:
            self._bad_cells[column] = self._bad_cells.get(column, np.False_) | bad

    def without(self, column: str) -> _Indices:
        """Return the positions of rows of which this column was not reported, ascending."""
        bad = np.zeros(len(self.rows), dtype=bool)
        for name in (column, _ALL_COLUMNS):
            bad |= self._bad_cells.get(name, np.False_)
        return np.flatnonzero(~bad)

    def refuse(self) -> None:
        """Raise an error if there is a bad row.

        Raises:
            InvalidBarsError: With the number of bad rows, and the first few of each kind.
        """
        if not self._kinds:
            return
        by_advice: dict[str, list[_Kind]] = {}
        for kind in self._kinds:
            by_advice.setdefault(kind.advice, []).append(kind)
        groups = sorted(by_advice.values(), key=lambda kinds: int(_indices_of(kinds)[0]))
        row_count = min(max(_SHOWN_ROWS // len(groups), 1), _SHOWN_OF_GROUP)
        sentences = [self._sentence(kinds, row_count) for kinds in groups[:_SHOWN_GROUPS]]
        if (hidden := len(groups) - _SHOWN_GROUPS) > 0:
            sentences.append(f"There are {hidden} more kinds of bad rows")
        row = int(self.rows[self.indices[0]])
        place = f"{unit_of_rows(self.file_name)} {row}: ".capitalize()  # said before the reason
        raise InvalidBarsError(
            self.file_name,
            row,
            ". ".join(sentences).removeprefix(place),
            bad_row_count=len(self.indices),
        )

    def _sentence(self, kinds: Sequence[_Kind], row_count: int) -> str:
        """Say what is wrong with rows of one advice: the first few, and how many there are."""
        indices, unit = _indices_of(kinds), unit_of_rows(self.file_name)
        parts = []
        for index in indices[:row_count].tolist():
            kind = next(kind for kind in kinds if kind.has(index))
            parts.append(f"{unit} {self.rows[index]}: {kind.what(index)}")
        if (more := len(indices) - row_count) > 0:
            parts.append(f"{more:,} more like {'this' if row_count == 1 else 'these'}")
        if advice := kinds[0].advice:
            parts.append(advice)
        text = "; ".join(parts)
        return text[0].upper() + text[1:]


def _indices_of(kinds: Sequence[_Kind]) -> _Indices:
    """Return the positions of all their rows, ascending, each once."""
    found = [kind.indices for kind in kinds]
    return np.unique(np.concatenate(found)) if found else np.empty(0, dtype=np.int64)
