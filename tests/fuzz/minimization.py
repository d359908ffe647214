"""A smaller request that shows the same: parts are left out as long as it does."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tests.fuzz.values import is_map


async def minimize(
    message: Message, shows: Callable[[Message], Awaitable[bool]], seconds: float
) -> Message:
    """Leave out fields, entries and parts of texts as long as the rest shows the same.

    Args:
        message: It shows what is to be shown.
        shows: Whether another message does.
        seconds: After which the smallest so far is good enough.
    """
    end = time.monotonic() + seconds
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for candidate in _smaller(message):
            if time.monotonic() > end:
                return message
            if await shows(candidate):
                message, is_smaller = candidate, True
                break
    return message


def _smaller(message: Message) -> Iterator[Message]:
    """Copies of a message, each without some part of it; large parts first."""
    for field, value in message.ListFields():
        yield _without(message, field)
        if field.is_repeated:
            for part in _halves(list(value.items() if is_map(field) else value)):
                yield _with(message, field, part)
        elif field.message_type is not None:
            for inner in _smaller(value):
                yield _with(message, field, inner)
        elif isinstance(value, str):
            for part in _halves(value):
                yield _with(message, field, part)
    yield from _smaller_entries(message)


def _smaller_entries(message: Message) -> Iterator[Message]:
    for field, value in message.ListFields():
        is_list = field.is_repeated and not is_map(field)
        if is_list and field.message_type is not None and len(value) <= 10:
            for number, entry in enumerate(value):
                for inner in _smaller(entry):
                    yield _with(message, field, [*value[:number], inner, *value[number + 1 :]])


def _halves(whole):
    middle = len(whole) // 2
    if middle:
        yield whole[:middle]
        yield whole[middle:]


def _without(message: Message, field: FieldDescriptor) -> Message:
    copy = type(message)()
    copy.CopyFrom(message)
    copy.ClearField(field.name)
    return copy


def _with(message: Message, field: FieldDescriptor, value: object) -> Message:
    copy = _without(message, field)
    if is_map(field):
        getattr(copy, field.name).update(value)
    elif field.is_repeated:
        getattr(copy, field.name).extend(value)
    elif field.message_type is not None:
        getattr(copy, field.name).CopyFrom(value)
        getattr(copy, field.name).SetInParent()
    else:
        setattr(copy, field.name, value)
    return copy
