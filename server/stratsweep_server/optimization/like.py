"""Match LIKE patterns of texts, in which `%` is any text and `_` any character."""

from __future__ import annotations

import re


class LikePattern:
    """Match one pattern, in time that grows with its length times the text's, whatever they are."""

    def __init__(self, pattern: str) -> None:
        self._first, *self._middle = (_compiled(piece) for piece in pattern.split("%"))
        self._last = self._middle.pop() if self._middle else None
        self._last_length = len(pattern) - pattern.rfind("%") - 1

    def matches(self, text: str) -> bool:
        """Return whether all of a text is as the pattern says."""
        if self._last is None:
            return self._first.fullmatch(text) is not None
        found, end = self._first.match(text), len(text) - self._last_length
        for piece in self._middle:
            # The leftmost match leaves most of the text to the pieces that follow.
            found = found and piece.search(text, found.end(), max(end, 0))
        return found is not None and found.end() <= end and bool(self._last.match(text, end))


def _compiled(piece: str) -> re.Pattern[str]:
    """Compile a piece without `%`, which therefore has a fixed length."""
    characters = ("." if character == "_" else re.escape(character) for character in piece)
    return re.compile("".join(characters), re.DOTALL)
