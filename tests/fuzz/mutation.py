"""Bytes that were a message, until something happened to them. Pure."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.fuzz.values import varint

_VARINTS = (
    b"\xff" * 9 + b"\x01",
    b"\xff" * 9 + b"\x7f",
    b"\xff" * 30,
    b"\x80" * 9 + b"\x00",
    b"\x80",
)
_MAX_BYTES = 100_000
_BAD_TEXTS = (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe6\xbc", b"\x80\x80")


def mutate(data: bytes, generator: Random) -> bytes:
    """Change a message's bytes in one to four ways; returns some 100 KB at most."""
    for _ in range(generator.randint(1, 4)):
        data = generator.choice(_MUTATIONS)(data[:_MAX_BYTES], generator)
    return data[:_MAX_BYTES]


def _flip_bits(data: bytes, generator: Random) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(generator.randint(1, 4)):
        changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
    return bytes(changed)


def _change_byte(data: bytes, generator: Random) -> bytes:
    """Where it is a tag or a length, everything after it means something else."""
    place = generator.randrange(len(data) + 1)
    return data[:place] + generator.randbytes(1) + data[place + 1 :]


def _truncate(data: bytes, generator: Random) -> bytes:
    return data[: generator.randrange(len(data) + 1)]


def _insert(data: bytes, generator: Random) -> bytes:
    return _at(data, generator, generator.randbytes(generator.randint(1, 20)))


def _double_slice(data: bytes, generator: Random) -> bytes:
    return _at(data, generator, _slice(data, generator) * generator.choice((1, 2, 100)))


def _move_slice(data: bytes, generator: Random) -> bytes:
    moved = _slice(data, generator)
    return _at(data.replace(moved, b"", 1), generator, moved)


def _insert_varint(data: bytes, generator: Random) -> bytes:
    return _at(data, generator, generator.choice(_VARINTS))


def _spoil_text(data: bytes, generator: Random) -> bytes:
    """As many bytes as before, so that lengths stay right."""
    bad = generator.choice(_BAD_TEXTS)
    place = generator.randrange(len(data) + 1)
    return (data[:place] + bad + data[place + len(bad) :])[: len(data)]


def _add_unknown_field(data: bytes, generator: Random) -> bytes:
    number, wire_type = (
        generator.choice((2, 4, 99, 19_000, 2**29 - 1, 2**40)),
        generator.randrange(8),
    )
    content = generator.randbytes(generator.choice((0, 1, 4, 8, 3_000)))
    length = varint(len(content)) if wire_type == 2 else b""
    return data + varint(number << 3 | wire_type) + length + content


def _nest(data: bytes, generator: Random) -> bytes:
    """The message within itself, within itself, …"""
    number = generator.choice((1, 4, 15))
    for _ in range(generator.choice((1, 3, 99, 101, 500))):
        data = varint(number << 3 | 2) + varint(len(data)) + data
    return data


def _open_groups(data: bytes, generator: Random) -> bytes:
    depth = generator.choice((1, 99, 101, 100_000))
    closed = generator.choice((0, depth))
    return data + b"\x0b" * depth + b"\x0c" * closed


def _at(data: bytes, generator: Random, added: bytes) -> bytes:
    place = generator.randrange(len(data) + 1)
    return data[:place] + added + data[place:]


def _slice(data: bytes, generator: Random) -> bytes:
    first, last = sorted(generator.randrange(len(data) + 1) for _ in range(2))
    return data[first:last]


_MUTATIONS: tuple[Callable[[bytes, Random], bytes], ...] = (
    _flip_bits,
    _change_byte,
    _truncate,
    _insert,
    _double_slice,
    _move_slice,
    _insert_varint,
    _spoil_text,
    _add_unknown_field,
    _nest,
    _open_groups,
)
