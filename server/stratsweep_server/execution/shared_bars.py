"""Share bars with all workers of an optimization: a nameless file, handed over by descriptor.

Whatever becomes of the directory that it was made in, a worker that is started later gets it, too.
Its place on the disk is free as soon as nobody uses it, even after the server was killed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from weakref import finalize

from stratsweep_server.market_data.bars import Bars, header_of, write_bars


class SharedBars:
    """Write the bars of some symbols into a file; close it when no more workers will be given it.

    Args:
        bars: At least one symbol's, each with at least one bar.
        directory: Where there is room for them.

    Attributes:
        headers: Each symbol's, in the order of the file, as `map_bars` needs them.
        byte_count: The size of the file.

    Raises:
        OSError: They cannot be written there.
    """

    def __init__(self, bars: Sequence[Bars], directory: Path) -> None:
        self.headers = {each.symbol: header_of(each) for each in bars}
        self.byte_count = sum(each.byte_count for each in bars)
        with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
            write_bars(file, bars)
            self._descriptor = os.dup(file.fileno())
        self._close = finalize(self, os.close, self._descriptor)

    def fileno(self) -> int:
        """Return the descriptor of the file.

        Raises:
            ValueError: It is closed.
        """
        if not self._close.alive:
            raise ValueError("the bars are closed")
        return self._descriptor

    def close(self) -> None:
        """Close the file. Workers that were given it keep it."""
        self._close()
