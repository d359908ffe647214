"""Check the labels that a client gives an optimization, and write them into one line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from stratsweep_server.optimization.limits import (
    MAX_LABEL_KEY_CHARACTERS,
    MAX_LABEL_VALUE_CHARACTERS,
    MAX_LABELS,
)
from stratsweep_server.optimization.validation import Violation
from stratsweep_server.texts import quoted

_WORD = re.compile(r"[\w.:/@+-]+")


def find_label_violations(labels: Mapping[str, str]) -> Iterator[Violation]:
    """Yield every violation of labels; of too many labels, only that there are too many."""
    if len(labels) > MAX_LABELS:
        yield Violation("labels", f"are {len(labels):,}; {MAX_LABELS} are allowed")
        return
    for key, value in sorted(labels.items()):
        path = f"labels[{quoted(key)}]"
        if not key:
            yield Violation(path, "has an empty key; name it")
        yield from _check_text(path, "key", key, MAX_LABEL_KEY_CHARACTERS)
        yield from _check_text(path, "value", value, MAX_LABEL_VALUE_CHARACTERS)


def _check_text(path: str, what: str, text: str, limit: int) -> Iterator[Violation]:
    if len(text) > limit:
        yield Violation(path, f"has a {what} of {len(text):,} characters; {limit} are allowed")
    if "\0" in text:
        yield Violation(path, f"has a {what} with a NUL character; leave it out")


def labels_text(labels: Mapping[str, str]) -> str:
    """Return ` (desk=rates, note='two words')`, by key, for a line of a log; empty without any."""
    pairs = (f"{_word(key)}={_word(value)}" for key, value in sorted(labels.items()))
    return f" ({', '.join(pairs)})" if labels else ""


def _word(text: str) -> str:
    """Quote a text so that its end is seen, and escape what a terminal would obey."""
    return text if _WORD.fullmatch(text) else repr(text)
