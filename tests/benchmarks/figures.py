"""What a figure is: our number beside references of the same run, and the reach that is wanted."""

from __future__ import annotations

import inspect
import statistics
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Sample:
    """The values of repeated measurements, in the order in which they were taken."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle value."""
        return statistics.median(self.values)

    def scaled(self, factor: float) -> Sample:
        """The same in another unit."""
        return Sample(tuple(value * factor for value in self.values))


@dataclass(frozen=True, slots=True)
class Reach:
    """What is wanted of a row's ratio, or of our number itself where `of_ratio` is False."""

    lowest: float | None = None
    highest: float | None = None
    of_ratio: bool = True

    def is_met_by(self, value: float) -> bool:
        """Whether a value lies within the limits."""
        above = self.lowest is None or value >= self.lowest
        return above and (self.highest is None or value <= self.highest)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        label: What was measured.
        ours: Our number.
        unit: Of both numbers.
        reference: What it is compared with; empty for nothing.
        theirs: The reference's number, from the same run.
        reach: What is wanted; None for a number that only informs.
        note: What a reader must know to judge the number.
    """

    label: str
    ours: Sample
    unit: str
    reference: str = ""
    theirs: Sample | None = None
    reach: Reach | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Our median over the reference's."""
        return None if self.theirs is None else self.ours.median / self.theirs.median

    @property
    def is_reached(self) -> bool | None:
        """Whether the reach is met; None where none is wanted."""
        if self.reach is None:
            return None
        value = self.ratio if self.reach.of_ratio else self.ours.median
        return value is not None and self.reach.is_met_by(value)


Figure: TypeAlias = Callable[[bool], Coroutine[Any, Any, list[Row]]]
"""Measures and returns its rows; True asks for a quick, coarse look."""

Contestant: TypeAlias = Callable[[], float | Awaitable[float]]
"""Runs once and returns its number."""


async def interleave(
    rounds: int, contestants: Mapping[str, Contestant], *, warm_up: bool = True
) -> dict[str, Sample]:
    """Run the contestants in turn, A B C A B C …, so that a noisy minute hits all of them.

    Args:
        rounds: How often each one is measured.
        contestants: By name.
        warm_up: Whether each runs once before, unmeasured.
    """
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for round_number in range(-1 if warm_up else 0, rounds):
        for name, contestant in contestants.items():
            number = contestant()
            if inspect.isawaitable(number):
                number = await number
            if round_number >= 0:
                taken[name].append(number)
    return {name: Sample(tuple(values)) for name, values in taken.items()}
