"""Tell how large a Zstandard file can be when unpacked, from its frames (RFC 8878, 3.1)."""

from __future__ import annotations

import struct

_MAGIC, _SKIPPABLE_MAGIC = 0xFD2FB528, 0x184D2A5
_LARGEST_BLOCK = 128 * 2**10
_RAW, _RLE, _COMPRESSED = range(3)


class DamagedZstdError(Exception):
    """Report a content that is not, or not only, Zstandard."""


def zstd_size_limit(content: bytes) -> int:
    """Return a number of bytes that the unpacked content does not exceed.

    The blocks of its frames are counted, each as large as it may be; nothing is unpacked.

    Raises:
        DamagedZstdError: It is no Zstandard file, or is cut off.
    """
    position, size = 0, 0
    try:
        while position < len(content):
            (magic,) = struct.unpack_from("<I", content, position)
            position += 4
            if magic >> 4 == _SKIPPABLE_MAGIC:
                (length,) = struct.unpack_from("<I", content, position)
                position += 4 + length
            elif magic == _MAGIC:
                position, frame_size = _frame(content, position)
                size += frame_size
            else:
                raise DamagedZstdError
    except (struct.error, IndexError) as error:
        raise DamagedZstdError from error
    return size


def _frame(content: bytes, position: int) -> tuple[int, int]:
    """Return where a frame ends, and how large it can be, from the place behind its magic."""
    descriptor = content[position]
    is_single, has_checksum = descriptor >> 5 & 1, descriptor >> 2 & 1
    dictionary_length = (0, 1, 2, 4)[descriptor & 3]
    size_length = (is_single, 2, 4, 8)[descriptor >> 6]
    position += 1 + (1 - is_single) + dictionary_length + size_length
    size, is_last = 0, False
    while not is_last:
        header = int.from_bytes(content[position : position + 3], "little")
        is_last, kind, length = bool(header & 1), header >> 1 & 3, header >> 3
        if kind > _COMPRESSED or position + 3 > len(content):
            raise DamagedZstdError
        position += 3 + (1 if kind == _RLE else length)
        size += _LARGEST_BLOCK if kind == _COMPRESSED else length
    return position + 4 * has_checksum, size
