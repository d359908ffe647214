"""Values of `--param` that are written as elsewhere, and how they are written here. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_WORDS = {"yes": "true", "on": "true", "no": "false", "off": "false"} | {
    word: word for word in ("true", "false")
}
_MOST_POINTS = 20
_CALL = re.compile(r"(?:np\.|numpy\.)?(range|arange|linspace)\((.*)\)")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})*,0\d\d(?:,\d{3})*")
_ANOTHER_PARAMETER = re.compile(r"[\s,;&][^\W\d]\w*\s*=")
_TO = r"\s*(?:-|–|—|→|\.{2,}|…|:|to)\s*"  # noqa: RUF001 - what people type
_STEP = r"\s*(?:-|–|—|\.{2,}|…|:|/|step|by)\s*"  # noqa: RUF001
_RANGE = re.compile(rf"({_NUMBER}){_TO}({_NUMBER})(?:{_STEP}({_NUMBER}))?")
_BETWEEN_VALUES = re.compile(r"\s*[,;|/]\s*|\s+")
_PAIRS = (("(", ")"), ("[", "]"), ("{", "}"))
_AROUND_VALUES = " \t=[](){}\"'"


def advise(name: str, text: str) -> str:
    """Return what to write for values that `--param` or the server did not take.

    Args:
        name: The parameter.
        text: What stands behind its `=`.
    """
    if _ANOTHER_PARAMETER.search(text):
        return "repeat --param for each parameter"
    corrected = correct(text)
    if corrected is not None:
        return f"write {name}={corrected}"
    return f"write {name}=start:stop:step, both ends included, or {name}=a,b,c"


def is_no_list(text: str) -> bool:
    """Whether the commas of a text are inside of brackets or of a number, and it is all numbers."""
    parts = text.split(",")
    is_torn = any(part.count(left) != part.count(right) for part in parts for left, right in _PAIRS)
    return (is_torn or _THOUSANDS.fullmatch(text) is not None) and correct(text) is not None


def correct(text: str) -> str | None:
    """Return values as `--param` takes them, if it is clear what was meant.

    Args:
        text: What stands behind the `=`, which `--param` does not take as numbers.
    """
    text = text.strip().lstrip("= ")
    attempts: tuple[Callable[[str], str | None], ...] = (_call, _thousands, _range, _list)
    if not _CALL.fullmatch(text):
        text = text.strip(_AROUND_VALUES)
    return next((found for attempt in attempts if (found := attempt(text)) is not None), None)


def _call(text: str) -> str | None:
    """`range(5, 20, 5)` and numpy's `arange` end before their stop, `linspace` has points."""
    match = _CALL.fullmatch(text)
    numbers = [] if match is None else [part.strip() for part in match[2].split(",")]
    if match is None or not all(re.fullmatch(_NUMBER, each) for each in numbers):
        return None
    values = [float(each) for each in numbers]
    if match[1] == "linspace":
        return _points(*values) if len(values) == 3 else None
    if not 1 <= len(values) <= 3:
        return None
    start, stop = (0.0, values[0]) if len(values) == 1 else values[:2]
    step = values[2] if len(values) == 3 else 1.0
    count = math.ceil((stop - start) / step - 1e-9) if step else 0
    if count < 1 or step < 0:
        return None
    return f"{start:.12g}:{start + (count - 1) * step:.12g}:{step:.12g}"


def _points(start: float, stop: float, count: float) -> str | None:
    if not (count.is_integer() and 2 <= count <= _MOST_POINTS and start < stop):
        return None
    step = (stop - start) / (count - 1)
    return ",".join(f"{start + number * step:.12g}" for number in range(int(count)))


def _thousands(text: str) -> str | None:
    """`10,000` would be the numbers 10 and 0."""
    return text.replace(",", "") if _THOUSANDS.fullmatch(text) else None


def _range(text: str) -> str | None:
    """`5-20`, `5..20`, `5 to 20 by 5`; a step that is missing is one of the last decimal."""
    match = _RANGE.fullmatch(text)
    if match is None or any(re.match(r"0\d", part or "") for part in match.groups()):
        return None  # the latter are dates and hours
    start, stop, step = match.groups()
    decimals = max(len(number.partition(".")[2]) for number in (start, stop))
    return f"{start}:{stop}:{step or f'{10**-decimals:.{decimals}f}'}"


def _list(text: str) -> str | None:
    """`5;10`, `5 10`, `5,10,`, `5%`, `1_000`, `yes,no`."""
    parts = [part.strip(_AROUND_VALUES) for part in _BETWEEN_VALUES.split(text)]
    parts = [part for part in parts if part]
    values = [_value(part) for part in parts]
    return ",".join(map(str, values)) if values and None not in values else None


def _value(part: str) -> str | None:
    if part.lower() in _WORDS:
        return _WORDS[part.lower()]
    number = part.replace("_", "")
    if re.fullmatch(_NUMBER, number):
        return number
    if number.endswith("%") and re.fullmatch(_NUMBER, number[:-1]):
        return f"{float(number[:-1]) / 100:.12g}"
    return None
