"""Share bars with all workers of an optimization: a nameless file, handed over by descriptor.

Whatever becomes of the directory that it was made in, a worker that is started later gets it, too.
Its place on the disk is free as soon as nobody uses it, even after the server was killed. Several
optimizations on the same bars share one file.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from weakref import WeakValueDictionary, finalize

from stratsweep_server.market_data.bars import Bars, BarsHeader, digest_of, header_of, write_bars


class SharedBars:
    """Hold the bars of some symbols in a file; close it when no more workers will be given it.

    Attributes:
        headers: Each symbol's, in the order of the file, as `map_bars` needs them.
        digests: By symbol, the SHA-256 of all that its bars are.
        byte_count: The size of the file.
    """

    def __init__(
        self, file: _BarsFile, headers: Mapping[str, BarsHeader], digests: Mapping[str, str]
    ) -> None:
        self.headers = headers
        self.digests = digests
        self.byte_count = file.byte_count
        self._file: _BarsFile | None = file

    def fileno(self) -> int:
        """Return the descriptor of the file.

        Raises:
            ValueError: It is closed.
        """
        if self._file is None:
            raise ValueError("the bars are closed")
        return self._file.descriptor

    def close(self) -> None:
        """Close the file, unless others share it. Workers that were given it keep it."""
        self._file = None


class SharedBarsFiles:
    """Keep one file for the same bars, however many optimizations run on them at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: WeakValueDictionary[tuple[str, ...], _BarsFile] = WeakValueDictionary()

    def share(self, bars: Sequence[Bars], directory: Path) -> SharedBars:
        """Write bars into a file, unless one has them; safe to use from several threads.

        Args:
            bars: At least one symbol's, each with at least one bar.
            directory: Where there is room for them.

        Raises:
            OSError: They cannot be written there.
        """
        digests = {each.symbol: digest_of(each) for each in bars}
        key = tuple(digests.values())
        with self._lock:
            file = self._files.get(key)
            if file is None:
                file = self._files[key] = _BarsFile()
        file.write_once(bars, directory)
        return SharedBars(file, {each.symbol: header_of(each) for each in bars}, digests)


class _BarsFile:
    """Hold a file open as long as there is a reference to this."""

    def __init__(self) -> None:
        self.descriptor = -1
        self.byte_count = 0
        self._writing = threading.Lock()

    def write_once(self, bars: Sequence[Bars], directory: Path) -> None:
        """Write the file, or wait for whoever writes it; after a failure the next one tries.

        Raises:
            OSError: It cannot be written.
        """
        with self._writing:
            if self.descriptor >= 0:
                return
            with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
                write_bars(file, bars)
                descriptor = os.dup(file.fileno())
            finalize(self, os.close, descriptor)
            self.byte_count = sum(each.byte_count for each in bars)
            self.descriptor = descriptor
