"""What clients count; it travels from a client process to the load test as one line of JSON."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

_KEPT_VIOLATIONS = 20


@dataclass(slots=True)
class Tally:
    """Counts of one client process, or of all of them.

    Attributes:
        calls: How many calls of each kind ended as they should.
        seconds: How long each call of a kind took that is answered at once.
        event_count: Events received.
        outcome_count: Outcomes checked in streams that were not disturbed.
        violation_count: How often something was not as it must be.
        violations: The first of them, in words.
    """

    calls: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    event_count: int = 0
    outcome_count: int = 0
    violation_count: int = 0
    violations: list[str] = field(default_factory=list)

    def violate(self, texts: Iterable[str]) -> None:
        """Note what is wrong."""
        for text in texts:
            self.violation_count += 1
            if len(self.violations) < _KEPT_VIOLATIONS:
                self.violations.append(text)

    def add(self, other: Tally) -> None:
        """Add another process's counts."""
        self.calls += other.calls
        self.event_count += other.event_count
        self.outcome_count += other.outcome_count
        for kind, values in other.seconds.items():
            self.seconds[kind] += values
        self.violation_count += other.violation_count
        room = _KEPT_VIOLATIONS - len(self.violations)
        self.violations += other.violations[:room]

    def to_json(self) -> str:
        """One line."""
        return json.dumps({each.name: getattr(self, each.name) for each in fields(self)})

    @staticmethod
    def from_json(text: str) -> Tally:
        """Read `to_json` back."""
        values = json.loads(text)
        counts = Counter(values.pop("calls"))
        return Tally(calls=counts, seconds=defaultdict(list, values.pop("seconds")), **values)


def percentile(values: list[float], fraction: float) -> float:
    """The value below which a fraction of the values lies; NaN without values."""
    if not values:
        return math.nan
    return sorted(values)[min(int(len(values) * fraction), len(values) - 1)]
