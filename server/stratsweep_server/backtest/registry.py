"""Declare and register plain functions as strategies, with the `@strategy` decorator."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import FunctionType, MappingProxyType
from typing import TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike

from stratsweep_server.backtest.declaration import (
    Parameter,
    StrategyDeclarationError,
    declare_parameters,
)
from stratsweep_server.backtest.engine import (
    ParameterColumn,
    ParameterType,
    ParameterValue,
    Strategy,
)
from stratsweep_server.market_data.bars import Bars

__all__ = [
    "Parameter",
    "RegisteredStrategy",
    "StrategyDeclarationError",
    "declare",
    "register",
    "registered_strategies",
    "strategies_of_main",
    "strategy",
]

StrategyFunction = Callable[..., ArrayLike]
_Function = TypeVar("_Function", bound=StrategyFunction)

_MAIN_MODULES = {"__main__", "__mp_main__"}  # the second in a process of multiprocessing
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class RegisteredStrategy:
    """Hold a strategy that can be run: what it declares and the function that decides.

    Attributes:
        declaration: Its name, description and parameters.
        function: Maps bars and parameters to target positions.
    """

    declaration: Strategy
    function: StrategyFunction

    @property
    def is_vectorized(self) -> bool:
        """Return whether the function takes columns and decides for many combinations at once."""
        return bool(self.declaration.takes_columns)

    def check(self, names: Collection[str]) -> None:
        """Refuse parameters that the strategy does not have, and missing ones.

        Args:
            names: The parameters that are given.

        Raises:
            ValueError: A parameter that the strategy does not have, or a required one is missing.
        """
        for declared in self.declaration.parameters:
            if declared.default is None and declared.name not in names:
                raise ValueError(
                    f"strategy {self.declaration.name!r} needs a value for parameter "
                    f"{declared.name!r}"
                )
        unknown = set(names) - {declared.name for declared in self.declaration.parameters}
        if unknown:
            raise ValueError(
                f"strategy {self.declaration.name!r} has no parameter "
                f"{', '.join(map(repr, sorted(unknown)))}; it has "
                f"{', '.join(declared.name for declared in self.declaration.parameters) or 'none'}"
            )

    def decide(self, bars: Bars, parameters: Mapping[str, ParameterValue]) -> ArrayLike:
        """Return one target position per bar, for one combination.

        Whole numbers reach parameters declared as doubles as floats.

        Raises:
            ValueError: See `check`.
        """
        self.check(parameters)
        if self.is_vectorized:
            columns = {name: np.array([value]) for name, value in parameters.items()}
            positions: ArrayLike = np.asarray(self.decide_all(bars, columns, 1))[0]
            return positions
        arguments = dict(parameters)
        for name in arguments.keys() & self._doubles:
            arguments[name] = float(arguments[name])
        return self.function(bars, **arguments)

    def decide_all(
        self, bars: Bars, parameters: Mapping[str, ParameterColumn], count: int
    ) -> ArrayLike:
        """Return the positions of many combinations at once, of a vectorised strategy.

        Args:
            bars: The bars of a symbol.
            parameters: Columns of length `count`, of some or all parameters; defaults fill the
                others. They have passed `check`.
            count: The number of combinations.

        Returns:
            Positions of shape (combinations, bars).
        """
        columns = {
            declared.name: np.asarray(
                parameters[declared.name]
                if declared.name in parameters
                else np.full(count, declared.default),
                dtype=np.float64 if declared.type is ParameterType.DOUBLE else None,
            )
            for declared in self.declaration.parameters
        }
        return self.function(bars, **columns)

    @property
    def _doubles(self) -> set[str]:
        return {
            declared.name
            for declared in self.declaration.parameters
            if declared.type is ParameterType.DOUBLE
        }


_registered: dict[str, RegisteredStrategy] = {}


def registered_strategies() -> Mapping[str, RegisteredStrategy]:
    """Return every strategy that modules imported so far have registered, by name."""
    return MappingProxyType(_registered)


def strategies_of_main() -> tuple[RegisteredStrategy, ...]:
    """Return what a script, a notebook or `python -c` has registered; workers cannot import it."""
    return tuple(each for each in _registered.values() if each.function.__module__ in _MAIN_MODULES)


@overload
def strategy(function: _Function, /) -> _Function: ...
@overload
def strategy(*, name: str | None = None) -> Callable[[_Function], _Function]: ...


def strategy(
    function: _Function | None = None, /, *, name: str | None = None
) -> _Function | Callable[[_Function], _Function]:
    """Declare a function as a strategy and register it under its name.

    The function is given the bars of one symbol and its parameters by name, and returns one target
    position per bar: a fraction of equity in [-1, 1], 1 or True being all-in long, -1 all-in short,
    0, NaN or None flat. The target of a bar may use that bar and those before it; it is traded at
    the open of the next bar.

    Parameters are declared by the signature: the type is the annotation (`int`, `float`, `str`,
    `bool`, or `Literal["a", "b"]` for a choice), the default is the signature's, and one without a
    default is required. `Annotated[int, Parameter("What it is.", minimum=1)]` adds a description
    and bounds. The first line of the docstring describes the strategy.

    A strategy may decide for many combinations at once, which is faster: it declares its parameters
    as columns (`Integers`, `Doubles`, `Booleans`, `Texts` instead of `int`, `float`, `bool`, `str`)
    and is given arrays of them, one value per combination, and returns positions of shape
    (combinations, bars); bool or int8 where they are whole. `@indicator` computes what combinations
    share once.

    Example:
        >>> from typing import Annotated
        >>> import numpy as np
        >>> from stratsweep_server.backtest import Bars, Parameter, strategy
        >>> @strategy
        ... def dip(bars: Bars, days: Annotated[int, Parameter("Down days.", minimum=1)] = 3):
        ...     "Long for a day after a row of down days."
        ...     down = np.diff(bars.close, prepend=bars.close[0]) < 0
        ...     return np.convolve(down, np.ones(days))[: len(down)] >= days

    Args:
        function: The strategy.
        name: The strategy's id, letters, digits, `_`, `.` and `-`. Default: the function's name.

    Returns:
        The function itself.

    Raises:
        StrategyDeclarationError: The signature cannot be declared, or the name is taken.
    """
    if function is None:
        return lambda decorated: _register(decorated, name)
    return _register(function, name)


def declare(function: StrategyFunction) -> RegisteredStrategy:
    """Declare a function as a strategy without registering it, see `strategy`.

    Args:
        function: The strategy. One that `@strategy` has registered keeps what that declared.

    Raises:
        StrategyDeclarationError: It is no function, or cannot be declared.
    """
    for registered in _registered.values():
        if registered.function is function:
            return registered
    return _declare(function, None)


def register(declared: RegisteredStrategy) -> None:
    """Register a strategy under its name.

    Raises:
        StrategyDeclarationError: The name is taken.
    """
    name = declared.declaration.name
    _check_free(name, declared.function)
    _registered[name] = declared


def _register(function: _Function, name: str | None) -> _Function:
    register(_declare(function, name))
    return function


def _declare(function: StrategyFunction, name: str | None) -> RegisteredStrategy:
    if not isinstance(function, FunctionType):
        raise StrategyDeclarationError(
            f"a strategy is a function; {function!r} is of type {type(function).__name__}"
        )
    name = function.__name__ if name is None else name
    if not _NAME.fullmatch(name):
        raise StrategyDeclarationError(
            f"strategy name {name!r}: use letters, digits, '_', '.' and '-', "
            "starting with a letter or '_'"
        )
    description = (function.__doc__ or "").strip().partition("\n")[0].strip()
    parameters, takes_columns = declare_parameters(name, function)
    declaration = Strategy(name, description, parameters, function.__module__, takes_columns)
    return RegisteredStrategy(declaration, function)


def _check_free(name: str, function: StrategyFunction) -> None:
    """Refuse a taken name. A module that is executed again replaces its own strategies."""
    if name not in _registered:
        return
    other = _registered[name].function
    place, other_place = _place_of(function), _place_of(other)
    if place != other_place:
        raise StrategyDeclarationError(
            f"strategy {name!r} of module {place[0]!r} is already registered by "
            f"{'.'.join(other_place)}; give it another name with @strategy(name=...)"
        )


def _place_of(function: StrategyFunction) -> tuple[str, str]:
    return function.__module__, getattr(function, "__qualname__", "")
