"""Make what a worker prints readable in the server's log, bounded whatever is written. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from stratsweep_server.texts import counted

WINDOW_SECONDS = 10.0
LINES_PER_WINDOW = 100
LAST_WORDS = "Fatal Python error:"
"""How the interpreter begins when it dies, see `faulthandler`."""
_MAX_LINE_BYTES = 1_000
_TAIL_BYTES = 4_096


class WorkerOutput:
    """Cut one worker's output into lines for the log, and remember its end.

    At most 100 lines in 10 seconds come through; the others are counted and dropped.
    """

    def __init__(self) -> None:
        self._tail = b""
        self._partial = b""
        self._window_start = 0.0
        self._line_count = 0
        self._dropped_count = 0

    def feed(self, data: bytes, now: float) -> Iterator[str]:
        """Take bytes that were written and yield the lines to log.

        Args:
            data: Any bytes.
            now: Monotonic seconds.
        """
        self._tail = (self._tail + data)[-_TAIL_BYTES:]
        *lines, partial = (self._partial + data).split(b"\n")
        self._partial = partial[:_MAX_LINE_BYTES]
        if now - self._window_start >= WINDOW_SECONDS:
            yield from self._dropped()
            self._window_start, self._line_count = now, 0
        allowed = max(0, LINES_PER_WINDOW - self._line_count)
        self._line_count += len(lines)
        self._dropped_count += max(0, len(lines) - allowed)
        for line in lines[:allowed]:
            yield _text(line[:_MAX_LINE_BYTES])

    def finish(self) -> Iterator[str]:
        """Yield what is left to log after the worker's end."""
        if self._partial:
            yield _text(self._partial)
        yield from self._dropped()

    def last_words(self) -> str:
        """Return what the interpreter printed when it died (`faulthandler`); empty if nothing."""
        start = self._tail.rfind(LAST_WORDS.encode())
        return "" if start < 0 else _text(self._tail[start:])

    def _dropped(self) -> Iterator[str]:
        if self._dropped_count:
            yield f"… {counted(self._dropped_count, 'more line')} dropped"
        self._dropped_count = 0


def _text(line: bytes) -> str:
    text = line.decode(errors="replace").rstrip()
    return "".join(each if each.isprintable() or each in "\n\t" else "�" for each in text)
