"""Make and check the ids of optimizations."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator

from stratsweep_server.optimization.validation import Violation
from stratsweep_server.texts import quoted

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH = 26
_RANDOM_BITS = 80
ID_RULE = "1 to 64 of letters, digits, '-', '_' and '.', a letter or digit first"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def new_optimization_id() -> str:
    """Return an id that no other optimization has; those made later sort after it.

    It has the form of a ULID in lower case: 48 bits of milliseconds since 1970, 80 random ones.
    """
    number = time.time_ns() // 1_000_000 << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    return "".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(_LENGTH)))


def find_id_violations(field: str, optimization_id: str) -> Iterator[Violation]:
    """Yield what is wrong with an id that a client gives; an empty one is none."""
    if optimization_id and not _ID.fullmatch(optimization_id):
        yield Violation(field, f"is {quoted(optimization_id)}; take {ID_RULE}")
