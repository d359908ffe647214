"""Check a config against what the server can run, and report every violation at once.

What is larger than the limits is refused before anything is done for each of its parts.
"""

from __future__ import annotations

import difflib
import math
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import TypeVar

import numpy as np

from stratsweep_server.backtest import (
    EngineDescription,
    ParameterType,
    ParameterValue,
    Strategy,
    StrategyParameter,
)
from stratsweep_server.backtest.seeds import SEED_BITS
from stratsweep_server.backtest.settings import POSITIVE, SETTING_RULES, SettingRule
from stratsweep_server.execution.grid import ParameterAxis
from stratsweep_server.market_data.errors import UnknownTimezoneError
from stratsweep_server.market_data.timezones import check_timezone
from stratsweep_server.optimization.axes import (
    COUNTED_SIZE,
    combination_count,
    expand,
    last_value,
)
from stratsweep_server.optimization.background import checkpoint
from stratsweep_server.optimization.conditions import InvalidConditionError
from stratsweep_server.optimization.config import (
    DoubleRange,
    IntegerRange,
    OptimizationConfig,
    Parameter,
    ParameterValues,
)
from stratsweep_server.optimization.constraints import compiled, grid_parameters
from stratsweep_server.optimization.limits import (
    MAX_BACKTEST_TIMEOUT_SECONDS,
    MAX_CONSTRAINTS,
    MAX_NAME_CHARACTERS,
    MAX_PARAMETERS,
    MAX_REQUIREMENT_CHARACTERS,
    MAX_REQUIREMENTS,
    MAX_SYMBOLS,
    MAX_TEXT_CHARACTERS,
    MAX_VIOLATIONS,
)
from stratsweep_server.optimization.requirements import compiled_requirement
from stratsweep_server.texts import listed, quoted

_Value = TypeVar("_Value", bound=ParameterValue)
_LISTED_VALUES = 5
_SHORTEST_PART = 3
_INT64 = range(-(2**63), 2**63)
_NUMBERS = {ParameterType.INTEGER, ParameterType.DOUBLE}
_NUMBER_RULES = {
    "backtest_timeout": POSITIVE,
    **SETTING_RULES,
    "max_ranked_results": SettingRule(lambda value: value >= 0, "0 (all) or positive"),
    "warm_up_bar_count": SettingRule(lambda value: value >= 0, "0 (none) or positive"),
}


_TYPES_IN_WORDS = {
    ParameterType.INTEGER: "whole numbers",
    ParameterType.DOUBLE: "numbers",
    ParameterType.STRING: "texts",
    ParameterType.BOOL: "true and false",
}


class ViolationKind(Enum):
    """Name what sort of rule a field breaks."""

    INVALID = "invalid"
    UNKNOWN_STRATEGY = "unknown strategy"
    UNKNOWN_SYMBOL = "unknown symbol"


@dataclass(frozen=True, slots=True)
class Violation:
    """Describe one field that is wrong.

    Attributes:
        field: Its path in the config, such as `parameters[1].integer_range.step`.
        description: What is wrong and what to do.
        kind: What sort of rule it breaks.
    """

    field: str
    description: str
    kind: ViolationKind = ViolationKind.INVALID


