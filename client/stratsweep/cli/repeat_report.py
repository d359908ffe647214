"""What `--check-repeats` found, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stratsweep._formatting import format_figure, format_parameters
from stratsweep.repeats import RepeatCheck, RepeatDifference
from stratsweep.strategies import MetricUnit

_SHOWN_COMBINATIONS = 5
_SHOWN_METRICS = 2
_ADVICE = (
    "Does the strategy keep something in its module from one backtest to the next? See "
    '"Nothing is kept" in docs/strategies.md.'
)


def repeat_report(check: RepeatCheck, target: str) -> str:
    """Return which combinations gave something else, or that none did.

    Args:
        check: What came of running some again.
        target: The metric that is shown first.
    """
    count = f"{check.checked_count:,} combination{'s' if check.checked_count != 1 else ''}"
    if not check.differences:
        return f"{count} ran again, one by one and in another order: the same results"
    different = len(check.differences)
    lines = [_line(each, target) for each in check.differences[:_SHOWN_COMBINATIONS]]
    if different > _SHOWN_COMBINATIONS:
        lines.append(f"and {different - _SHOWN_COMBINATIONS:,} more")
    heading = f"{different:,} of {count} gave other results when run again, in another order:"
    return "\n  ".join([heading, *lines]) + f"\n{_ADVICE}"


def repeat_document(check: RepeatCheck) -> dict[str, object]:
    """Return it for JSON: of each metric that differs, both values."""
    return {
        "checked_count": check.checked_count,
        "differences": [
            {
                "combination_index": each.combination_index,
                "parameters": each.parameters,
                "metrics": {name: list(values) for name, values in each.metrics.items()},
                "message": each.message,
            }
            for each in check.differences
        ],
    }


def _line(difference: RepeatDifference, target: str) -> str:
    names = sorted(difference.metrics, key=lambda name: name != target)
    shown = [difference.message] if difference.message else list(_values(difference, names))
    if len(shown) > _SHOWN_METRICS:
        shown[_SHOWN_METRICS:] = [f"and {len(shown) - _SHOWN_METRICS} more"]
    return f"{format_parameters(difference.parameters) or 'defaults'}: {'; '.join(shown)}"


def _values(difference: RepeatDifference, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        first, again = difference.metrics[name]
        texts = _text(first), _text(again)
        if texts[0] == texts[1]:  # only more digits show it
            texts = repr(first), repr(again)
        yield f"{name} {texts[0]}, then {texts[1]}"


def _text(value: float | None) -> str:
    return "-" if value is None else format_figure(value, MetricUnit.UNSPECIFIED)
