"""Rows that are decoded when they are looked at: of a million, most callers look at few."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar, overload

_Message = TypeVar("_Message")
_Row = TypeVar("_Row")
_REPR_ROWS = 3


class Rows(Sequence[_Row], Generic[_Message, _Row]):
    """A read-only sequence over messages; equal to any sequence of equal rows."""

    def __init__(self, messages: Sequence[_Message], decode: Callable[[_Message], _Row]) -> None:
        self._messages = messages
        self._decode = decode

    def __len__(self) -> int:
        return len(self._messages)

    @overload
    def __getitem__(self, position: int) -> _Row: ...

    @overload
    def __getitem__(self, position: slice) -> Sequence[_Row]: ...

    def __getitem__(self, position: int | slice) -> _Row | Sequence[_Row]:
        if isinstance(position, slice):
            return Rows(self._messages[position], self._decode)
        return self._decode(self._messages[position])

    def __iter__(self) -> Iterator[_Row]:
        return map(self._decode, self._messages)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(
            mine == theirs for mine, theirs in zip(self, other, strict=True)
        )

    # Rows hold dictionaries.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self)) if len(self) <= _REPR_ROWS else f"<{len(self):,} rows>"
