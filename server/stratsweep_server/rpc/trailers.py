"""Cut texts to what fits into a call's trailers, by the bytes that they take there.

Clients refuse trailers of more than 8 KB, some of them only now and then: the call then ends as
RESOURCE_EXHAUSTED whatever its status was. The message is sent twice: percent-encoded, and as UTF-8
among the details, which travel as base64.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

MAX_MESSAGE_BYTES = 1_000
"""Of a message, percent-encoded; at most 1,334 more of it are in the details."""
MAX_VIOLATIONS_BYTES = 2_800
"""Of all violations; 3,734 as base64."""
MAX_METADATA_BYTES = 100
"""Of each value for programs."""

ELLIPSIS = "…"


def utf8_size(text: str) -> int:
    """Return the bytes that a text takes in a protobuf message."""
    return len(text.encode())


def percent_encoded_size(text: str) -> int:
    """Return the bytes of a text as a status's message: 1 for printable ASCII but `%`, else 3 each.

    Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses.
    """
    data = text.encode()
    return len(data) + 2 * sum(not 0x20 <= byte <= 0x7E or byte == 0x25 for byte in data)


def shortened(text: str, limit: int, size: Callable[[str], int] = utf8_size) -> str:
    """Return a text of at most `limit` bytes: the same, or its beginning and an ellipsis.

    What cannot be encoded, such as half of a surrogate pair, is replaced.
    """
    head = text[: limit + 1].encode("utf-8", "replace").decode()
    if len(head) == len(text) and size(head) <= limit:
        return head
    room = limit - size(ELLIPSIS)
    sizes = accumulate(map(size, head))
    return head[: sum(each <= room for each in sizes)] + ELLIPSIS
