"""Write FlatBuffers, the encoding of Arrow's metadata, from front to back.

The format: https://flatbuffers.dev/internals/. References point forward, so a table is written
first, and what it refers to after it, in an order that the caller chooses.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

REFERENCE = ("I", 0)
"""A field of a table that is filled in when what it refers to is written."""

Scalar = tuple[str, int]
"""A field's format (see `struct`) and value."""


class FlatBuffer:
    """Build one buffer; `data` is complete once every reference has been written.

    Attributes:
        data: What has been written.
        root: The reference to the first table.
    """

    def __init__(self) -> None:
        self.data = bytearray(4)
        self.root = 0

    def table(self, reference: int, *fields: Scalar | None) -> list[int]:
        """Write a table that a reference points to.

        Args:
            reference: Where the reference stands.
            fields: The fields in order of their ids; None where one is left out.

        Returns:
            Where each field stands; 0 for one that is left out.
        """
        offsets, size = [], 4
        for field in fields:
            width = struct.calcsize(f"<{field[0]}") if field else 0
            size += -size % width if width else 0
            offsets.append(size if field else 0)
            size += width
        table_of_offsets = struct.pack(f"<HH{len(fields)}H", 4 + 2 * len(fields), size, *offsets)
        self.data += bytes(-(len(self.data) + len(table_of_offsets)) % 8) + table_of_offsets
        start = len(self.data)
        self._point(reference, start)
        self.data += struct.pack("<i", len(table_of_offsets)) + bytes(size - 4)
        for field, offset in zip(fields, offsets, strict=True):
            if field:
                struct.pack_into(f"<{field[0]}", self.data, start + offset, field[1])
        return [start + offset if offset else 0 for offset in offsets]

    def text(self, reference: int, text: str) -> int:
        """Write a string that a reference points to; returns where its first byte stands."""
        content = text.encode()
        self._begin_vector(reference, len(content), alignment=4)
        start = len(self.data)
        self.data += content + b"\0"
        return start

    def references(self, reference: int, count: int) -> Sequence[int]:
        """Write a vector of references that a reference points to; returns where they stand."""
        start = self.structures(reference, count, size=4)
        return range(start, start + 4 * count, 4)

    def structures(self, reference: int, count: int, size: int) -> int:
        """Write a vector of zeroed structures; returns where the first one stands."""
        self._begin_vector(reference, count, alignment=min(size, 8))
        start = len(self.data)
        self.data += bytes(count * size)
        return start

    def _begin_vector(self, reference: int, count: int, alignment: int) -> None:
        self.data += bytes(-(len(self.data) + 4) % max(alignment, 4))
        self._point(reference, len(self.data))
        self.data += struct.pack("<I", count)

    def _point(self, reference: int, target: int) -> None:
        struct.pack_into("<I", self.data, reference, target - reference)
