"""Type conditions: what each part of a tree is, within which bounds, and how it is evaluated.

Whole numbers are computed in 64 bits where the bounds of the parameters say that nothing overflows,
else as doubles. What has no value (a division by zero, the root of a negative number) is undefined
as NULL is in SQL: a comparison with it is neither true nor false.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial, reduce
from operator import and_
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.optimization.constraint_text import (
    ConstraintTextError,
    Literal,
    Name,
    Node,
)

Column: TypeAlias = Any
"""An array with a value for each combination of a block, or a single value for all of them."""
Values: TypeAlias = tuple[Column, Column]
"""Two columns: of truths where they are true and where they are false; of whole numbers and texts
(as places in their order) the values and where they are defined, True being everywhere; of
fractions the values, NaN where they are undefined, and True."""

_INT64 = range(-(2**63), 2**63)
_MAX_DIGITS = 15


class Kind(Enum):
    """Name what a part of a constraint is."""

    WHOLE = "a whole number"
    FRACTION = "a number"
    TEXT = "a text"
    TRUTH = "true or false"
    NOTHING = "NULL"


class Block(Protocol):
    """Give values of some combinations, in columns, and of the whole grid."""

    def column(self, name: str) -> NDArray[Any]:
        """Return the values of a parameter; a text's are places in the order of all texts."""

    def place(self, text: str) -> int:
        """Return the place of a text in the order of all texts."""

    def like(self, pattern: str) -> NDArray[np.bool_]:
        """Return which of all texts, in their order, match a pattern (bool)."""

    def once(self, part: Expression) -> Values:
        """Return the values of a part that is used more than once; evaluates it once."""

    def aggregate(self, function: str, part: Expression) -> Values:
        """Return the min, max or avg of a part over the whole grid."""


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """Hold a typed part of a constraint.

    Attributes:
        kind: What it is.
        evaluate: Its values in a block.
        bounds: The least and the largest whole number that it can be, when it is one.
        names: The parameters that it reads.
        texts: The texts that it names.
    """

    kind: Kind
    evaluate: Callable[[Block], Values]
    bounds: tuple[int, int] = (0, 0)
    names: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()

    @property
    def may_be_zero(self) -> bool:
        """Return whether its bounds, when it is a whole number, have zero between them."""
        return self.bounds[0] <= 0 <= self.bounds[1]


def typed(node: Node, variable_of: Callable[[str], Expression]) -> Expression:
    """Return the typed form of a tree.

    Args:
        node: The tree.
        variable_of: Gives what each parameter of the grid, or each metric, is; see `variable`.

    Raises:
        ConstraintTextError: It applies something to what it does not go with.
    """
    if isinstance(node, Name):
        return variable_of(node.name)
    if isinstance(node, Literal):
        return _literal(node.value)
    arguments = [typed(argument, variable_of) for argument in node.arguments]
    return _RULES[node.function](node.function, *arguments)


def variable(name: str, kind: Kind, bounds: tuple[int, int] = (0, 0)) -> Expression:
    """Return a parameter or a metric as an expression; bounds are of its values, if whole."""
    if kind is Kind.TRUTH:
        return Expression(kind, lambda block: _truth(block.column(name)), names=frozenset({name}))
    return Expression(kind, lambda block: (block.column(name), True), bounds, frozenset({name}))


def _literal(value: object) -> Expression:
    if value is None:
        return Expression(Kind.NOTHING, lambda _: (np.float64(np.nan), True))
    if isinstance(value, bool):
        truth = _truth(np.bool_(value))
        return Expression(Kind.TRUTH, lambda _: truth)
    if isinstance(value, int):
        whole = np.int64(value)
        return Expression(Kind.WHOLE, lambda _: (whole, True), (value, value))
    if isinstance(value, float):
        fraction = np.float64(value)
        return Expression(Kind.FRACTION, lambda _: (fraction, True))
    text = str(value)
    return Expression(
        Kind.TEXT, lambda block: (np.int64(block.place(text)), True), texts=frozenset({text})
    )


# Conversions


def _as_fraction(part: Expression) -> Expression:
    def evaluate(block: Block) -> Values:
        values, defined = part.evaluate(block)
        fractions = values.astype(np.float64)
        return (fractions if defined is True else np.where(defined, fractions, np.nan)), True

    if part.kind is Kind.NOTHING:
        return replace(part, kind=Kind.FRACTION)
    if part.kind is Kind.FRACTION:
        return part
    return replace(part, kind=Kind.FRACTION, evaluate=evaluate)


