"""Frame Arrow IPC messages, with a checksum where Arrow's readers ignore it, and read them back.

The format: https://arrow.apache.org/docs/format/Columnar.html. A message is a prefix, metadata (a
FlatBuffer) and a body. Its checksum, a CRC-32 of all of it with zeros in the checksum's place, is
in the custom metadata. All of our messages begin alike, so what is read here has fixed places.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from stratsweep_server.arrow.flat_buffer import REFERENCE, FlatBuffer

Piece = bytes | bytearray | memoryview
"""A part of a message, as `os.writev` takes it; of a view each item is a byte."""

ALIGNMENT = 8
"""Every message and every buffer in a body begins at a multiple of this many bytes."""

END_OF_STREAM = struct.pack("<Ii", 0xFFFFFFFF, 0)

_CHECKSUM_KEY = "stratsweep.crc32"
_NO_CHECKSUM = "0" * 8
_METADATA_VERSION = 4  # V5
_PREFIX = struct.Struct("<Ii")  # a mark, the length of the metadata
_MARK = 0xFFFFFFFF


class MessageKind(IntEnum):
    """Name what a message carries, by its number in Arrow's union `MessageHeader`."""

    SCHEMA = 1
    RECORD_BATCH = 3


def message_template(
    kind: MessageKind,
    write_header: Callable[[FlatBuffer, int], None],
    *,
    has_checksum: bool = True,
) -> bytes:
    """Return the prefix and metadata of a message that has no body and no checksum yet.

    Args:
        kind: What it carries.
        write_header: Writes the header where a reference points to. Places that it notes are in the
            FlatBuffer: in the template they come `METADATA_PLACE` later.
        has_checksum: Whether there is a place for one; only such messages are read back here.
    """
    flat, (_, _, header, _, _) = _begin(kind, has_checksum=has_checksum)
    write_header(flat, header)
    flat.data += bytes(-len(flat.data) % ALIGNMENT)
    return _PREFIX.pack(_MARK, len(flat.data)) + bytes(flat.data)


def finish_message(
    start: bytearray, body: Sequence[Piece], body_length: int, *, has_checksum: bool = True
) -> None:
    """Fill in the length of the body of a message, and the checksum where it has one.

    Args:
        start: A copy of its template.
        body: The pieces of its body.
        body_length: Their bytes.
        has_checksum: As in its template.
    """
    struct.pack_into("<q", start, _BODY_LENGTH_PLACE, body_length)
    if not has_checksum:
        return
    checksum = zlib.crc32(start)
    for piece in body:
        checksum = zlib.crc32(piece, checksum)
    start[_CHECKSUM] = b"%08x" % checksum


@dataclass(frozen=True, slots=True)
class Message:
    """Hold a whole message as it was read.

    Attributes:
        kind: What it carries; a number that `MessageKind` may not have.
        start: Prefix and metadata.
        body: The buffers.
        end: Where it ends in what was read.
    """

    kind: int
    start: memoryview
    body: memoryview
    end: int


def read_messages(content: memoryview) -> Iterator[Message]:
    """Yield messages up to the first that is not whole, as views of what is read."""
    position = 0
    while message := _message_at(content, position):
        yield message
        position = message.end


def _message_at(content: memoryview, position: int) -> Message | None:
    rest = len(content) - position
    if rest < _SMALLEST:
        return None
    mark, metadata_length = _PREFIX.unpack_from(content, position)
    start_length = METADATA_PLACE + metadata_length
    if mark != _MARK or not _SMALLEST <= start_length <= rest:
        return None
    start = content[position : position + start_length]
    (body_length,) = struct.unpack_from("<q", start, _BODY_LENGTH_PLACE)
    if not 0 <= body_length <= rest - start_length:
        return None
    end = position + start_length + body_length
    body = content[position + start_length : end]
    return Message(start[_KIND_PLACE], start, body, end) if _is_whole(start, body) else None


def _is_whole(start: memoryview, body: memoryview) -> bool:
    zeroed = bytearray(start)
    zeroed[_CHECKSUM] = _NO_CHECKSUM.encode()
    return start[_CHECKSUM] == b"%08x" % zlib.crc32(body, zlib.crc32(zeroed))


def _begin(kind: int, *, has_checksum: bool = True) -> tuple[FlatBuffer, list[int]]:
    flat = FlatBuffer()
    custom = REFERENCE if has_checksum else None
    places = flat.table(
        flat.root, ("h", _METADATA_VERSION), ("B", kind), REFERENCE, ("q", 0), custom
    )
    if not has_checksum:
        return flat, places
    (pair,) = flat.references(places[-1], 1)
    key, value = flat.table(pair, REFERENCE, REFERENCE)
    flat.text(key, _CHECKSUM_KEY)
    flat.text(value, _NO_CHECKSUM)
    return flat, places


METADATA_PLACE = _PREFIX.size
"""Where the metadata begins in a message."""

_SAMPLE, _PLACES = _begin(MessageKind.SCHEMA)
_KIND_PLACE = METADATA_PLACE + _PLACES[1]
_BODY_LENGTH_PLACE = METADATA_PLACE + _PLACES[3]
_SMALLEST = METADATA_PLACE + len(_SAMPLE.data)
_CHECKSUM = slice(_SMALLEST - 1 - len(_NO_CHECKSUM), _SMALLEST - 1)  # a NUL ends the text
