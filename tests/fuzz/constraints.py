"""Texts of constraints from a grammar: arithmetic at its limits, and what must be refused. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

NAMES = ("x", "salt", "threshold", "share", "level", "mode", "short")
"""The parameters of `grids.full_request`."""

_NUMBERS = (
    *("0", "1", "-1", "2", "3", "0.0", ".5", "1.", "1e308", "1e-320", "- -1", "007"),
    *("9223372036854775807", "-9223372036854775808", "4611686018427387904", "9007199254740993"),
)
_STRANGE_ATOMS = (
    *(
        "9223372036854775808",
        "18446744073709551616.",
        "NULL",
        "TRUE",
        "FALSE",
        "'slow'",
        "''",
        "'\0'",
        "'漢'",
        "'it''s'",
        '"x"',
        '""',
        "x.y",
        "*",
        "?",
    ),
    *(
        "9" * 400,
        "0." + "0" * 330 + "1",
        "1e999",
        "(SELECT 1)",
        "INTERVAL '1 day'",
        "DATE '2024-01-01'",
        "ARRAY[1]",
        "0x1",
    ),
)
_STRANGE_OPERATORS = ("||", "&", "^", "**", "<<", "::", ".", "// NULL +", "-- ", "/*", "DIV")
_COMPARISONS = ("<", "<=", ">", ">=", "=", "==", "!=", "<>")
_STRANGE_COMPARISONS = ("<=>", "is", "like", "not like", "is distinct from", "~", "< ALL", ":=")
_STRANGE_JOINTS = ("XOR", ",", ";", "UNION", "THEN", "OVER")
_FUNCTIONS = ("abs", "avg", "ceil", "floor", "max", "min", "mod", "nullif", "pow", "round", "sqrt")
_OF_TWO = ("mod", "nullif", "pow")
_STRANGE_FUNCTIONS = ("sum", "count", "lpad", "repeat", "read_csv", "cast", "exp", "SUM", "x", "''")
_STRAY = ("\0", "\n", "(", ")", "'", '"', "漢" * 300, "\\", "\u2028", " " * 400)


class Grammar:
    """Makes conditions on some parameters.

    Args:
        generator: Of every choice.
        names: Of the parameters.
        strangeness: The chance, at each choice, of what constraints do not have.
    """

    def __init__(
        self, generator: Random, names: Sequence[str] = NAMES, strangeness: float = 0.1
    ) -> None:
        self._random = generator
        self._names = names
        self._strangeness = strangeness

    def constraint(self) -> str:
        """A text; most often one that can be evaluated."""
        text = self._condition(self._random.randint(0, 4))
        if self._is_strange():
            place = self._random.randrange(len(text) + 1)
            text = text[:place] + self._random.choice(_STRAY) + text[place:]
        return text

    def _condition(self, depth: int) -> str:
        make = self._random.choice(self._conditions) if depth else self._compared
        return make(depth - 1)

    @property
    def _conditions(self) -> tuple[Callable[[int], str], ...]:
        return (
            self._compared,
            self._joined,
            self._wrapped,
            self._listed,
            self._between,
            self._tested,
        )

    def _compared(self, depth: int) -> str:
        sign = self._choice(_COMPARISONS, _STRANGE_COMPARISONS)
        return f"{self._value(depth)} {sign} {self._value(depth)}"

    def _joined(self, depth: int) -> str:
        joint = self._choice(("AND", "OR", "and not"), _STRANGE_JOINTS)
        return f"{self._condition(depth)} {joint} {self._condition(depth)}"

    def _wrapped(self, depth: int) -> str:
        opened = self._random.randint(1, 200 if self._is_strange() else 3)
        closed = self._random.randint(0, 200) if self._is_strange() else opened
        return f"{'(' * opened}{self._condition(depth)}{')' * closed}"

    def _listed(self, depth: int) -> str:
        if self._random.random() < 0.3:
            entries = map(str, range(self._random.randint(1, 150)))
        else:
            entries = (self._value(0) for _ in range(self._random.randint(0, 6)))
        return f"{self._value(depth)} IN ({', '.join(entries)})"

    def _between(self, depth: int) -> str:
        return f"{self._value(depth)} BETWEEN {self._value(0)} AND {self._value(depth)}"

    def _tested(self, depth: int) -> str:
        return f"NOT {self._value(depth)} IS {self._random.choice(('', 'NOT '))}NULL"

    def _value(self, depth: int) -> str:
        make = self._random.choice(self._values) if depth > 0 else self._atom
        return make(depth - 1)

    @property
    def _values(self) -> tuple[Callable[[int], str], ...]:
        return self._atom, self._calculated, self._calculated, self._called

    def _atom(self, depth: int) -> str:
        if self._names and self._random.random() < 0.5:
            name = self._random.choice(self._names)
            return name if name.isidentifier() else f'"{name}"'
        return self._choice(_NUMBERS, _STRANGE_ATOMS)

    def _calculated(self, depth: int) -> str:
        sign = self._choice(("+", "-", "*", "/", "//", "%"), _STRANGE_OPERATORS)
        return f"({self._value(depth)} {sign} {self._value(depth)})"

    def _called(self, depth: int) -> str:
        function = self._choice(_FUNCTIONS, _STRANGE_FUNCTIONS)
        count = (
            2 if function in _OF_TWO else self._random.choice((1, 2, 3)) * self._is_strange() or 1
        )
        return f"{function}({', '.join(self._value(depth) for _ in range(count))})"

    def _choice(self, usual: Sequence[str], strange: Sequence[str]) -> str:
        return self._random.choice(strange if self._is_strange() else usual)

    def _is_strange(self) -> bool:
        return self._random.random() < self._strangeness
