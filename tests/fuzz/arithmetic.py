"""Constraints that Python, too, can read, and whether they hold by exact arithmetic. Pure."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import prod, trunc
from random import Random

from stratsweep.v1.optimization_config_pb2 import OptimizationConfig

from tests.fuzz.axes import values_of

_LARGEST_GRID = 2_000
_WHOLE = 2**63
"""Below it whole numbers are exact, where the bounds of the parameters show it."""
_SURE = 2**51
"""Below it they are exact as doubles, too."""
_ROUNDING = Fraction(1, 2**44)
"""What some roundings to doubles may change, as a fraction of the largest number on the way."""
_SIGNS = ("+", "-", "*", "/", "//", "%")
_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
_NUMBERS = (0, 1, 2, 3, 10**9, 2**31, 2**53, 2**53 + 1, 2**62, 2**63 - 1)


def _quotient(left: Fraction, right: Fraction) -> Fraction:
    return Fraction(trunc(left / right))


def _remainder(left: Fraction, right: Fraction) -> Fraction:
    return left - right * trunc(left / right)


_EXACT: Mapping[type, Callable] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}
_DIVIDING: Mapping[type, Callable] = {
    ast.Div: operator.truediv,
    ast.FloorDiv: _quotient,
    ast.Mod: _remainder,
}
_STEPPING = {ast.FloorDiv, ast.Mod}
_COMPARING: Mapping[type, Callable] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


class _UnreadableError(Exception):
    """Not of this kind."""


@dataclass(frozen=True, slots=True)
class _Number:
    """A value, with what it took to get there.

    Attributes:
        value: Exact; None where it is undefined.
        largest: The largest absolute value on the way.
        is_rounded: Whether doubles may differ from it, by a small part of the largest.
        is_unsure: Whether they may differ from it altogether.
    """

    value: Fraction | None
    largest: Fraction
    is_rounded: bool
    is_unsure: bool = False

    def may_be_zero(self) -> bool:
        """Whether a double of it may be zero, although it is not, or the other way round."""
        return self.is_rounded and abs(self.value or 0) <= _ROUNDING * self.largest


def arithmetic_text(generator: Random, names: Sequence[str]) -> str:
    """A comparison of sums, differences, products and quotients."""
    sides = (_expression(generator, names, generator.randint(0, 2)) for _ in range(2))
    return f" {generator.choice(_COMPARISONS)} ".join(sides)


def rejected_range(config: OptimizationConfig) -> range | None:
    """How many combinations the constraints may reject; None where that is not so easy to say.

    Numbers that int64 cannot hold may be compared as doubles, so that two of almost the same size
    may compare either way.
    """
    axes = {axis.name: values_of(axis) for axis in config.parameters}
    if prod(map(len, axes.values())) > _LARGEST_GRID:
        return None
    try:
        trees = [_read(text) for text in config.constraints]
        verdicts = [list(_verdicts(tree, axes)) for tree in trees]
    except (_UnreadableError, SyntaxError):
        return None
    together = list(zip(*verdicts, strict=True))
    surely = sum(any(each is False for each in row) for row in together)
    maybe = sum(any(each is not True for each in row) for row in together)
    return range(surely, maybe + 1)


def _expression(generator: Random, names: Sequence[str], depth: int) -> str:
    if depth:
        sides = (_expression(generator, names, depth - 1) for _ in range(2))
        return f"({f' {generator.choice(_SIGNS)} '.join(sides)})"
    if generator.random() < 0.6:
        return generator.choice(names)
    return str(generator.choice(_NUMBERS))


def _read(text: str) -> ast.Compare:
    tree = ast.parse(text, mode="eval").body
    if not isinstance(tree, ast.Compare) or len(tree.ops) != 1:
        raise _UnreadableError
    return tree


def _verdicts(tree: ast.Compare, axes: Mapping[str, Sequence]) -> Iterator[bool | None]:
    """True, False or either, for each combination."""
    sides = (tree.left, tree.comparators[0])
    is_whole = all(_bounds(side, axes)[2] < _WHOLE for side in sides)
    for values in product(*axes.values()):
        left, right = (_evaluate(side, dict(zip(axes, values, strict=True))) for side in sides)
        compared = _combined(ast.Sub, left, right)
        if compared.is_unsure:
            yield None
        elif compared.value is None:
            yield False
        elif is_whole or not compared.may_be_zero():
            yield _COMPARING[type(tree.ops[0])](left.value, right.value)
        else:
            yield None


def _evaluate(tree: ast.expr, values: Mapping[str, object]) -> _Number:
    if isinstance(tree, ast.BinOp):
        sides = _evaluate(tree.left, values), _evaluate(tree.right, values)
        return _combined(type(tree.op), *sides)
    number = Fraction(_leaf(tree, values))
    return _Number(number, abs(number), abs(number) >= _SURE)


def _combined(operation: type, left: _Number, right: _Number) -> _Number:
    is_rounded = left.is_rounded or right.is_rounded
    is_unsure = left.is_unsure or right.is_unsure
    is_unsure |= operation in _STEPPING and is_rounded
    is_unsure |= operation in _DIVIDING and right.may_be_zero()
    value, largest = None, max(left.largest, right.largest)
    is_defined = left.value is not None and right.value is not None
    if is_defined and (right.value or operation not in _DIVIDING):
        value = _operation(operation)(left.value, right.value)
        largest = max(largest, abs(value))
    is_rounded |= operation is ast.Div or largest >= _SURE
    return _Number(value, largest, is_rounded, is_unsure)


def _bounds(tree: ast.expr, axes: Mapping[str, Sequence]) -> tuple[int, int, int]:
    """The least and the largest value of sums and products, and the largest size on the way.

    Of what is divided nothing is said: it is taken for too large.
    """
    if not isinstance(tree, ast.BinOp):
        ends = [_leaf(tree, {name: end(axis) for name, axis in axes.items()}) for end in (min, max)]
        return ends[0], ends[1], max(map(abs, ends))
    left, right = _bounds(tree.left, axes), _bounds(tree.right, axes)
    if type(tree.op) not in _EXACT:
        return -_WHOLE, _WHOLE, _WHOLE
    corners = [_EXACT[type(tree.op)](one, other) for one in left[:2] for other in right[:2]]
    return min(corners), max(corners), max(left[2], right[2], *map(abs, corners))


def _leaf(tree: ast.expr, values: Mapping[str, object]) -> int:
    if isinstance(tree, ast.Name):
        value = values.get(tree.id)
    else:
        try:
            value = ast.literal_eval(tree)
        except ValueError:
            raise _UnreadableError from None
    if type(value) is not int:
        raise _UnreadableError
    return value


def _operation(operation: type) -> Callable:
    try:
        return (_EXACT | _DIVIDING)[operation]
    except KeyError:
        raise _UnreadableError from None