class InvalidConfigError(ValueError):
    """Report a config that cannot run; `violations` has every reason."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(f"{each.field}: {each.description}" for each in violations))


def find_violations(
    config: OptimizationConfig, engine: EngineDescription, max_combinations: int
) -> list[Violation]:
    """Return the violations that can be found without reading market data or building the grid.

    All of them, up to `MAX_VIOLATIONS`.

    Args:
        config: What the caller wants.
        engine: What the engine declares; what it leaves open is not checked.
        max_combinations: The largest grid allowed, before constraints.
    """
    excess = find_excess(config.symbols, config.axes, config.constraints, config.requirements)
    found = iter(excess) if excess else _check(config, engine, max_combinations)
    return list(islice(found, MAX_VIOLATIONS))


def find_excess(
    symbols: Sized, parameters: Sized, constraints: Sized, requirements: Sized
) -> list[Violation]:
    """Return a violation for each kind of part of which a request has more than it may."""
    limits = (
        ("symbols", symbols, MAX_SYMBOLS),
        ("parameters", parameters, MAX_PARAMETERS),
        ("constraints", constraints, MAX_CONSTRAINTS),
        ("requirements", requirements, MAX_REQUIREMENTS),
    )
    return [
        Violation(field, f"are {len(parts):,}; {limit:,} are allowed")
        for field, parts, limit in limits
        if len(parts) > limit
    ]


def find_requirement_excess(requirements: Sequence[str]) -> list[Violation]:
    """Return a violation where there are more requirements, or characters in all, than allowed."""
    excess = find_excess((), (), (), requirements)
    size = sum(map(len, requirements))
    if excess or size <= MAX_REQUIREMENT_CHARACTERS:
        return excess
    reason = f"have {size:,} characters together; {MAX_REQUIREMENT_CHARACTERS:,} are allowed"
    return [Violation("requirements", reason)]


def _check(
    config: OptimizationConfig, engine: EngineDescription, max_combinations: int
) -> Iterator[Violation]:
    yield from _check_strategy(config, engine)
    yield from _check_symbols(config, engine)
    yield from _check_dates(config)
    sound: list[tuple[str, ParameterValues]] = []
    yield from _check_parameters(config, engine, max_combinations, sound)
    if len(sound) == len(config.axes):
        yield from _check_size([values for _, values in sound], max_combinations)
        yield from _check_constraints(config, engine, dict(sound))
    yield from _check_requirements(config, engine)
    yield from _check_target(config, engine)
    yield from _check_numbers(config)


def _check_strategy(config: OptimizationConfig, engine: EngineDescription) -> Iterator[Violation]:
    if not config.strategy:
        yield Violation("strategy", "is required; ListStrategies names the strategies")
    elif engine.strategies and _declared(config, engine) is None:
        names = [strategy.name for strategy in engine.strategies]
        yield Violation(
            "strategy",
            f"{quoted(config.strategy)} is not registered; {_suggest(config.strategy, names)}",
            ViolationKind.UNKNOWN_STRATEGY,
        )
    else:
        yield from _check_name("strategy", config.strategy)


def _check_symbols(config: OptimizationConfig, engine: EngineDescription) -> Iterator[Violation]:
    if not config.symbols:
        yield Violation("symbols", "name at least one symbol")
    for number, symbol in enumerate(config.symbols):
        if not symbol:
            yield Violation(f"symbols[{number}]", "is empty")
        elif not engine.uses_market_data:  # else the data directory judges it
            yield from _check_name(f"symbols[{number}]", symbol)
    for symbol in _repeated(config.symbols):
        yield Violation("symbols", f"{quoted(symbol)} is named more than once")


def ends_before_it_starts(config: OptimizationConfig) -> bool:
    """Return whether the dates of a config are the wrong way round."""
    start, end = config.start_date, config.end_date
    return start is not None and end is not None and end < start


def _check_dates(config: OptimizationConfig) -> Iterator[Violation]:
    if config.timezone:
        try:
            check_timezone(config.timezone)
        except UnknownTimezoneError as error:
            yield Violation("timezone", str(error))
    if ends_before_it_starts(config):
        yield Violation(
            "date_range",
            f"ends on {config.end_date}, before it starts on {config.start_date}; swap the two",
        )


def _check_parameters(
    config: OptimizationConfig,
    engine: EngineDescription,
    max_combinations: int,
    sound: list[tuple[str, ParameterValues]],
) -> Iterator[Violation]:
    """Check the axes, one by one; those with values that can be one are put into `sound`."""
    strategy = _declared(config, engine)
    axes = config.axes
    for name in _repeated([axis.name for axis in axes]):
        yield Violation("parameters", f"{quoted(name)} is named more than once; join its values")
    for number, axis in enumerate(axes):
        checkpoint()
        path = f"parameters[{number}]"
        yield from _check_axis_name(path, axis, strategy)
        # None stands for values that could not be read, which has been reported.
        if axis.values is not None:
            shape = list(_check_values(path, axis.values, max_combinations))
            yield from shape
            if not shape:
                sound.append((axis.name, axis.values))
                yield from _check_fit(path, axis, strategy)
    if strategy is not None:
        given = {axis.name for axis in axes}
        for parameter in strategy.parameters:
            if parameter.default is None and parameter.name not in given:
                yield Violation(
                    "parameters", f"{strategy.name} needs {parameter.name!r}, which has no default"
                )


def _check_axis_name(path: str, axis: Parameter, strategy: Strategy | None) -> Iterator[Violation]:
    if not axis.name:
        yield Violation(f"{path}.name", "is required")
        return
    yield from _check_name(f"{path}.name", axis.name)
    if strategy is not None:
        declared = [parameter.name for parameter in strategy.parameters]
        if axis.name not in declared:
            hint = _suggest(axis.name, declared) if declared else "it has none"
            reason = f"{strategy.name} has no parameter {quoted(axis.name)}; {hint}"
            yield Violation(f"{path}.name", reason)


def _check_name(path: str, name: str) -> Iterator[Violation]:
    if len(name) > MAX_NAME_CHARACTERS:
        reason = f"has {len(name):,} characters; {MAX_NAME_CHARACTERS} are allowed"
        yield Violation(path, f"{quoted(name)} {reason}")
    if "\0" in name:
        yield Violation(path, f"{quoted(name)} has a NUL character; leave it out")


def _check_values(path: str, values: ParameterValues, max_combinations: int) -> Iterator[Violation]:
    """Check the values by themselves: a range that can be walked, a list without surprises."""
    if isinstance(values, IntegerRange):
        yield from _check_integer_range(f"{path}.integer_range", values)
    elif isinstance(values, DoubleRange):
        yield from _check_double_range(f"{path}.double_range", values)
    elif isinstance(values, str) or not isinstance(values, Sequence):
        yield Violation(path, f"is {quoted(values)}; give a range, or a list of values")
    elif not values:
        yield Violation(path, "has no values; name at least one")
    elif len(values) > max_combinations:
        yield Violation(
            path, f"has {len(values):,} values, the server takes grids of {max_combinations:,}"
        )
    else:
        yield from _check_list(path, values)


def _check_list(path: str, values: Sequence[ParameterValue]) -> Iterator[Violation]:
    kinds = _types_of(values)
    if None in kinds or (len(kinds) > 1 and not kinds <= _NUMBERS):
        yield Violation(path, "mixes types; use numbers, texts or bools only")
        return
    if ParameterType.STRING in kinds:
        yield from _check_texts(path, [str(value) for value in values])
    elif kinds <= _NUMBERS:
        yield from _check_list_of_numbers(path, values)
    repeated = _repeated(values)
    if repeated:
        yield Violation(path, f"has {_listing(repeated)} more than once")


def _check_list_of_numbers(path: str, values: Sequence[ParameterValue]) -> Iterator[Violation]:
    if isinstance(values, array):  # of 64 bits each
        are_finite = bool(np.isfinite(values).all())
    else:
        are_finite = all(math.isfinite(value) for value in values if isinstance(value, float))
        if any(type(value) is int and value not in _INT64 for value in values):
            yield Violation(path, "has a number that does not fit in 64 bits")
    if not are_finite:
        yield Violation(path, "has a value that is not finite")


def _check_texts(path: str, values: Sequence[str]) -> Iterator[Violation]:
    longest = max(values, key=len)
    if len(longest) > MAX_TEXT_CHARACTERS:
        reason = f"of {len(longest):,} characters; {MAX_TEXT_CHARACTERS:,} are allowed"
        yield Violation(path, f"has {quoted(longest)}, a text {reason}")
    with_nul = next((value for value in values if "\0" in value), None)
    if with_nul is not None:
        yield Violation(path, f"has {quoted(with_nul)}, a text with a NUL character; leave it out")


def _check_integer_range(path: str, values: IntegerRange) -> Iterator[Violation]:
    ends = (("start", values.start), ("stop", values.stop), ("step", values.step))
    too_wide = [name for name, value in ends if value not in _INT64]
    if too_wide:
        yield from (Violation(f"{path}.{name}", "does not fit in 64 bits") for name in too_wide)
        return
    if values.step <= 0:
        yield Violation(f"{path}.step", f"is {values.step}; make it positive")
    if values.stop < values.start:
        yield Violation(
            f"{path}.stop", f"is {values.stop}, below start {values.start}; swap the two"
        )


def _check_double_range(path: str, values: DoubleRange) -> Iterator[Violation]:
    if not (math.isfinite(values.start) and math.isfinite(values.stop)):
        yield Violation(path, "has an end that is not finite")
        return
    if values.stop < values.start:
        yield Violation(
            f"{path}.stop",
            f"is {_shown(values.stop)}, below start {_shown(values.start)}; swap the two",
        )
    if (values.step is None) == (values.point_count is None):
        yield Violation(path, "needs either a step or a point count")
    elif values.step is not None and not (math.isfinite(values.step) and values.step > 0):
        yield Violation(f"{path}.step", f"is {_shown(values.step)}; make it positive and finite")
    elif values.point_count is not None:
        if values.point_count < 2 and values.start != values.stop:
            yield Violation(f"{path}.point_count", f"is {values.point_count}; make it at least 2")
        if values.point_count != 1 and values.start == values.stop:
            yield Violation(
                f"{path}.point_count",
                f"is {values.point_count}, but start equals stop; make it 1 or move one of them",
            )


def _check_fit(path: str, axis: Parameter, strategy: Strategy | None) -> Iterator[Violation]:
    """Check the values against the strategy's declaration: type, bounds, choices."""
    parameters = strategy.parameters if strategy is not None else ()
    declared = next((each for each in parameters if each.name == axis.name), None)
    if declared is not None and axis.values is not None:
        yield from _check_against(path, axis.values, declared)


