"""The engine that every pool is asked to run."""

from __future__ import annotations

from stratsweep_server.backtest import (
    BacktestConfig,
    BacktestResult,
    EngineDescription,
    Metric,
    MetricUnit,
    ParameterType,
    Strategy,
    StrategyParameter,
)

from tests.engines import ScriptedEngine


class ContractEngine(ScriptedEngine):
    """Does what the strategy's name says for the parameter x, and tells what bars it was given."""

    def describe(self) -> EngineDescription:
        x = StrategyParameter("x", ParameterType.INTEGER)
        return EngineDescription(
            strategies=(Strategy("ok@*", "Scores x.", (x,)),),
            metrics=(Metric("score", "The parameter x.", MetricUnit.RATIO),),
        )

    def run_sync(self, config: BacktestConfig) -> BacktestResult:
        metrics = dict(super().run_sync(config).metrics)
        if config.strategy.name != f"less@{config.strategy.parameters['x']}":
            metrics["extra"] = 1.0
        for symbol, bars in (config.bars or {}).items():
            metrics[symbol] = float(bars.close[-1])
        return BacktestResult(metrics)

    def _spin(self, config, x):
        """Never end."""
        while True:
            pass

    def _less(self, config, x):
        """Leave a metric out."""

    def _closes(self, config, x):
        """Tell the last closes."""
