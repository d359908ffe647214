"""Hostile values for every field of a message, found in its descriptor, so that none is forgotten.

Pure: the same generator gives the same values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any, TypeAlias

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from tests.fuzz.constraints import Grammar
from tests.load.log_check import FORGED

FieldPath: TypeAlias = tuple[FieldDescriptor, ...]

_MAX_DEPTH = 8
_LONGEST_TEXT = 30_000
_TEXTS = (
    "",
    " ",
    "\0",
    "quick\0\0",
    f"\n12:00:00 INFO    {FORGED}",
    f"\r\n{FORGED}",
    f'"}}\n{{"message": "{FORGED}"}}',
    "\x1b[2J\x1b]0;title\x07",
    "\u202egnp.exe\u2066",
    "\u2028\u2029\x85\x0b\x0c",
    "\ufeffx",
    "\ufffd\uffff\U0010ffff",
    "e\u0301" * 40,
    "../../etc/passwd",
    "/dev/zero",
    "C:\\nul",
    "%s%n%(asctime)s{0}{message}",
    "'; DROP TABLE x; --",
    "x // NULL",
    "9" * 5_000,
    "nan",
    "-0",
    "0001-01-01",
    "9999-12-31",
    "2024-02-30",
    "2024-W01-1",
    "\u0662\u0660\u0662\u0664-01-01",
    "99999999999-01-01",
)
_LETTERS = ("a", "é", "漢", "😀", "\u0301", "\u202e", "\0", "\n", "\x1b", "'", '"', "%", "\\", " ")
_DOUBLES = (0.0, -0.0, 5e-324, -5e-324, 1e308, -1e308, math.inf, -math.inf, math.nan, 2.0**63, 0.1)
_BITS = {FieldDescriptor.CPPTYPE_INT32: 31, FieldDescriptor.CPPTYPE_INT64: 63}
_UNSIGNED_BITS = {FieldDescriptor.CPPTYPE_UINT32: 32, FieldDescriptor.CPPTYPE_UINT64: 64}


def field_paths(descriptor: Descriptor, before: FieldPath = ()) -> Iterator[FieldPath]:
    """The way to each field of a message and of the messages in it."""
    for field in descriptor.fields:
        path = (*before, field)
        yield path
        if field.message_type is not None and not is_map(field) and len(path) < _MAX_DEPTH:
            yield from field_paths(field.message_type, path)


def spoil(message: Message, path: FieldPath, generator: Random) -> None:
    """Give the field at the end of a path a hostile value, or many.

    On the way, an entry of a repeated field is taken, or one more is made.
    """
    for field in path[:-1]:
        message = _inside(message, field, generator)
    field = path[-1]
    if not field.is_repeated:
        _set(message, field, generator)
        return
    entries = getattr(message, field.name)
    if generator.random() < 0.3:
        message.ClearField(field.name)
    count = size(generator, 1_000)
    for _ in range(count):
        if is_map(field):
            _put(entries, field, generator, _LONGEST_TEXT // count)
        elif field.message_type is not None:
            entries.add()
        else:
            entries.append(hostile_value(field, generator, _LONGEST_TEXT // count))


def flood(path: FieldPath, byte_count: int, generator: Random) -> bytes:
    """The bytes of a message whose first repeated field on a path is repeated until a size.

    Appended to a message's bytes, they add to what it has. Without a repeated field there is one
    hostile value.
    """
    place = next((n for n, field in enumerate(path) if field.is_repeated), 0)
    entry = message_factory.GetMessageClass(path[place].containing_type)()
    while not entry.ByteSize():
        spoil(entry, path[place:], generator)
        if not path[place].has_presence and not path[place].is_repeated:
            break  # the default value of such a field takes no bytes
    data = entry.SerializeToString()
    if path[place].is_repeated:
        data *= max(byte_count // max(len(data), 1), 1)
    for field in reversed(path[:place]):
        data = varint(field.number << 3 | 2) + varint(len(data)) + data
    return data


def hostile_value(
    field: FieldDescriptor, generator: Random, longest_text: int = _LONGEST_TEXT
) -> Any:
    """A value of a field that is no message; texts have at most some three times the length."""
    kind = field.cpp_type
    if kind in _BITS:
        return _integer(-(2 ** _BITS[kind]), 2 ** _BITS[kind] - 1, generator)
    if kind in _UNSIGNED_BITS:
        return _integer(0, 2 ** _UNSIGNED_BITS[kind] - 1, generator)
    special = _OF_A_FIELD.get(field.full_name)
    if special is not None and generator.random() < 0.8:
        return special(generator)
    if kind != FieldDescriptor.CPPTYPE_STRING:
        return _OF_A_KIND[kind](generator)
    text = hostile_text(generator, longest_text)
    return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text


def hostile_text(generator: Random, longest: int) -> str:
    """Any text: empty, controls, quotes, other scripts of every length."""
    if generator.random() < 0.4:
        return generator.choice(_TEXTS)
    letters = generator.sample(_LETTERS, generator.randint(1, 3))
    return "".join(letters) * size(generator, longest)


def size(generator: Random, largest: int) -> int:
    """A count from 0 to about `largest`, each order of magnitude as likely."""
    return int(math.exp(generator.uniform(0, math.log(largest + 1)))) - 1


def varint(number: int) -> bytes:
    """A whole number as protobuf writes it."""
    groups = []
    while True:
        number, group = number >> 7, number & 0x7F
        groups.append(group | (0x80 if number else 0))
        if not number:
            return bytes(groups)


def is_map(field: FieldDescriptor) -> bool:
    """Whether a field is a map, which protobuf counts among the repeated messages."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _put(entries: Any, field: FieldDescriptor, generator: Random, longest_text: int) -> None:
    key, value = field.message_type.fields
    entries[hostile_value(key, generator, longest_text)] = hostile_value(
        value, generator, longest_text
    )


def _inside(message: Message, field: FieldDescriptor, generator: Random) -> Message:
    value = getattr(message, field.name)
    if not field.is_repeated:
        value.SetInParent()
        return value
    return generator.choice(value) if value and generator.random() < 0.8 else value.add()


def _set(message: Message, field: FieldDescriptor, generator: Random) -> None:
    if generator.random() < 0.1:
        message.ClearField(field.name)
    elif field.message_type is not None:
        getattr(message, field.name).Clear()
        getattr(message, field.name).SetInParent()
    else:
        setattr(message, field.name, hostile_value(field, generator))


def _integer(low: int, high: int, generator: Random) -> int:
    """Often at an end, or beside a power of two."""
    power = 2 ** generator.randrange(high.bit_length() + 1)
    near = generator.choice((low, high, 0, power, -power)) + generator.choice((-1, 0, 1))
    return min(max(near, low), high)


def _double(generator: Random) -> float:
    if generator.random() < 0.7:
        return generator.choice(_DOUBLES)
    return math.ldexp(generator.uniform(-1, 1), generator.randint(-1_074, 1_023))


_OF_A_KIND: Mapping[int, Callable[[Random], Any]] = {
    FieldDescriptor.CPPTYPE_BOOL: lambda generator: generator.random() < 0.5,
    FieldDescriptor.CPPTYPE_ENUM: lambda generator: _integer(-(2**31), 2**31 - 1, generator),
    FieldDescriptor.CPPTYPE_DOUBLE: _double,
    FieldDescriptor.CPPTYPE_FLOAT: _double,
}
_OF_A_FIELD: Mapping[str, Callable[[Random], Any]] = {
    "stratsweep.v1.OptimizationConfig.constraints": (
        lambda generator: Grammar(generator).constraint()
    ),
}
