"""Read a strategy's parameters from its function's signature."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from stratsweep_server.backtest.engine import ParameterType, ParameterValue, StrategyParameter
from stratsweep_server.backtest.indicators import Booleans, Doubles, Integers, Texts


class StrategyDeclarationError(Exception):
    """Report a strategy that cannot be declared as it is written; the text says what to change."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """Describe and bound a parameter of a strategy; put it in `Annotated[type, Parameter(...)]`.

    Attributes:
        description: One line for people.
        minimum: Smallest number allowed, included; None for no bound.
        maximum: Largest number allowed, included; None for no bound.
    """

    description: str = ""
    minimum: float | None = None
    maximum: float | None = None


_TYPES: dict[object, ParameterType] = {
    int: ParameterType.INTEGER,
    float: ParameterType.DOUBLE,
    str: ParameterType.STRING,
    bool: ParameterType.BOOL,
}
_COLUMN_TYPES: dict[object, ParameterType] = {
    Integers: ParameterType.INTEGER,
    Doubles: ParameterType.DOUBLE,
    Texts: ParameterType.STRING,
    Booleans: ParameterType.BOOL,
}
_NUMBERS = (ParameterType.INTEGER, ParameterType.DOUBLE)
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def declare_parameters(
    strategy: str, function: FunctionType
) -> tuple[tuple[StrategyParameter, ...], bool]:
    """Return the parameters that follow the bars in a strategy's signature.

    And whether it is vectorised: whether they are declared as columns of combinations.

    Args:
        strategy: The strategy's name, for messages.
        function: The strategy.

    Raises:
        StrategyDeclarationError: A parameter that cannot be declared.
    """
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise StrategyDeclarationError(
            f"strategy {strategy!r} must be a plain function that returns its positions, "
            "not a generator or a coroutine"
        )
    try:
        hints = get_type_hints(function, include_extras=True)
    except Exception as error:
        raise StrategyDeclarationError(
            f"strategy {strategy!r}: its annotations cannot be resolved ({error}); "
            "import what they name at the top of the module, not under TYPE_CHECKING"
        ) from error
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or parameters[0].kind not in _BY_POSITION:
        raise StrategyDeclarationError(
            f"strategy {strategy!r} must take the bars first, as in def name(bars: Bars, ...)"
        )
    declared = tuple(
        _declare(f"strategy {strategy!r}, parameter {parameter.name!r}", parameter, hints)
        for parameter in parameters[1:]
    )
    are_columns = {
        _split("", hints[parameter.name])[0] in _COLUMN_TYPES for parameter in parameters[1:]
    }
    if len(are_columns) > 1:
        raise StrategyDeclarationError(
            f"strategy {strategy!r}: declare either all parameters as columns (Integers, Doubles, "
            "Booleans, Texts) or none"
        )
    return declared, are_columns == {True}


def _declare(where: str, parameter: inspect.Parameter, hints: dict[str, Any]) -> StrategyParameter:
    if parameter.kind not in _BY_NAME:
        raise StrategyDeclarationError(
            f"{where}: parameters are given by name; *, / and ** parameters cannot be declared"
        )
    if parameter.name not in hints:
        raise StrategyDeclarationError(
            f"{where} needs a type: annotate it with int, float, str, bool or Literal"
        )
    annotation, extra = _split(where, hints[parameter.name])
    type_, choices = _type_of(where, annotation)
    default = None if parameter.default is parameter.empty else parameter.default
    if parameter.default is None:
        raise StrategyDeclarationError(
            f"{where}: None is no default; leave the default out to make it required"
        )
    if type_ is ParameterType.DOUBLE and type(default) is int:
        default = float(default)
    declared = StrategyParameter(
        parameter.name, type_, default, extra.minimum, extra.maximum, choices, extra.description
    )
    for problem in _bound_problems(declared):
        raise StrategyDeclarationError(f"{where}: {problem}")
    if default is not None:
        for problem in _default_problems(declared, default):
            raise StrategyDeclarationError(f"{where}: default {default!r} {problem}")
    return declared


def _split(where: str, hint: object) -> tuple[object, Parameter]:
    """Separate `Annotated[type, Parameter(...)]`; other annotations are other tools'."""
    if get_origin(hint) is not Annotated:
        return hint, Parameter()
    annotation, *metadata = get_args(hint)
    extras = [item for item in metadata if isinstance(item, Parameter)]
    if Parameter in metadata:
        raise StrategyDeclarationError(f"{where}: write Parameter(...), with its arguments")
    if len(extras) > 1:
        raise StrategyDeclarationError(f"{where} has more than one Parameter(...)")
    return annotation, extras[0] if extras else Parameter()


def _type_of(where: str, annotation: object) -> tuple[ParameterType, tuple[str, ...]]:
    if get_origin(annotation) is Literal:
        choices = get_args(annotation)
        if all(isinstance(choice, str) for choice in choices):
            return ParameterType.STRING, choices
        raise StrategyDeclarationError(f"{where}: choices of Literal must be texts")
    known = _TYPES | _COLUMN_TYPES
    if annotation in known:
        return known[annotation], ()
    name = getattr(annotation, "__name__", annotation)
    raise StrategyDeclarationError(
        f"{where} cannot have the type {name}; use int, float, str, bool or Literal"
    )


def _bound_problems(declared: StrategyParameter) -> Iterator[str]:
    bounds = [bound for bound in (declared.minimum, declared.maximum) if bound is not None]
    if bounds and declared.type not in _NUMBERS:
        yield "only int and float parameters have a minimum and a maximum"
    if any(math.isnan(bound) for bound in bounds):
        yield "NaN is no bound"
    if len(bounds) == 2 and bounds[0] > bounds[1]:
        yield f"the minimum {bounds[0]} is above the maximum {bounds[1]}"


def _default_problems(declared: StrategyParameter, default: ParameterValue) -> Iterator[str]:
    if _TYPES.get(type(default)) is not declared.type:
        yield f"is of type {type(default).__name__}, not {declared.type.value}"
    elif isinstance(default, str):
        if declared.choices and default not in declared.choices:
            yield f"is not one of {', '.join(declared.choices)}"
    elif not math.isfinite(default):
        yield "is not finite"
    elif declared.minimum is not None and default < declared.minimum:
        yield f"is below the minimum {declared.minimum}"
    elif declared.maximum is not None and default > declared.maximum:
        yield f"is above the maximum {declared.maximum}"