def _as_number(part: Expression, function: str) -> Expression:
    """Itself when it is a number; true is 1, false 0."""

    def evaluate(block: Block) -> Values:
        true, false = part.evaluate(block)
        return true.astype(np.int64), true | false

    if part.kind is Kind.TRUTH:
        return replace(part, kind=Kind.WHOLE, evaluate=evaluate, bounds=(0, 1))
    if part.kind is Kind.TEXT:
        raise ConstraintTextError(f"applies {function} to a text; it takes numbers")
    return _as_fraction(part) if part.kind is Kind.NOTHING else part


def _as_truth(part: Expression, function: str) -> Expression:
    if part.kind is Kind.NOTHING:
        return Expression(Kind.TRUTH, lambda _: (np.False_, np.False_))
    if part.kind is not Kind.TRUTH:
        raise ConstraintTextError(
            f"applies {function} to {part.kind.value}, not to a condition; "
            "compare it with something"
        )
    return part


def _alike(left: Expression, right: Expression, function: str) -> tuple[Expression, Expression]:
    """Two parts of one kind, of what can be compared."""
    kinds = {left.kind, right.kind}
    if Kind.TEXT in kinds:
        if not kinds <= {Kind.TEXT, Kind.NOTHING}:
            raise ConstraintTextError(
                f"compares a text with {(kinds - {Kind.TEXT}).pop().value} ({function}); "
                "a text is written 'text', a number without quotes"
            )
        return _as_text(left), _as_text(right)
    left, right = _as_number(left, function), _as_number(right, function)
    if left.kind is not right.kind:
        return _as_fraction(left), _as_fraction(right)
    return left, right


def _as_text(part: Expression) -> Expression:
    if part.kind is Kind.NOTHING:
        return Expression(Kind.TEXT, lambda _: (np.int64(0), np.False_))
    return part


# Arithmetic


def _made(
    kind: Kind,
    parts: Sequence[Expression],
    evaluate: Callable[[Block], Values],
    bounds: tuple[int, int] = (0, 0),
) -> Expression:
    names = frozenset[str]().union(*(part.names for part in parts))
    texts = frozenset[str]().union(*(part.texts for part in parts))
    return Expression(kind, evaluate, bounds, names, texts)


def _whole(
    function: Callable[..., Column], parts: Sequence[Expression], bounds: tuple[int, int]
) -> Expression:
    """Apply a function to whole numbers, whose values fit 64 bits."""

    def evaluate(block: Block) -> Values:
        columns = [part.evaluate(block) for part in parts]
        return function(*(values for values, _ in columns)), _both(*(each for _, each in columns))

    return _made(Kind.WHOLE, parts, evaluate, bounds)


def _fraction(function: Callable[..., Column], parts: Sequence[Expression]) -> Expression:
    """Apply a function to doubles."""
    fractions = [_as_fraction(part) for part in parts]

    def evaluate(block: Block) -> Values:
        return function(*(part.evaluate(block)[0] for part in fractions)), True

    return _made(Kind.FRACTION, fractions, evaluate)


def _arithmetic(sign: str, *parts: Expression) -> Expression:
    numbers = [_as_number(part, sign) for part in parts]
    on_whole, on_fractions, bounds_of = _ARITHMETIC[sign]
    if all(part.kind is Kind.WHOLE for part in numbers):
        bounds = bounds_of(*(part.bounds for part in numbers))
        if bounds[0] in _INT64 and bounds[1] in _INT64:
            return _whole(on_whole, numbers, bounds)
    return _fraction(on_fractions, numbers)


def _division(sign: str, left: Expression, right: Expression) -> Expression:
    """Apply a division that is undefined where the right side is zero."""
    divisor = _once(_as_number(right, sign))
    result = _arithmetic(sign, left, divisor)
    if result.kind is not Kind.WHOLE or not divisor.may_be_zero:
        return result

    def evaluate(block: Block) -> Values:
        values, defined = result.evaluate(block)
        return values, _both(defined, divisor.evaluate(block)[0] != 0)

    return replace(result, evaluate=evaluate)


def _quotient(sign: str, left: Expression, right: Expression) -> Expression:
    return _fraction(_quotients, [_as_number(left, sign), _as_number(right, sign)])


def _power(function: str, base: Expression, exponent: Expression) -> Expression:
    base, exponent = _as_number(base, function), _as_number(exponent, function)
    if base.kind is exponent.kind is Kind.WHOLE and exponent.bounds[0] >= 0:
        least, most = base.bounds
        largest = max(abs(least), abs(most), 1)
        if exponent.bounds[1] <= 63 or largest == 1:
            largest = largest ** min(exponent.bounds[1], 63)
            if largest in _INT64:
                return _whole(np.power, [base, exponent], (-largest, largest))
    return _fraction(_powers, [base, exponent])


