"""A command that optimizes a strategy, made from what it declares, to begin with. Pure."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

from stratsweep._formatting import format_value
from stratsweep.strategies import ParameterType, Strategy, StrategyList, StrategyParameter

_NUMBERS = (ParameterType.INTEGER, ParameterType.DOUBLE)
_MOST_PARAMETERS = 2
_STEPS = 3
_USUAL = 10.0
_FINE_STEP = 0.01
_DEFAULT_TARGET = "sharpe_ratio"


def example_command(
    catalogue: StrategyList, strategy: Strategy, server_options: Sequence[str] = ()
) -> str:
    """Return a command line that tries some values of the strategy's first parameters.

    Args:
        catalogue: What the server can run: its symbols and metrics appear in the command.
        strategy: The strategy.
        server_options: The options that chose the server.
    """
    arguments = ["stratsweep", "optimize", strategy.name, *server_options]
    usable = [symbol.name for symbol in catalogue.symbols if not symbol.error]
    arguments += ["--symbol", usable[0] if usable else "SYMBOL"]
    for parameter in _shown(strategy.parameters):
        arguments += ["--param", f"{parameter.name}={example_values(parameter)}"]
    metrics = [metric.name for metric in catalogue.metrics]
    if metrics and _DEFAULT_TARGET not in metrics:
        arguments += ["--target", metrics[0]]
    return shlex.join(arguments)


def example_values(parameter: StrategyParameter) -> str:
    """Return values to try, as `--param` takes them: some around the default, within the bounds."""
    if parameter.type is ParameterType.BOOL:
        return "true,false"
    if parameter.type is ParameterType.STRING:
        return ",".join(parameter.choices[:_STEPS]) or format_value(parameter.default or "TEXT")
    center = _center(parameter)
    is_whole = parameter.type is ParameterType.INTEGER
    step = max(1.0, abs(center) // 2) if is_whole else abs(center) / 2 or _FINE_STEP
    start = center - step
    if parameter.minimum is not None:
        start = max(start, math.ceil(parameter.minimum) if is_whole else parameter.minimum)
    count = float(_STEPS)
    if parameter.maximum is not None:
        count = min(count, (parameter.maximum - start) * (1 + 1e-12) // step)
    numbers = (start, start + count * step, step)
    return ":".join(f"{number:.12g}" for number in (numbers if count > 0 else numbers[:1]))


def _shown(parameters: Sequence[StrategyParameter]) -> list[StrategyParameter]:
    """Those that must be given, and the first of those that one would try."""
    tried = [each for each in parameters if each.type in _NUMBERS] or parameters
    required = [each for each in parameters if each.default is None]
    chosen = [*required, *(each for each in tried if each not in required)]
    chosen = chosen[: max(len(required), _MOST_PARAMETERS)]
    return [each for each in parameters if each in chosen]


def _center(parameter: StrategyParameter) -> float:
    """The default, or what is usual, as far as the bounds let it."""
    if isinstance(parameter.default, int | float):
        return float(parameter.default)
    low, high = parameter.minimum, parameter.maximum
    center = _USUAL if low is None else max(_USUAL, low)
    return center if high is None else min(center, high)
