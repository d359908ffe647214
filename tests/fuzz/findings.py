"""What a fuzz test found: one entry for each kind of defect, with its smallest request on disk."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import text_format
from google.protobuf.message import DecodeError

from tests.fuzz.attacks import Attack

_SHOWN = 300
_MAX_TEXT_FILE_CHARACTERS = 100_000


@dataclass(slots=True)
class Finding:
    """One kind of defect.

    Attributes:
        text: What was wrong, the first time.
        attack: The smallest call that showed it; None where it is no single call's.
        count: How often it was seen.
    """

    text: str
    attack: Attack | None
    count: int = 1


@dataclass(slots=True)
class Findings:
    """All of them, by signature."""

    entries: dict[str, Finding] = field(default_factory=dict)

    def add(self, text: str, attack: Attack | None = None) -> None:
        """Note that something was not as it must be."""
        found = self.entries.setdefault(signature(text, attack), Finding(text, attack, 0))
        found.count += 1
        if (
            attack is not None
            and found.attack is not None
            and _bytes(attack) < _bytes(found.attack)
        ):
            found.attack = attack

    def lines(self, folder: Path) -> Iterator[str]:
        """Write each request to a folder, and describe each finding in a line."""
        for number, finding in enumerate(self.entries.values(), start=1):
            line = f"{finding.text[:_SHOWN]!r}, {finding.count:,} times"
            if finding.attack is not None:
                path = folder / f"finding-{number}.hex"
                path.write_text(to_text(finding.attack))
                _write_text_form(finding.attack, path.with_suffix(".txtpb"))
                line += f"; {finding.attack.kind} at {finding.attack.path}: {path}"
            yield line


def signature(text: str, attack: Attack | None) -> str:
    """Equal for defects that look alike: without numbers, and without what is quoted."""
    kind = re.sub(r"'[^']*'|\"[^\"]*\"|\{.*?\}|[0-9a-f]{8}|[-+]?\d[\d,.e+]*", "#", text)[:100]
    return kind if attack is None else f"{attack.path} {kind}"


def to_text(attack: Attack) -> str:
    """A call as lines: kind, path, then each message in hexadecimal."""
    return "\n".join([attack.kind, attack.path, *(each.hex() for each in attack.messages)]) + "\n"


def from_text(text: str) -> Attack:
    """Read `to_text` back."""
    kind, path, *messages = text.removesuffix("\n").split("\n")
    return Attack(kind, path, tuple(map(bytes.fromhex, messages)))


def _write_text_form(attack: Attack, path: Path) -> None:
    """For people; nothing where the bytes are no message."""
    try:
        text = text_format.MessageToString(attack.message())
    except (DecodeError, LookupError):
        return
    path.write_text(text[:_MAX_TEXT_FILE_CHARACTERS])


def _bytes(attack: Attack) -> int:
    return sum(map(len, attack.messages))
