"""Parse constraints and requirements: from a text to a tree, of a closed vocabulary.

It is the part of SQL that a condition over parameters or metrics needs: their names, numbers,
texts, operators, and the words below. Nothing is evaluated.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

from stratsweep_server.backtest import ParameterValue
from stratsweep_server.optimization.condition_names import KEYWORDS, Names, unquoted
from stratsweep_server.optimization.limits import (
    MAX_CONSTRAINT_CHARACTERS,
    MAX_CONSTRAINT_DEPTH,
)
from stratsweep_server.texts import counted, quoted

FUNCTIONS = {
    "abs": (1, 1),
    "avg": (1, 1),
    "ceil": (1, 1),
    "floor": (1, 1),
    "max": (1, 1),
    "min": (1, 1),
    "mod": (2, 2),
    "nullif": (2, 2),
    "pow": (2, 2),
    "round": (1, 2),
    "sqrt": (1, 1),
}
"""How many arguments each takes, at least and at most."""

_AGGREGATES = ("avg", "max", "min")
_CONSTANTS = {"null": None, "true": True, "false": False}
_COMPARISONS = {"==": "=", "!=": "<>"} | {sign: sign for sign in ("=", "<>", "<", "<=", ">", ">=")}
_OF_THE_GRID = (
    "it is of one parameter in the whole grid; for that of two values write two conditions, such "
    "as `fast < slow AND 6 < slow` for `max(fast, 6) < slow`"
)
_INT64 = range(-(2**63), 2**63)
_TOKEN = re.compile(
    r"""(?P<number> (?:[0-9]+\.?[0-9]*|\.[0-9]+) (?:[eE][+-]?[0-9]+)? )
    | (?P<text> '(?:[^'\\]|'')*' )
    | (?P<name> [^\W\d]\w* | "[^"]+" )
    | (?P<comparison> <= | >= | <> | != | == | = | < | > )
    | (?P<symbol> // | [-+*/%(),] )
    | (?P<other> \S )""",
    re.VERBOSE,
)


class ConstraintTextError(ValueError):
    """Report a constraint that says something not allowed; the text says what, and what to do."""


@dataclass(frozen=True, slots=True)
class Literal:
    """Hold a value that the text names; None is NULL."""

    value: ParameterValue | None


@dataclass(frozen=True, slots=True)
class Name:
    """Name a parameter of the grid, or a metric."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """Apply an operator or a function to arguments.

    Attributes:
        function: A name of `FUNCTIONS`; an operator as SQL writes it (`<>`, `not`, `between`); or
            `is null`, `is true`, `is false`, and `minus`, the sign.
        arguments: In the order of the text.
    """

    function: str
    arguments: tuple[Node, ...]


Node: TypeAlias = Literal | Name | Call


def read_condition(text: str, names: Names) -> Node:
    """Return what a constraint or a requirement says, as a tree.

    Args:
        text: Such as `fast < slow`.
        names: What it may name.

    Raises:
        ConstraintTextError: The text is no condition, or has something that is not allowed.
    """
    if len(text) > MAX_CONSTRAINT_CHARACTERS:
        raise ConstraintTextError(
            f"has {len(text):,} characters, {MAX_CONSTRAINT_CHARACTERS} are allowed; "
            "write several conditions instead of one with AND"
        )
    tokens = [(match.lastgroup or "", match[0]) for match in _TOKEN.finditer(text)]
    if not tokens:
        raise ConstraintTextError(f"is empty; write it like `{names.example}`, or leave it out")
    return _Parser(tokens, names).condition()


class _Parser:
    """Read tokens from left to right, one method for each level of precedence."""

    def __init__(self, tokens: list[tuple[str, str]], names: Names) -> None:
        self._names = names
        followers = [follower for _, follower in tokens[1:]] + [""]
        self._tokens = [
            self._classified(kind, token, is_call=follower == "(")
            for (kind, token), follower in zip(tokens, followers, strict=True)
        ]
        self._place = 0
        self._depth = 0

    def condition(self) -> Node:
        tree = self._alternatives()
        if self._place < len(self._tokens):
            self._fail("an operator, such as < or AND,")
        return tree

    def _alternatives(self) -> Node:
        tree = self._conditions()
        while self._takes("or"):
            tree = Call("or", (tree, self._conditions()))
        return tree

    def _conditions(self) -> Node:
        tree = self._negation()
        while self._takes("and"):
            tree = Call("and", (tree, self._negation()))
        return tree

    def _negation(self) -> Node:
        is_negative = False
        while self._takes("not"):
            is_negative = not is_negative
        tree = self._predicate()
        return Call("not", (tree,)) if is_negative else tree

    def _predicate(self) -> Node:
        tree = self._comparison()
        while self._takes("is"):
            is_negative = self._takes("not")
            word = next((word for word in _CONSTANTS if self._takes(word)), None)
            if word is None:
                self._fail("NULL, TRUE or FALSE")
            tree = Call(f"is {word}", (tree,))
            tree = Call("not", (tree,)) if is_negative else tree
        return tree

    def _comparison(self) -> Node:
        left = self._sum()
        if self._next_kind() == "comparison":
            sign = _COMPARISONS[self._take()]
            tree: Node = Call(sign, (left, self._sum()))
            if self._next_kind() == "comparison":
                raise ConstraintTextError("compares twice in a row; write `a < b AND b < c`")
            return tree
        is_negative = self._takes("not")
        if self._takes("between"):
            low = self._sum()
            self._expect("and")
            tree = Call("between", (left, low, self._sum()))
        elif self._takes("in"):
            self._open()
            tree = Call("in", (left, *self._list()))
        elif self._takes("like"):
            tree = Call("like", (left, self._sum()))
        elif is_negative:
            self._fail("IN, BETWEEN or LIKE")
        else:
            return left
        return Call("not", (tree,)) if is_negative else tree

    def _sum(self) -> Node:
        tree = self._product()
        while sign := self._takes_any("+", "-"):
            tree = Call(sign, (tree, self._product()))
        return tree

    def _product(self) -> Node:
        tree = self._signed()
        while sign := self._takes_any("*", "/", "//", "%"):
            tree = Call(sign, (tree, self._signed()))
        return tree

    def _signed(self) -> Node:
        is_signed = is_negative = False
        while sign := self._takes_any("+", "-"):
            is_signed = True
            is_negative ^= sign == "-"
        if self._next_kind() == "number":
            return _number(self._take(), is_negative=is_negative)
        tree = self._operand()
        if not is_signed:
            return tree
        return Call("minus", (tree,)) if is_negative else Call("+", (Literal(0), tree))

    def _operand(self) -> Node:
        kind = self._next_kind()
        if kind == "text":
            return self._text()
        if kind == "variable":
            return Name(self._take())
        if kind == "function":
            return self._call(self._take())
        if kind == "word" and self._next_token() in _CONSTANTS:
            return Literal(_CONSTANTS[self._take()])
        if self._next_token() != "(":
            self._fail(self._names.operands)
        self._open()
        tree = self._alternatives()
        self._close()
        return tree

    def _text(self) -> Node:
        text = self._take()[1:-1].replace("''", "'")
        if not self._names.are_of_grid:
            raise ConstraintTextError(
                f"has the text {quoted(text)}; metrics are numbers, written without quotes"
            )
        return Literal(text)

    def _call(self, function: str) -> Node:
        if function in _AGGREGATES and not self._names.are_of_grid:
            raise ConstraintTextError(
                f"calls {function}, which is over all combinations; a requirement looks at each "
                "result alone, so compare with a number"
            )
        self._open()
        arguments = self._list()
        least, most = FUNCTIONS[function]
        if not least <= len(arguments) <= most:
            wanted = f"{least}" if least == most else f"{least} or {most}"
            hint = f"; {_OF_THE_GRID}" if function in ("max", "min") else ""
            raise ConstraintTextError(
                f"gives {function} {counted(len(arguments), 'argument')}, it takes {wanted}{hint}"
            )
        return Call("%" if function == "mod" else function, arguments)

    def _list(self) -> tuple[Node, ...]:
        """Read the rest of a list whose parenthesis is open."""
        items = [self._alternatives()]
        while self._takes(","):
            items.append(self._alternatives())
        self._close()
        return tuple(items)

    def _open(self) -> None:
        self._expect("(")
        self._depth += 1
        if self._depth > MAX_CONSTRAINT_DEPTH:
            raise ConstraintTextError(f"has parentheses more than {MAX_CONSTRAINT_DEPTH} deep")

    def _close(self) -> None:
        self._expect(")")
        self._depth -= 1

    def _next_kind(self) -> str:
        return self._tokens[self._place][0] if self._place < len(self._tokens) else "end"

    def _next_token(self) -> str:
        return self._tokens[self._place][1] if self._place < len(self._tokens) else ""

    def _take(self) -> str:
        self._place += 1
        return self._tokens[self._place - 1][1]

    def _takes(self, token: str) -> bool:
        """Take a word or a symbol if it is the next token."""
        is_next = self._next_kind() in ("word", "symbol") and self._next_token() == token
        self._place += is_next
        return is_next

    def _takes_any(self, *tokens: str) -> str:
        return next((token for token in tokens if self._takes(token)), "")

    def _expect(self, token: str) -> None:
        if not self._takes(token):
            self._fail(quoted(token.upper()))

    def _fail(self, wanted: str) -> NoReturn:
        found = f"has {quoted(self._next_token())}" if self._next_token() else "ends"
        raise ConstraintTextError(
            f"{found} where {wanted} should be; write it like `{self._names.long_example}`"
        )

    def _classified(self, kind: str, token: str, *, is_call: bool) -> tuple[str, str]:
        """Return a token's kind and text; a name comes before a word of the notation."""
        if kind == "other":
            raise ConstraintTextError(
                f"has {quoted(token)}, which means nothing here; there are the operators "
                "+ - * / // % = != < <= > >=, and AND, OR, NOT, IN, BETWEEN"
            )
        if kind != "name":
            return kind, token
        word = token.lower()
        if is_call and word in FUNCTIONS:
            return "function", word
        if self._names.has(token) and not is_call:
            return "variable", unquoted(token)
        if word in KEYWORDS:
            return "word", word
        if is_call:
            raise ConstraintTextError(
                f"calls {quoted(unquoted(token))}; the functions are {', '.join(FUNCTIONS)}"
            )
        raise ConstraintTextError(self._names.refusal(unquoted(token)))


def _number(token: str, *, is_negative: bool) -> Literal:
    sign = -1 if is_negative else 1
    if token.isdigit():
        whole = sign * int(token)
        if whole not in _INT64:
            raise ConstraintTextError(
                f"has {quoted(token)}, which does not fit in 64 bits; with a decimal point it is "
                "taken as a double"
            )
        return Literal(whole)
    fraction = sign * float(token)
    if not math.isfinite(fraction):
        raise ConstraintTextError(f"has {quoted(token)}, which is too large for a double")
    return Literal(fraction)