def _root(function: str, part: Expression) -> Expression:
    return _fraction(np.sqrt, [_as_number(part, function)])


def _rounded(function: str, part: Expression, digits: Expression | None = None) -> Expression:
    part = _as_number(part, function)
    count = 0
    if digits is not None:
        count = digits.bounds[0]
        is_literal = digits.kind is Kind.WHOLE and not digits.names
        if not (is_literal and count == digits.bounds[1] and 0 <= count <= _MAX_DIGITS):
            raise ConstraintTextError(
                f"rounds to other digits than a number from 0 to {_MAX_DIGITS}; "
                "write it like `round(share, 2)`"
            )
    if part.kind is Kind.WHOLE:
        return part
    functions: dict[str, Callable[[Column], Column]] = {
        "ceil": np.ceil,
        "floor": np.floor,
        "round": lambda values: _rounded_to(values, count),
    }
    return _fraction(functions[function], [part])


# Conditions


def _comparison(sign: str, left: Expression, right: Expression) -> Expression:
    left, right = _alike(left, right, sign)
    compare, contrary = _COMPARISONS[sign]

    def evaluate(block: Block) -> Values:
        (a, a_defined), (b, b_defined) = left.evaluate(block), right.evaluate(block)
        true, false = compare(a, b), contrary(a, b)
        defined = _both(a_defined, b_defined)
        if left.kind is Kind.FRACTION:  # NaN is different from everything
            defined = (a == a) & (b == b)  # noqa: PLR0124
        return (true, false) if defined is True else (true & defined, false & defined)

    return _made(Kind.TRUTH, [left, right], evaluate)


def _between(_: str, part: Expression, low: Expression, high: Expression) -> Expression:
    part = _once(part)
    return _and("and", _comparison(">=", part, low), _comparison("<=", part, high))


def _in(_: str, part: Expression, *others: Expression) -> Expression:
    part = _once(part)
    return reduce(partial(_or, "or"), [_comparison("=", part, other) for other in others])


def _and(function: str, left: Expression, right: Expression) -> Expression:
    left, right = _as_truth(left, function.upper()), _as_truth(right, function.upper())

    def evaluate(block: Block) -> Values:
        (a, not_a), (b, not_b) = left.evaluate(block), right.evaluate(block)
        return a & b, not_a | not_b

    return _made(Kind.TRUTH, [left, right], evaluate)


def _or(function: str, left: Expression, right: Expression) -> Expression:
    left, right = _as_truth(left, function.upper()), _as_truth(right, function.upper())

    def evaluate(block: Block) -> Values:
        (a, not_a), (b, not_b) = left.evaluate(block), right.evaluate(block)
        return a | b, not_a & not_b

    return _made(Kind.TRUTH, [left, right], evaluate)


def _not(_: str, part: Expression) -> Expression:
    part = _as_truth(part, "NOT")
    return replace(part, evaluate=lambda block: part.evaluate(block)[::-1])


def _like(_: str, part: Expression, pattern: Expression) -> Expression:
    [text] = pattern.texts if pattern.kind is Kind.TEXT and not pattern.names else [None]
    if part.kind not in (Kind.TEXT, Kind.NOTHING) or text is None:
        raise ConstraintTextError(
            "uses LIKE for something else than a text and a pattern; write it like `kind LIKE 'a%'`"
        )
    part = _as_text(part)

    def evaluate(block: Block) -> Values:
        places, defined = part.evaluate(block)
        matches = block.like(text)[places]
        return matches & defined, ~matches & defined

    return _made(Kind.TRUTH, [part], evaluate)


def _is_null(_: str, part: Expression) -> Expression:
    def evaluate(block: Block) -> Values:
        values, others = part.evaluate(block)
        if part.kind is Kind.TRUTH:
            return _truth(~(values | others))
        if part.kind in (Kind.FRACTION, Kind.NOTHING):
            return _truth(np.isnan(values))
        return _truth(~np.bool_(others) if others is True else ~others)

    return _made(Kind.TRUTH, [part], evaluate)


def _is_true(function: str, part: Expression) -> Expression:
    part = _as_truth(part, function.upper())
    return replace(part, evaluate=lambda block: _truth(part.evaluate(block)[0]))


def _is_false(function: str, part: Expression) -> Expression:
    part = _as_truth(part, function.upper())
    return replace(part, evaluate=lambda block: _truth(part.evaluate(block)[1]))