def _check_against(
    path: str, values: ParameterValues, declared: StrategyParameter
) -> Iterator[Violation]:
    given = _given_type(values)
    allowed = {declared.type}
    if declared.type is ParameterType.DOUBLE:
        allowed.add(ParameterType.INTEGER)
    if given not in allowed:
        wanted = _TYPES_IN_WORDS[declared.type]
        if given is ParameterType.DOUBLE and declared.type is ParameterType.INTEGER:
            wanted += ", written without a decimal point"
        yield Violation(path, f"gives {_described(values)}, but {declared.name!r} takes {wanted}")
        return
    if declared.type in (ParameterType.INTEGER, ParameterType.DOUBLE):
        low, high = _extremes(values)
        if declared.minimum is not None and low < declared.minimum:
            yield Violation(
                path, f"has {_shown(low)}, below the minimum {_shown(declared.minimum)}"
            )
        if declared.maximum is not None and high > declared.maximum:
            yield Violation(
                path, f"has {_shown(high)}, above the maximum {_shown(declared.maximum)}"
            )
    elif declared.choices and not isinstance(values, IntegerRange | DoubleRange):
        choices = set(declared.choices)
        others = [value for value in values if value not in choices]
        if others:
            known = listed(declared.choices)
            yield Violation(path, f"has {_listing(others)}; the choices are {known}")


