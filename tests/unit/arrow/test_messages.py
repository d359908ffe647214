"""Only whole messages are read: never a part of one, nor one in which a bit is wrong."""

from __future__ import annotations

import random

import numpy as np
import pytest
from stratsweep_server.arrow.batches import BatchLayout
from stratsweep_server.arrow.messages import END_OF_STREAM, read_messages
from stratsweep_server.arrow.schema import Column, ColumnType, schema_message

COLUMNS = (Column("number", ColumnType.INT64),)


def messages(count: int) -> list[bytes]:
    layout = BatchLayout(COLUMNS)
    batches = [b"".join(layout.encode(size, [np.arange(size) + 1])) for size in range(2, count + 2)]
    return [schema_message(COLUMNS, {"who": "we"}), *batches]


def ends(content: bytes) -> list[int]:
    return [message.end for message in read_messages(memoryview(content))]


WRITTEN = messages(3)
WHOLE = b"".join(WRITTEN)
ENDS = np.cumsum([len(message) for message in WRITTEN]).tolist()


def untouched(content: bytes) -> list[int]:
    """Where the messages end that are as they were written."""
    return [end for end in ENDS if content[:end] == WHOLE[:end]]


def test_whole_messages_are_read():
    assert ends(WHOLE) == ENDS


def test_the_end_of_the_stream_is_none():
    assert ends(WHOLE + END_OF_STREAM) == ENDS
    assert ends(END_OF_STREAM) == ends(b"") == []


@pytest.mark.parametrize("rest", [b"", bytes(8), bytes(4_096), b"\xff" * 64])
def test_a_stream_ends_with_its_last_whole_message_wherever_it_was_cut(rest):
    for cut in range(len(WHOLE)):
        content = WHOLE[:cut] + rest
        assert ends(content) == untouched(content)


def test_zeros_in_the_place_of_what_was_not_written_are_none():
    for cut in range(len(WHOLE)):
        content = WHOLE[:cut] + bytes(len(WHOLE) - cut)
        assert ends(content) == untouched(content)


def test_a_message_with_a_wrong_bit_is_none():
    for place in range(len(WHOLE)):
        content = bytearray(WHOLE)
        content[place] ^= 1 << random.Random(place).randrange(8)
        assert ends(bytes(content)) == untouched(content)
