"""What came out of one siege."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.fuzz.attacks import Attack
from tests.fuzz.calls import Ending
from tests.fuzz.findings import Findings
from tests.load.memory import MemoryWatch
from tests.load.tally import Tally


@dataclass(slots=True)
class Outcome:
    """Filled in while it goes on.

    Attributes:
        memory: Of the server.
        findings: What was not as it must be.
        calls: Hostile calls by kind and ending.
        slowest: Seconds to the answer of the slowest call of each kind.
        honest: What the honest client counted.
    """

    memory: MemoryWatch
    findings: Findings = field(default_factory=Findings)
    calls: Counter[str] = field(default_factory=Counter)
    slowest: dict[str, float] = field(default_factory=dict)
    honest: Tally = field(default_factory=Tally)

    def count(self, attack: Attack, ending: Ending) -> None:
        """Count a call."""
        name = ending.code.name if ending.code is not None else "left"
        self.calls[f"{attack.kind}: {name}"] += 1
        self.slowest[attack.kind] = max(self.slowest.get(attack.kind, 0.0), ending.seconds)
