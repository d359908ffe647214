"""Describe folders that the server needs, and what it says when one of them cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


class StorageUnavailableError(Exception):
    """Report that a folder that the server needs cannot be used: it is gone or full, for instance.

    The text is fit for clients: it names what the folder is for, never where it is.

    Attributes:
        purpose: What it is for, such as "data directory".
        path: Where it is, for the log.
        cause: Why it cannot be used, in the system's words.
        probe: Raises this or an OSError while it cannot be used; takes as long as the disk takes.
    """

    def __init__(
        self, purpose: str, path: Path, error: OSError, probe: Callable[[], object]
    ) -> None:
        self.purpose = purpose
        self.path = path
        self.cause = error.strerror or type(error).__name__
        self.probe = probe
        super().__init__(f"the server's {purpose} cannot be used: {self.cause}; its log has more")
