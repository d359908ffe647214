"""Checks a config against what the server can run, and reports every violation at once."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from stratsweep_server.backtest import (
    EngineDescription,
    ParameterType,
    ParameterValue,
    Strategy,
    StrategyParameter,
)
from stratsweep_server.backtest.seeds import SEED_BITS
from stratsweep_server.execution.plan import ParameterAxis
from stratsweep_server.optimization.config import (
    DoubleRange,
    IntegerRange,
    OptimizationConfig,
    Parameter,
    ParameterValues,
)
from stratsweep_server.optimization.constraints import InvalidConstraintError, check_constraint
from stratsweep_server.optimization.grid import expand, grid_size, last_value

DEFAULT_MAX_COMBINATIONS = 1_000_000
MAX_SYMBOLS = 1_000

_Value = TypeVar("_Value", bound=ParameterValue)
_MAX_CONSTRAINTS = 100
_LISTED_VALUES = 5
_INT64 = range(-(2**63), 2**63)
_NUMBERS = {ParameterType.INTEGER, ParameterType.DOUBLE}


class ViolationKind(Enum):
    """What sort of rule a field breaks."""

    INVALID = "invalid"
    UNKNOWN_STRATEGY = "unknown strategy"
    UNKNOWN_SYMBOL = "unknown symbol"


@dataclass(frozen=True, slots=True)
class Violation:
    """One field that is wrong.

    Attributes:
        field: Its path in the config, such as `parameters[1].integer_range.step`.
        description: What is wrong and what to do.
        kind: What sort of rule it breaks.
    """

    field: str
    description: str
    kind: ViolationKind = ViolationKind.INVALID


class InvalidConfigError(ValueError):
    """A config that cannot run; `violations` has every reason."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(f"{each.field}: {each.description}" for each in violations))


def find_violations(
    config: OptimizationConfig, engine: EngineDescription, max_combinations: int
) -> list[Violation]:
    """Every violation that can be found without reading market data or building the grid.

    Args:
        config: What the caller wants.
        engine: What the engine declares; what it leaves open is not checked.
        max_combinations: The largest grid allowed, before constraints.
    """
    violations = [*_check_strategy(config, engine), *_check_symbols(config)]
    violations += _check_dates(config)
    violations += _check_parameters(config, engine)
    if all(axis.values is not None and _is_sound(axis.values) for axis in config.axes):
        violations += _check_size(config, max_combinations)
        violations += _check_constraints(config)
    violations += _check_target(config, engine)
    violations += _check_numbers(config)
    return violations


def _check_strategy(config: OptimizationConfig, engine: EngineDescription) -> Iterator[Violation]:
    if not config.strategy:
        yield Violation("strategy", "is required; ListStrategies names the strategies")
    elif engine.strategies and _declared(config, engine) is None:
        names = [strategy.name for strategy in engine.strategies]
        yield Violation(
            "strategy",
            f"{config.strategy!r} is not registered; {_suggest(config.strategy, names)}",
            ViolationKind.UNKNOWN_STRATEGY,
        )


def _check_symbols(config: OptimizationConfig) -> Iterator[Violation]:
    if not config.symbols:
        yield Violation("symbols", "name at least one symbol")
    if len(config.symbols) > MAX_SYMBOLS:
        yield Violation("symbols", f"has {len(config.symbols):,} symbols; name {MAX_SYMBOLS:,}")
        return
    for number, symbol in enumerate(config.symbols):
        if not symbol:
            yield Violation(f"symbols[{number}]", "is empty")
    for symbol in _repeated(config.symbols):
        yield Violation("symbols", f"{symbol!r} is named more than once")


def _check_dates(config: OptimizationConfig) -> Iterator[Violation]:
    if config.start_date and config.end_date and config.end_date < config.start_date:
        yield Violation(
            "date_range", f"ends on {config.end_date}, before it starts on {config.start_date}"
        )


def _check_parameters(config: OptimizationConfig, engine: EngineDescription) -> Iterator[Violation]:
    strategy = _declared(config, engine)
    axes = config.axes
    for name in _repeated([axis.name for axis in axes]):
        yield Violation("parameters", f"{name!r} is named more than once; join its values")
    for number, axis in enumerate(axes):
        yield from _check_axis(f"parameters[{number}]", axis, strategy)
    if strategy is not None:
        given = {axis.name for axis in axes}
        for parameter in strategy.parameters:
            if parameter.default is None and parameter.name not in given:
                yield Violation(
                    "parameters", f"{strategy.name} needs {parameter.name!r}, which has no default"
                )


