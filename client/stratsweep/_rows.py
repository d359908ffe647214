"""Rows that are decoded when they are looked at: of a million, most callers look at few."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Generic, Protocol, TypeVar, overload

_Message = TypeVar("_Message")
_Row = TypeVar("_Row")
_Row_co = TypeVar("_Row_co", covariant=True)
_REPR_ROWS = 3


class Block(Protocol[_Row_co]):
    """Consecutive rows that came together."""

    def __len__(self) -> int: ...

    def __getitem__(self, position: int, /) -> _Row_co: ...

    def __iter__(self) -> Iterator[_Row_co]: ...


class MessageBlock(Generic[_Message, _Row]):
    """Rows that came as messages."""

    def __init__(self, messages: Sequence[_Message], decode: Callable[[_Message], _Row]) -> None:
        self._messages = messages
        self._decode = decode

    def __len__(self) -> int:
        return len(self._messages)

    def __getitem__(self, position: int, /) -> _Row:
        return self._decode(self._messages[position])

    def __iter__(self) -> Iterator[_Row]:
        return map(self._decode, self._messages)


class Rows(Sequence[_Row]):
    """A read-only sequence over blocks; equal to any sequence of equal rows.

    Attributes:
        blocks: What it goes over.
    """

    def __init__(self, blocks: Iterable[Block[_Row]]) -> None:
        self.blocks = tuple(blocks)
        self._starts = [0]
        for block in self.blocks:
            self._starts.append(self._starts[-1] + len(block))

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, position: int) -> _Row: ...

    @overload
    def __getitem__(self, position: slice) -> Sequence[_Row]: ...

    def __getitem__(self, position: int | slice) -> _Row | Sequence[_Row]:
        places = range(len(self))[position]
        if isinstance(places, range):
            return Rows([MessageBlock(places, self.__getitem__)])
        number = bisect_right(self._starts, places) - 1
        return self.blocks[number][places - self._starts[number]]

    def __iter__(self) -> Iterator[_Row]:
        return chain.from_iterable(self.blocks)

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


def names_of(mappings: Iterable[Iterable[str]]) -> list[str]:
    """Return every key once, in the order of first appearance."""
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))
