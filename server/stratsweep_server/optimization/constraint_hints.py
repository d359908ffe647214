# ruff: noqa: RUF001 - what people type is what it is about
"""Rewrite conditions that are written as in other languages into the notation used here. Pure.

It is looked at only where one was refused, so it never changes what one means.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from stratsweep_server.optimization.constraint_text import FUNCTIONS

Replacement: TypeAlias = str | Callable[[re.Match[str]], str]

_QUOTES = str.maketrans(dict.fromkeys("‘’‚′`“”„″«»", "'"))
_TEXT = re.compile(r"('(?:[^']|'')*')")
_NAME = re.compile(
    r"(?:(?P<prefix>(?<![\w.])[0-9][0-9.]*\s*|\b[^\W\d]\w*\.)|(?<![\w.\"]))"
    r"(?P<name>[^\W\d]\w*)(?![\w\"(])"
)
_OPERAND = r"(?:\w*\([^()]*\)|(?:[^\W\d]\w*|[0-9.]+)(?![\w.(]))"
_COMPARISON = re.compile(r"(<=|>=|<>|!=|==|=|<|>)")
_JUNCTION = re.compile(r"(\band\b|\bor\b)", re.IGNORECASE)
_WORD_OF_LOGIC = re.compile(r"\b(?:and|or|not)\b", re.IGNORECASE)
_ARITHMETIC = re.compile(r"[*/%+]|[\w)]\s*-")
_NEGATION = re.compile(r"\s*(?:not\b\s*)*", re.IGNORECASE)
_EXTREME = r"(?P<function>max|min)\((?P<a>[^(),]+),(?P<b>[^(),]+)\)"
_EXTREME_FIRST = re.compile(rf"{_EXTREME}\s*(?P<sign><=|>=|<|>)(?P<c>.+)", re.IGNORECASE)
_EXTREME_LAST = re.compile(rf"(?P<c>.+?)(?P<sign><=|>=|<|>)\s*{_EXTREME}\s*", re.IGNORECASE)
_TURNED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


@dataclass(frozen=True, slots=True)
class _Habit:
    """Describe a way to write something that is written otherwise here.

    Attributes:
        pattern: What is written, outside of texts.
        replacement: What is written here.
        name: What to call it; empty: as it was written.
    """

    pattern: re.Pattern[str]
    replacement: Replacement
    name: str = ""


def _habit(pattern: str, replacement: Replacement, name: str = "") -> _Habit:
    return _Habit(re.compile(pattern, re.IGNORECASE), replacement, name)


_DIGITS = r"(\d+(?:\.\d+)?)"
_NO_VALUE = r"(?!not\b|null\b|true\b|false\b|none\b)"


def _thousands(match: re.Match[str]) -> str:
    """Return `1,000` as 1000, unless the comma may be one of a list or between conditions."""
    before, after = match.string[: match.start()].rstrip(), match.string[match.end() :].lstrip()
    is_of_list = before.endswith((",", "(")) or after.startswith(")")
    is_between = before.endswith(("<", ">", "=")) and after.startswith(("<", ">", "=", "!"))
    return match[0] if is_of_list or is_between else match[1] + match[2]


_HABITS = (
    _habit(r"^\s*where\b", "", "WHERE"),
    _habit(r"^\s*lambda\s+\w+\s*:", "", "a lambda"),
    _habit(rf"\b[^\W\d]\w*\.(?=({'|'.join(FUNCTIONS)})\()", ""),
    _habit(r"\s*[;,]\s*$", "", "a separator at its end"),
    _habit(r"≤|⩽|=<", "<="),
    _habit(r"≥|⩾|=>", ">="),
    _habit(r"≠|!==", "!="),
    _habit(r"===|:=|＝", "="),
    _habit(r"×|∙|·|⋅", "*"),
    _habit(r"÷|∕", "/"),
    _habit(r"−|–|—", "-"),
    _habit(r"\s*(&&|∧|&)\s*", " AND "),
    _habit(r"\s*(\|\||∨|\|)\s*", " OR "),
    _habit(r"\s*;\s*", " AND "),
    _habit(r"(¬|~|!(?!=))\s*", "NOT "),
    _habit(r"\s*∉\s*", " NOT IN "),
    _habit(r"\s*∈\s*", " IN "),
    _habit(r"√\s*(?=\()", "sqrt"),
    _habit(rf"\bis\s+not\s+(?=[\w'])(?={_NO_VALUE})", "!= ", "IS NOT"),
    _habit(rf"\bis\s+(?=[\w'])(?={_NO_VALUE})", "= ", "IS"),
    _habit(r"\s*(?:!=|<>)\s*n(?:one|ull)\b", " IS NOT NULL"),
    _habit(r"\s*==?\s*n(?:one|ull)\b", " IS NULL"),
    _habit(r"\bnone\b", "NULL"),
    _habit(r"\bbetween\s*\(\s*([^(),]+?)\s*(?:,|\band\b)\s*([^(),]+?)\s*\)", r"BETWEEN \1 AND \2"),
    _habit(r"\bbetween\s+([\w.]+)\s*(?:,|\bto\b|\bor\b|-)\s*([\w.]+)", r"BETWEEN \1 AND \2"),
    _habit(
        rf"\bin\s*[\[{{]?\s*{_DIGITS}\s*-\s*{_DIGITS}(?![\w.,(])\s*[\]}}]?", r"BETWEEN \1 AND \2"
    ),
    _habit(r"\bin\s*[\[{]([^\[\]{}]*)[\]}]", r"IN (\1)", "brackets of another kind"),
    _habit(r"\bin\s+([^\s()][^()]*?)(?=\s*\band\b|\s*\bor\b|\s*$)", r"IN (\1)"),
    _habit(r"[\[{]([^\[\]{},]*)[\]}]", r"(\1)", "brackets of another kind"),
    _habit(rf"({_OPERAND})\s*(?:\*\*|\^)\s*(-?{_OPERAND})", r"pow(\1, \2)"),
    _habit(r"(?<![\w.(,])(\d{1,3}),(\d{3})(?![\w.,)])", _thousands),
    _habit(r"(?<![\w.])(\d[\d.]*)\s*%(?!\s*[\w(.+-])", lambda match: _share(match[1])),
    _habit(r"^\s*(?:and|or)\b\s*", "", "nothing before AND or OR"),
    _habit(r"(?:\s*\b(?:and|or|not))+\s*$", "", "nothing after AND or OR"),
)


def rewrite(text: str, names: Collection[str]) -> tuple[str, list[str]]:
    """Return a condition in the notation used here, and what was written otherwise.

    Whether it can be read then is for others to find out.

    Args:
        text: The condition, of bounded length.
        names: The names that it may have, as far as they are known.
    """
    rewriter = _Rewriter(text.strip(), names)
    rewriter.run()
    return rewriter.text.strip(), list(dict.fromkeys(rewriter.found))


class _Rewriter:
    """Take a text through all rewritings."""

    def __init__(self, text: str, names: Collection[str]) -> None:
        self.text = text
        self.found: list[str] = []
        self._names = names

    def run(self) -> None:
        self._apply("a parameter as an element", self._without_elements)
        self._apply("quotes of another kind", self._straight_quotes)
        for habit in _HABITS:
            self._replace(habit.pattern, habit.replacement, habit.name)
        self._replace(_NAME, self._known_name)
        self._apply("a comma between conditions", _joined)
        self._apply("max or min of two values", lambda text: _by_conditions(text, _with_both))
        self._apply("two comparisons in a row", lambda text: _by_conditions(text, _pairwise))
        self._apply("a parenthesis too many or too few", _balanced)

    def _apply(self, name: str, rewriting: Callable[[str], str]) -> None:
        rewritten = rewriting(self.text)
        if rewritten != self.text:
            self.text = rewritten
            self.found.append(name)

    def _replace(self, pattern: re.Pattern[str], replacement: Replacement, name: str = "") -> None:
        def replaced(match: re.Match[str]) -> str:
            new = match.expand(replacement) if isinstance(replacement, str) else replacement(match)
            if new != match[0]:
                self.found.append(name or f"`{match[0].strip()}`")
            return new

        self.text = "".join(
            part if part.startswith("'") else pattern.sub(replaced, part)
            for part in _TEXT.split(self.text)
        )

    def _without_elements(self, text: str) -> str:
        """`p["fast"]` is fast."""
        return re.sub(r"\b[^\W\d]\w*\[\s*([\"'])(\w+)\1\s*\]", r"\2", text)

    def _straight_quotes(self, text: str) -> str:
        """Replace double quotes, except those around a name."""
        return re.sub(
            r'"([^"]*)"',
            lambda match: match[0] if match[1] in self._names else f"'{match[1]}'",
            text.translate(_QUOTES),
        )

    def _known_name(self, match: re.Match[str]) -> str:
        """Return the name that is meant: other case, an attribute, behind a factor."""
        prefix, name = match["prefix"] or "", match["name"]
        same = [each for each in self._names if each.casefold() == name.casefold()]
        same = [name] if name in same else same
        if len(same) != 1:
            return match[0]
        if not prefix[:1].isdigit():
            return same[0]
        product = f"{prefix.strip()} * {same[0]}"
        is_divisor = match.string[: match.start()].rstrip().endswith(("/", "%"))
        return f"({product})" if is_divisor else product


def _share(percentage: str) -> str:
    try:
        return f"{float(percentage) / 100:.12g}"
    except ValueError:
        return f"{percentage}%"


def _characters(text: str) -> Iterator[str]:
    """Yield the characters of a text, its quoted parts as one each."""
    for part in _TEXT.split(text):
        yield from [part] if part.startswith("'") else part


def _joined(text: str) -> str:
    """Commas outside of parentheses become AND."""
    depth, parts = 0, []
    for character in _characters(text):
        depth += (character == "(") - (character == ")")
        parts.append(" AND" if character == "," and depth == 0 else character)
    return "".join(parts)


def _balanced(text: str) -> str:
    """Close what is open at the end, and leave out what closes nothing.

    Not in arithmetic, or where AND, OR and NOT meet: there it matters where a parenthesis stands.
    """
    depth, parts = 0, []
    words = {word.lower() for word in _WORD_OF_LOGIC.findall(text)}
    if len(words) > 1 or _ARITHMETIC.search(text):
        return text
    for character in _characters(text):
        if character == ")" and depth == 0:
            continue
        depth += (character == "(") - (character == ")")
        parts.append(character)
    return "".join(parts) + ")" * depth


def _by_conditions(text: str, rewriting: Callable[[str], str]) -> str:
    """Rewrite each part between AND and OR; in parentheses where it is not alone."""
    parts = _JUNCTION.split(text)
    for number in range(0, len(parts), 2):
        negation = _NEGATION.match(parts[number])
        start = negation.end() if negation else 0
        words, core = parts[number][:start], parts[number][start:].rstrip()
        rewritten = rewriting(core)
        if rewritten != core:
            is_alone = len(parts) == 1 and not words.strip()
            space = parts[number][start + len(core) :]
            parts[number] = words + (rewritten if is_alone else f"({rewritten})") + space
    return "".join(parts)


def _with_both(text: str) -> str:
    """`max(a, b) < c` is `a < c AND b < c`."""
    first, last = _EXTREME_FIRST.fullmatch(text), _EXTREME_LAST.fullmatch(text)
    match = first or last
    if match is None:
        return text
    sign = match["sign"] if first else _TURNED[match["sign"]]
    is_largest = match["function"].lower() == "max"
    junction = "AND" if is_largest == ("<" in sign) else "OR"
    a, b, c = (match[name].strip() for name in "abc")
    return f"{a} {sign} {c} {junction} {b} {sign} {c}"


def _pairwise(text: str) -> str:
    """`a < b < c` is `a < b AND b < c`."""
    parts = _COMPARISON.split(text)
    is_whole = all(part.count("(") == part.count(")") for part in parts[2:-1:2])
    if len(parts) < 5 or not is_whole:
        return text
    neighbours = pairwise(part.strip() for part in parts[::2])
    return " AND ".join(
        f"{left} {sign} {right}"
        for (left, right), sign in zip(neighbours, parts[1::2], strict=True)
    )