def _check_axis(path: str, axis: Parameter, strategy: Strategy | None) -> Iterator[Violation]:
    if not axis.name:
        yield Violation(f"{path}.name", "is required")
    # The reader has reported values that it could not read.
    shape = [] if axis.values is None else list(_check_values(path, axis.values))
    yield from shape
    if strategy is None or not axis.name:
        return
    declared = {parameter.name: parameter for parameter in strategy.parameters}
    if axis.name not in declared:
        hint = _suggest(axis.name, list(declared)) if declared else "it has none"
        yield Violation(f"{path}.name", f"{strategy.name} has no parameter {axis.name!r}; {hint}")
    elif axis.values is not None and not shape:
        yield from _check_fit(path, axis.values, declared[axis.name])


def _check_values(path: str, values: ParameterValues) -> Iterator[Violation]:
    """The values by themselves: a range that can be walked, a list without surprises."""
    if isinstance(values, IntegerRange):
        yield from _check_integer_range(f"{path}.integer_range", values)
    elif isinstance(values, DoubleRange):
        yield from _check_double_range(f"{path}.double_range", values)
    elif isinstance(values, str) or not isinstance(values, Sequence):
        yield Violation(path, f"is {values!r}; give a range, or a list of values")
    elif not values:
        yield Violation(path, "has no values; name at least one")
    else:
        kinds = {_type_of(value) for value in values}
        if None in kinds or (len(kinds) > 1 and not kinds <= _NUMBERS):
            yield Violation(path, "mixes types; use numbers, texts or bools only")
        elif any(isinstance(value, float) and not math.isfinite(value) for value in values):
            yield Violation(path, "has a value that is not finite")
        elif any(type(value) is int and value not in _INT64 for value in values):
            yield Violation(path, "has a number that does not fit in 64 bits")
        repeated = _repeated(values)
        if repeated:
            yield Violation(path, f"has {_listing(repeated)} more than once")


def _is_sound(values: ParameterValues) -> bool:
    return not any(_check_values("", values))


def _check_integer_range(path: str, values: IntegerRange) -> Iterator[Violation]:
    for name, value in (("start", values.start), ("stop", values.stop), ("step", values.step)):
        if value not in _INT64:
            yield Violation(f"{path}.{name}", "does not fit in 64 bits")
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


def _check_fit(
    path: str, values: ParameterValues, declared: StrategyParameter
) -> Iterator[Violation]:
    """The values against the strategy's declaration: type, bounds, choices."""
    given = _given_type(values)
    allowed = {declared.type}
    if declared.type is ParameterType.DOUBLE:
        allowed.add(ParameterType.INTEGER)
    if given not in allowed:
        yield Violation(
            path, f"gives {given.value} values, but {declared.name!r} takes {declared.type.value}"
        )
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
        others = [value for value in values if value not in declared.choices]
        if others:
            choices = ", ".join(declared.choices)
            yield Violation(path, f"has {_listing(others)}; the choices are {choices}")


def _check_size(config: OptimizationConfig, max_combinations: int) -> Iterator[Violation]:
    size = grid_size([axis.values for axis in config.axes if axis.values is not None])
    if size > max_combinations:
        # Python refuses to write out integers of more than 4,300 digits.
        shown = f"{size:,}" if size < 10**30 else "more than 10^30"
        yield Violation(
            "parameters",
            f"the grid has {shown} combinations before constraints, the server takes "
            f"{max_combinations:,}; use larger steps or fewer values",
        )


def _check_constraints(config: OptimizationConfig) -> Iterator[Violation]:
    if len(config.constraints) > _MAX_CONSTRAINTS:
        count = len(config.constraints)
        yield Violation("constraints", f"are {count:,}; {_MAX_CONSTRAINTS} are allowed")
        return
    sample = {axis.name: _first(axis.values) for axis in config.axes if axis.values is not None}
    for number, text in enumerate(config.constraints):
        try:
            check_constraint(text, sample)
        except InvalidConstraintError as error:
            yield Violation(f"constraints[{number}]", str(error))