def _null_if(_: str, part: Expression, other: Expression) -> Expression:
    part = _once(part)
    equality = _comparison("=", part, other)

    def evaluate(block: Block) -> Values:
        values, others = part.evaluate(block)
        is_kept = ~equality.evaluate(block)[0]
        if part.kind is Kind.TRUTH:
            return values & is_kept, others & is_kept
        if part.kind in (Kind.FRACTION, Kind.NOTHING):
            return np.where(is_kept, values, np.nan), True
        return values, _both(others, is_kept)

    return replace(_made(part.kind, [part, other], evaluate), bounds=part.bounds)


def _aggregate(function: str, part: Expression) -> Expression:
    if part.kind is not Kind.TEXT or function == "avg":
        part = _as_number(part, function)
    kind = Kind.FRACTION if function == "avg" else part.kind
    return _made(kind, [part], lambda block: block.aggregate(function, part), part.bounds)


def _once(part: Expression) -> Expression:
    """Return a part that is used more than once as one that is evaluated once."""
    return replace(part, evaluate=lambda block: block.once(part))


# On columns


def _both(*defined: Column) -> Column:
    masks = [mask for mask in defined if mask is not True]
    return reduce(and_, masks) if masks else True


def _truth(true: Column) -> Values:
    return true, ~true


def _truncated(left: Column, right: Column) -> Column:
    """Return the quotient of whole numbers, cut towards zero."""
    return (left - np.fmod(left, right)) // right


def _quotients(left: Column, right: Column) -> Column:
    return np.where(right == 0, np.nan, left / right)


def _powers(base: Column, exponent: Column) -> Column:
    is_undefined = np.isnan(base) | np.isnan(exponent) | ((base == 0) & (exponent < 0))
    return np.where(is_undefined, np.nan, np.power(base, exponent))


def _rounded_to(values: Column, digits: int) -> Column:
    rounded = np.round(values, digits)
    return np.where(np.isfinite(rounded), rounded, values)  # a large number has no such digits


# Bounds of whole numbers

_Bounds: TypeAlias = tuple[int, int]


def _largest(bounds: _Bounds) -> int:
    return max(abs(bounds[0]), abs(bounds[1]))


def _product_bounds(left: _Bounds, right: _Bounds) -> _Bounds:
    products = [a * b for a in left for b in right]
    return min(products), max(products)


def _quotient_bounds(left: _Bounds, _: _Bounds) -> _Bounds:
    return -_largest(left), _largest(left)


def _remainder_bounds(left: _Bounds, right: _Bounds) -> _Bounds:
    largest = min(_largest(left), max(_largest(right) - 1, 0))
    return -largest, largest


_ARITHMETIC: Mapping[
    str, tuple[Callable[..., Column], Callable[..., Column], Callable[..., _Bounds]]
] = {
    "+": (np.add, np.add, lambda a, b: (a[0] + b[0], a[1] + b[1])),
    "-": (np.subtract, np.subtract, lambda a, b: (a[0] - b[1], a[1] - b[0])),
    "*": (np.multiply, np.multiply, _product_bounds),
    "//": (_truncated, lambda a, b: np.trunc(_quotients(a, b)), _quotient_bounds),
    "%": (np.fmod, np.fmod, _remainder_bounds),
    "minus": (np.negative, np.negative, lambda a: (-a[1], -a[0])),
    "abs": (np.abs, np.abs, lambda a: (0 if a[0] <= 0 <= a[1] else min(map(abs, a)), _largest(a))),
}
"""On whole numbers, on doubles, and the bounds of the whole numbers that come of it."""

_COMPARISONS: Mapping[str, tuple[Callable[..., Column], Callable[..., Column]]] = {
    "=": (np.equal, np.not_equal),
    "<>": (np.not_equal, np.equal),
    "<": (np.less, np.greater_equal),
    "<=": (np.less_equal, np.greater),
    ">": (np.greater, np.less_equal),
    ">=": (np.greater_equal, np.less),
}
"""Where it is true, and where it is false."""

_RULES: Mapping[str, Callable[..., Expression]] = {
    **dict.fromkeys(("+", "-", "*", "minus", "abs"), _arithmetic),
    **dict.fromkeys(("//", "%"), _division),
    **dict.fromkeys(("ceil", "floor", "round"), _rounded),
    **dict.fromkeys(("min", "max", "avg"), _aggregate),
    **dict.fromkeys(_COMPARISONS, _comparison),
    "/": _quotient,
    "pow": _power,
    "sqrt": _root,
    "and": _and,
    "or": _or,
    "not": _not,
    "between": _between,
    "in": _in,
    "like": _like,
    "is null": _is_null,
    "is true": _is_true,
    "is false": _is_false,
    "nullif": _null_if,
}
