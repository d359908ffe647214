"""Label each line that a worker prints with the combination whose backtest printed it."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import TextIO

_SEPARATOR = " | "


def _nothing() -> str:
    return ""


class LabelledOutput:
    """Replace standard output and error of this process, so that lines begin with a label.

    The label is asked for when something is printed, and costs whoever prints nothing, nothing.
    What is written past `sys.stdout` and `sys.stderr`, as by C code, has no label.

    Attributes:
        label: Says what the lines that begin now are from; empty for lines without a label.
    """

    def __init__(self) -> None:
        self.label: Callable[[], str] = _nothing

    def install(self) -> None:
        """Send what `print`, and all that writes to the streams of `sys`, writes this way."""
        sys.stdout, sys.stderr = self.stream(1), self.stream(2)

    def stream(self, descriptor: int) -> TextIO:
        """Return a stream that writes to a file, which it does not close."""
        return _LabelledStream(descriptor, self)


class _LabelledStream(io.TextIOWrapper):
    def __init__(self, descriptor: int, output: LabelledOutput) -> None:
        raw = io.FileIO(descriptor, "w", closefd=False)
        super().__init__(
            io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True
        )
        self._output = output
        self._unfinished: str | None = None
        """The label of the line that has been begun and has no end yet."""

    def write(self, text: str, /) -> int:
        """Write a text; what a line begins with another label than this one's, ends there."""
        label = self._output.label()
        if self._unfinished is not None and self._unfinished != label:
            super().write("\n")
            self._unfinished = None
        *lines, rest = text.split("\n")
        for line in lines:
            super().write(f"{self._beginning(label)}{line}\n")
            self._unfinished = None
        if rest:
            super().write(f"{self._beginning(label)}{rest}")
            self._unfinished = label
        return len(text)

    def _beginning(self, label: str) -> str:
        return f"{label}{_SEPARATOR}" if label and self._unfinished is None else ""
