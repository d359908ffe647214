"""The system's files, as a store uses them."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from stratsweep_server.storage.file_layer import SystemFiles

NUMBERS = np.arange(100, dtype=np.float64)


@contextmanager
def files_of_at_most(byte_count: int) -> Iterator[None]:
    """No file grows beyond that, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (byte_count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [8, 100, 400, 799, 805])
def test_what_the_disk_takes_a_part_of_is_not_taken_for_written(tmp_path: Path, room: int):
    file = SystemFiles().create(tmp_path / "numbers")
    try:
        with files_of_at_most(room), pytest.raises(OSError, match="File too large"):
            file.append([b"start ", NUMBERS.data])
    finally:
        file.close()


def test_pieces_of_any_type_are_written_one_after_the_other(tmp_path: Path):
    file = SystemFiles().create(tmp_path / "numbers")
    file.append([b"start ", NUMBERS.data, bytearray(b" end")])
    file.close()
    content = (tmp_path / "numbers").read_bytes()
    assert content == b"start " + NUMBERS.tobytes() + b" end"