def _check_size(axes: Sequence[ParameterValues], max_combinations: int) -> Iterator[Violation]:
    size = combination_count(axes)
    if size > max_combinations:
        shown = f"{size:,}" if size < COUNTED_SIZE else "more than 10^30"
        yield Violation(
            "parameters",
            f"the grid has {shown} combinations before constraints, the server takes "
            f"{max_combinations:,}; use larger steps or fewer values",
        )


def _check_constraints(
    config: OptimizationConfig, engine: EngineDescription, axes: Mapping[str, ParameterValues]
) -> Iterator[Violation]:
    if not config.constraints:
        return
    parameters, metrics = grid_parameters(axes), _metric_names(engine)
    for number, text in enumerate(config.constraints):
        checkpoint()
        try:
            compiled(text, parameters, metrics)
        except InvalidConditionError as error:
            yield Violation(f"constraints[{number}]", str(error))


def _check_requirements(
    config: OptimizationConfig, engine: EngineDescription
) -> Iterator[Violation]:
    excess = find_requirement_excess(config.requirements)
    if excess:
        yield from excess
        return
    strategy = _declared(config, engine)
    parameters = {axis.name for axis in config.axes}
    parameters.update(each.name for each in (strategy.parameters if strategy is not None else ()))
    for number, text in enumerate(config.requirements):
        checkpoint()
        try:
            compiled_requirement(text, _metric_names(engine), parameters)
        except InvalidConditionError as error:
            yield Violation(f"requirements[{number}]", str(error))


def _check_target(config: OptimizationConfig, engine: EngineDescription) -> Iterator[Violation]:
    names = _metric_names(engine)
    target = config.optimization_target
    if not target:
        yield Violation("optimization_target", "is empty; name the metric to rank by")
    elif names and target not in names:
        reason = f"{quoted(target)} is no metric; {_suggest(target, names)}"
        yield Violation("optimization_target", reason)
    else:
        yield from _check_name("optimization_target", target)


def _check_numbers(config: OptimizationConfig) -> Iterator[Violation]:
    for name, rule in _NUMBER_RULES.items():
        value = _as_double(getattr(config, name))
        if not (math.isfinite(value) and rule.holds(value)):
            yield Violation(name, f"is {value:g}; make it {rule.wanted}")
    if MAX_BACKTEST_TIMEOUT_SECONDS < config.backtest_timeout < math.inf:
        years = f"{MAX_BACKTEST_TIMEOUT_SECONDS:,.0f} s, ten thousand years"
        yield Violation("backtest_timeout", f"is {config.backtest_timeout:g}; at most {years}")
    if not isinstance(config.seed, int) or not 0 <= config.seed < 2**SEED_BITS:
        yield Violation("seed", f"must be a whole number from 0 to 2^{SEED_BITS} - 1")


