"""Say which names a condition may have, parameters or metrics, and what is said of others. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, Protocol

from stratsweep_server.texts import listed, quoted

KEYWORDS = ("and", "or", "not", "in", "between", "is", "null", "true", "false", "like")
"""The words of the notation that are no functions."""


class Names(Protocol):
    """Say which names a condition may have.

    Attributes:
        operands: What may stand on a side of a comparison.
        example: A condition, to show how one is written.
        long_example: One that has AND, likewise.
        are_of_grid: Whether they are of a grid: with values that may be texts, and that are known
            as a whole, for `avg`, `max` and `min`.
    """

    operands: ClassVar[str]
    example: ClassVar[str]
    long_example: ClassVar[str]
    are_of_grid: ClassVar[bool]

    @property
    def known(self) -> Collection[str]:
        """Return the names that are known."""

    def has(self, token: str) -> bool:
        """Return whether a word of a condition, perhaps in double quotes, is such a name."""

    def refusal(self, name: str) -> str:
        """Return why another name is none, and what to do."""


@dataclass(frozen=True, slots=True)
class ParameterNames:
    """Name the parameters of a grid: what constraints are about.

    Attributes:
        known: The parameters.
        metrics: What is a metric instead.
    """

    operands: ClassVar[str] = "a parameter, a number or a text"
    example: ClassVar[str] = "fast < slow"
    long_example: ClassVar[str] = "fast < slow AND slow < 200"
    are_of_grid: ClassVar[bool] = True

    known: Collection[str]
    metrics: Collection[str] = ()

    def has(self, token: str) -> bool:
        """Return whether a word is a parameter, before it is anything else."""
        return unquoted(token) in self.known

    def refusal(self, name: str) -> str:
        """Return why a name is no parameter of the grid, and what to do."""
        if name in self.metrics:
            return (
                f"names {quoted(name)}, a metric, which is known only when a backtest has run; "
                "conditions on metrics are `requirements`"
            )
        return (
            f"names {quoted(name)}, which the grid does not have; "
            f"its parameters are {listed(self.known) or 'none'}; "
            "one that has its default can be given as its only value; "
            + (_near(name, self.known) or f"a text is written {quoted(name)}")
        )


@dataclass(frozen=True, slots=True)
class MetricNames:
    """Name metrics: what requirements are about.

    Attributes:
        known: The metrics that an engine declares; where it declares none, any name is one.
        parameters: What is a parameter instead.
    """

    operands: ClassVar[str] = "a metric or a number"
    example: ClassVar[str] = "trade_count >= 30"
    long_example: ClassVar[str] = "trade_count >= 30 AND max_drawdown < 0.2"
    are_of_grid: ClassVar[bool] = False

    known: Collection[str] = ()
    parameters: Collection[str] = ()

    def has(self, token: str) -> bool:
        """Return whether a word is a metric; one of the notation is, where it is quoted."""
        if token.lower() in KEYWORDS:
            return False
        name = unquoted(token)
        return name in self.known if self.known else name not in self.parameters

    def refusal(self, name: str) -> str:
        """Return why a name is no metric, and what to do."""
        if name in self.parameters:
            return f"names {quoted(name)}, a parameter; conditions on those are `constraints`"
        near = _near(name, self.known)
        metrics = f"the metrics are {listed(self.known)}"
        return f"names {quoted(name)}, which is no metric; {near or metrics}"


def unquoted(token: str) -> str:
    """Return a name without the double quotes that it may have."""
    return token.strip('"')


def _near(name: str, names: Collection[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]}?" if near else ""
