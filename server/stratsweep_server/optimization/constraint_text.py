"""The words that a constraint may use, checked before polars sees the text.

polars' SQL can read files (`x IN (SELECT y FROM read_csv('/etc/passwd'))`), make texts of any size
(`lpad`), and takes the process down on expressions that are long or deep. What passes here is
rebuilt from a closed vocabulary: parameters, numbers, texts, operators, and the words below.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from stratsweep_server.market_data.errors import quoted

FUNCTIONS = ("abs", "avg", "ceil", "floor", "max", "min", "mod", "nullif", "pow", "round", "sqrt")
MAX_CHARACTERS = 500
"""Of one constraint. The time and the stack that polars needs grow faster than the text."""
MAX_DEPTH = 8
"""Parentheses within parentheses. polars' parser takes twice as long for each one more."""

_KEYWORDS = ("and", "or", "not", "in", "between", "is", "null", "true", "false", "like")
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
    """A constraint with something that is not allowed; the text says what, and what to do."""


def read_constraint(text: str, parameters: Collection[str]) -> str:
    """Return a constraint's text as SQL that can only be about the parameters.

    Args:
        text: Such as `fast < slow`.
        parameters: The names of the grid's parameters.

    Raises:
        ConstraintTextError: The text has something that is not allowed.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConstraintTextError(
            f"has {len(text):,} characters, {MAX_CHARACTERS} are allowed; "
            "write several constraints instead of one with AND"
        )
    tokens = [(match.lastgroup, match[0]) for match in _TOKEN.finditer(text)]
    if not tokens:
        raise ConstraintTextError("is empty; write it like `fast < slow`, or leave it out")
    followers = [follower for _, follower in tokens[1:]] + [""]
    words = [
        _word(kind, token, parameters, is_call=follower == "(")
        for (kind, token), follower in zip(tokens, followers, strict=True)
    ]
    _check_structure(tokens)
    # The spaces keep two signs from becoming the start of a comment.
    return f"({' '.join(words)})"


def _word(kind: str | None, token: str, parameters: Collection[str], *, is_call: bool) -> str:
    if kind == "other":
        raise ConstraintTextError(
            f"has {quoted(token)}, which means nothing here; there are the operators "
            "+ - * / // % = != < <= > >=, and AND, OR, NOT, IN, BETWEEN"
        )
    if kind != "name":
        return token
    if is_call and token.lower() in FUNCTIONS:
        return token
    name = token.strip('"')
    if name in parameters and not is_call:
        return f'"{name}"'
    if token.lower() in _KEYWORDS:
        return token
    if is_call:
        raise ConstraintTextError(f"calls {quoted(name)}; the functions are {', '.join(FUNCTIONS)}")
    hint = f"; a text is written {quoted(name)}" if token.startswith('"') else ""
    raise ConstraintTextError(
        f"names {quoted(name)}, which the grid does not have; "
        f"its parameters are {', '.join(parameters) or 'none'}; "
        f"one that has its default can be given as its only value{hint}"
    )


def _check_structure(tokens: Iterable[tuple[str | None, str]]) -> None:
    """Refuse deep nesting, and `5 < fast < 20`, which SQL reads as `(5 < fast) < 20`: all true."""
    has_compared = [False]  # at each depth of parentheses
    for kind, text in tokens:
        if kind == "comparison":
            if has_compared[-1]:
                raise ConstraintTextError("compares twice in a row; write `a < b AND b < c`")
            has_compared[-1] = True
        elif text == "(":
            if len(has_compared) > MAX_DEPTH:
                raise ConstraintTextError(f"has parentheses more than {MAX_DEPTH} deep")
            has_compared.append(False)
        elif text == ")":
            has_compared = has_compared[:-1] or [False]
        elif text == "," or text.lower() in _KEYWORDS:
            has_compared[-1] = False