def expand_axes(config: OptimizationConfig) -> tuple[ParameterAxis, ...]:
    """Return the grid's axes of a config without parameter violations."""
    return tuple(
        ParameterAxis(axis.name, expand(axis.values))
        for axis in config.axes
        if axis.values is not None
    )


def unnamed_defaults(
    config: OptimizationConfig, engine: EngineDescription
) -> dict[str, ParameterValue]:
    """Return the declared default of each parameter that the grid does not name."""
    strategy, named = _declared(config, engine), {axis.name for axis in config.axes}
    return {
        parameter.name: parameter.default
        for parameter in (strategy.parameters if strategy is not None else ())
        if parameter.default is not None and parameter.name not in named
    }


def _metric_names(engine: EngineDescription) -> list[str]:
    return [metric.name for metric in engine.metrics]


def _declared(config: OptimizationConfig, engine: EngineDescription) -> Strategy | None:
    return next((each for each in engine.strategies if each.name == config.strategy), None)


def _given_type(values: ParameterValues) -> ParameterType:
    if isinstance(values, IntegerRange):
        return ParameterType.INTEGER
    if isinstance(values, DoubleRange):
        return ParameterType.DOUBLE
    kinds = _types_of(values)
    if kinds == _NUMBERS:
        return ParameterType.DOUBLE
    return kinds.pop() or ParameterType.STRING


def _types_of(values: Sequence[ParameterValue]) -> set[ParameterType | None]:
    """Return the types of a list's values; None stands for those that no parameter has."""
    types = {
        bool: ParameterType.BOOL,
        int: ParameterType.INTEGER,
        float: ParameterType.DOUBLE,
        str: ParameterType.STRING,
    }
    sample = values[:1] if isinstance(values, array) else values
    return {types.get(kind) for kind in {type(value) for value in sample}}


def _as_double(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # a whole number of more than 308 digits
        return math.inf if number > 0 else -math.inf


def _extremes(values: ParameterValues) -> tuple[float, float]:
    if isinstance(values, IntegerRange | DoubleRange):
        return values.start, last_value(values)
    if isinstance(values, array):
        return np.min(values).item(), np.max(values).item()
    numbers = [value for value in values if isinstance(value, int | float)]
    return min(numbers), max(numbers)


def _repeated(values: Iterable[_Value]) -> list[_Value]:
    """Return what comes more than once, each once; pauses so that other threads get turns."""
    if isinstance(values, array):
        ordered = np.sort(values)
        if not (ordered[1:] == ordered[:-1]).any():
            return []
    counts: dict[_Value, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return [value for value, count in counts.items() if count > 1]


def _listing(values: Sequence[ParameterValue]) -> str:
    shown = ", ".join(
        quoted(value) if isinstance(value, str) else str(value) for value in values[:_LISTED_VALUES]
    )
    left_out = len(values) - _LISTED_VALUES
    return f"{shown} ({left_out:,} not shown)" if left_out > 0 else shown


def _described(values: ParameterValues) -> str:
    """Describe what was given for a parameter, for somebody who meant something else."""
    if isinstance(values, IntegerRange):
        return "a range of whole numbers"
    if isinstance(values, DoubleRange):
        return "a range of numbers that may have decimals"
    listing = _listing(values)
    if isinstance(values[0], str):
        return f"{'the text' if len(values) == 1 else 'the texts'} {listing}"
    return listing.lower() if isinstance(values[0], bool) else listing


def _shown(number: float) -> str:
    """Return a number in full, since two that differ must not look alike."""
    return str(number).removesuffix(".0")


def _suggest(wrong: str, names: Collection[str]) -> str:
    # Where it is much longer than each name, the comparison would take long and find nothing.
    folded = {name.casefold(): name for name in names}
    wrong = wrong[:MAX_NAME_CHARACTERS].casefold()
    near = difflib.get_close_matches(wrong, folded, n=1)
    if not near and len(wrong) >= _SHORTEST_PART:
        near = [name for name in folded if wrong in name]
    if near:
        return f"did you mean {quoted(folded[near[0]])}?"
    return f"there are {listed(names)}"
