"""The engines of the fuzz test: they run whatever is valid, and say what they were given."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from stratsweep_server.backtest import (
    BacktestConfig,
    BacktestResult,
    EngineDescription,
    Metric,
    ParameterType,
    ParameterValue,
    Strategy,
    StrategyParameter,
)

from tests.load.engine import LoadEngine

_OPTIONAL = (
    StrategyParameter("threshold", ParameterType.DOUBLE, default=0.5, minimum=-1e9, maximum=1e9),
    StrategyParameter("share", ParameterType.DOUBLE, default=0.5),
    StrategyParameter("level", ParameterType.DOUBLE, default=0.5),
    StrategyParameter("mode", ParameterType.STRING, default="fast"),
    StrategyParameter("short", ParameterType.BOOL, default=False),
)
_REQUIRED = (
    StrategyParameter("x", ParameterType.INTEGER),
    StrategyParameter("salt", ParameterType.INTEGER),
)


class OpenEngine(LoadEngine):
    """Declares nothing; its score is a fingerprint of the parameters that it was given."""

    def run_sync(self, config: BacktestConfig) -> BacktestResult:
        """Run any combination; one of x and salt alone as the load test's clients expect it."""
        parameters = config.strategy.parameters
        if parameters.keys() == {"x", "salt"} and set(map(type, parameters.values())) == {int}:
            return super().run_sync(config)
        return BacktestResult({"score": fingerprint(parameters)})


class DeclaringEngine(OpenEngine):
    """Declares strategies with parameters of each type, and uses the server's bars."""

    def describe(self) -> EngineDescription:
        """The strategies of `LoadEngine` that do not fail."""
        return EngineDescription(
            strategies=(
                Strategy("nap", "Takes 20 ms.", _REQUIRED),
                Strategy("quick", "Answers at once.", _REQUIRED + _OPTIONAL),
            ),
            metrics=(Metric("score", "A fingerprint."), Metric("salt", "The salt.")),
            uses_market_data=True,
        )


def fingerprint(parameters: Mapping[str, ParameterValue]) -> float:
    """A number that differs, most likely, when a name, a type or a bit of a value does."""
    return float(zlib.crc32(repr(sorted(parameters.items())).encode()))