def _check_target(config: OptimizationConfig, engine: EngineDescription) -> Iterator[Violation]:
    names = [metric.name for metric in engine.metrics]
    if not config.optimization_target:
        yield Violation("optimization_target", "is empty; name the metric to rank by")
    elif names and config.optimization_target not in names:
        yield Violation(
            "optimization_target",
            f"{config.optimization_target!r} is no metric; "
            f"{_suggest(config.optimization_target, names)}",
        )


def _check_numbers(config: OptimizationConfig) -> Iterator[Violation]:
    rules: tuple[tuple[str, Callable[[float], bool], str], ...] = (
        ("backtest_timeout", lambda value: value > 0, "positive"),
        ("starting_cash", lambda value: value > 0, "positive"),
        ("commission", lambda value: 0 <= value < 1, "a fraction from 0 up to, not including, 1"),
        ("slippage", lambda value: 0 <= value < 1, "a fraction from 0 up to, not including, 1"),
        ("max_ranked_results", lambda value: value >= 0, "0 (all) or positive"),
        ("warm_up_bar_count", lambda value: value >= 0, "0 (none) or positive"),
    )
    for name, is_valid, wanted in rules:
        value = getattr(config, name)
        if not (math.isfinite(value) and is_valid(value)):
            yield Violation(name, f"is {value:g}; make it {wanted}")
    if not isinstance(config.seed, int) or not 0 <= config.seed < 2**SEED_BITS:
        yield Violation("seed", f"must be a whole number from 0 to 2^{SEED_BITS} - 1")


def expand_axes(config: OptimizationConfig) -> tuple[ParameterAxis, ...]:
    """The grid's axes of a config without parameter violations."""
    return tuple(
        ParameterAxis(axis.name, expand(axis.values))
        for axis in config.axes
        if axis.values is not None
    )


def unnamed_defaults(
    config: OptimizationConfig, engine: EngineDescription
) -> dict[str, ParameterValue]:
    """The declared default of each parameter that the grid does not name."""
    strategy, named = _declared(config, engine), {axis.name for axis in config.axes}
    return {
        parameter.name: parameter.default
        for parameter in (strategy.parameters if strategy is not None else ())
        if parameter.default is not None and parameter.name not in named
    }


def _declared(config: OptimizationConfig, engine: EngineDescription) -> Strategy | None:
    return next((each for each in engine.strategies if each.name == config.strategy), None)


def _given_type(values: ParameterValues) -> ParameterType:
    if isinstance(values, IntegerRange):
        return ParameterType.INTEGER
    if isinstance(values, DoubleRange):
        return ParameterType.DOUBLE
    kinds = {_type_of(value) for value in values}
    if kinds == _NUMBERS:
        return ParameterType.DOUBLE
    return kinds.pop() or ParameterType.STRING


def _type_of(value: ParameterValue) -> ParameterType | None:
    types = {
        bool: ParameterType.BOOL,
        int: ParameterType.INTEGER,
        float: ParameterType.DOUBLE,
        str: ParameterType.STRING,
    }
    return types.get(type(value))


def _extremes(values: ParameterValues) -> tuple[float, float]:
    if isinstance(values, IntegerRange | DoubleRange):
        return values.start, last_value(values)
    numbers = [value for value in values if isinstance(value, int | float)]
    return min(numbers), max(numbers)


def _first(values: ParameterValues) -> ParameterValue:
    return values.start if isinstance(values, IntegerRange | DoubleRange) else values[0]


def _repeated(values: Iterable[_Value]) -> list[_Value]:
    return [value for value, count in Counter(values).items() if count > 1]


def _listing(values: Sequence[ParameterValue]) -> str:
    shown = ", ".join(repr(value) for value in values[:_LISTED_VALUES])
    left_out = len(values) - _LISTED_VALUES
    return f"{shown} ({left_out:,} not shown)" if left_out > 0 else shown


def _shown(number: float) -> str:
    """A number in full, since two that differ must not look alike."""
    return str(number).removesuffix(".0")


def _suggest(wrong: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(wrong, names, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"there are {', '.join(names)}"
