"""A pool without processes: it runs an engine on the event loop, in the test's order."""

import asyncio
import tempfile
from pathlib import Path

import numpy as np
from stratsweep_server.backtest import (
    BacktestConfig,
    BacktestResult,
    EngineDescription,
    StrategyConfig,
)
from stratsweep_server.backtest.sources import CopyPlace
from stratsweep_server.execution.generation import Generation
from stratsweep_server.execution.outcomes import BacktestFailure, FailureKind, OutcomeBatch
from stratsweep_server.execution.pool import WorkersUnavailableError
from stratsweep_server.execution.shared_bars import SharedBarsFiles
from stratsweep_server.market_data.bars import map_bars
from stratsweep_server.market_data.storage import StorageUnavailableError


class WorkerEndedError(Exception):
    """What an engine raises to end as a worker that was killed or died."""

    def __init__(self, kind, message):
        self.kind = kind
        super().__init__(message)


class FunctionEngine:
    """An engine from a function of the parameters that returns the metrics."""

    def __init__(self, function):
        self.function = function

    def run_sync(self, config):
        return BacktestResult(self.function(**config.strategy.parameters))


class InlinePool:
    """Follows `BacktestPool`, as far as can be without processes: nothing is killed, or dies.

    Args:
        function: From the parameters to the metrics, or an engine; what it raises becomes a
            failure.
        directory: Where shared files can be put.
        description: What the engine declares.
        batches: From the indices to lists of them, in the order of completion; default: one each.
        stall_after: Outcomes after which nothing completes any more.
        unavailable_after: Outcomes after which workers stop starting.
    """

    worker_count = 2

    def __init__(
        self,
        function,
        directory=None,
        *,
        description=None,
        batches=None,
        stall_after=None,
        unavailable_after=None,
    ):
        self.engine = function if hasattr(function, "run_sync") else FunctionEngine(function)
        self.directory = directory or Path(tempfile.gettempdir())
        self.description = description or EngineDescription()
        copies = CopyPlace(-1, self.directory, "1")
        self.generation = Generation(1, copies, self.description)
        self.batches = batches or (lambda indices: [[index] for index in indices])
        self.stall_after = stall_after
        self.unavailable_after = unavailable_after
        self.workloads = []
        self._bars_files = SharedBarsFiles()

    async def describe_engine(self):
        return self.description

    async def loaded_sources(self):
        return ()

    def share(self, bars):
        try:
            return self._bars_files.share(bars, self.directory)
        except OSError as error:
            raise StorageUnavailableError(
                "scratch directory", self.directory, error, self.directory.stat
            ) from error

    def submit(self, plan, indices, *, backtest_timeout, on_outcomes, generation=None, bars=None):
        self.submitted_generation = generation
        workload = InlineWorkload(self, plan, indices, backtest_timeout, on_outcomes, bars)
        self.workloads.append(workload)
        return workload


class InlineWorkload:
    """Follows `RunningWorkload`."""

    def __init__(self, pool, plan, indices, backtest_timeout, on_outcomes, bars):
        self.pool = pool
        self.plan = plan
        self.indices = indices.tolist()
        self.backtest_timeout = backtest_timeout
        self.bars = bars
        self.is_cancelled = False
        self._on_outcomes = on_outcomes
        self._end = asyncio.Event()
        self._runner = asyncio.create_task(self._run())

    async def wait(self):
        await self._end.wait()
        if self._runner.done() and not self._runner.cancelled():
            self._runner.result()

    def cancel(self):
        if not self._end.is_set():
            self.is_cancelled = True
            self._runner.cancel()
            self._end.set()

    async def _run(self):
        try:
            count = 0
            for indices in self.pool.batches(self.indices):
                await asyncio.sleep(0)
                if count == self.pool.unavailable_after:
                    raise WorkersUnavailableError("no worker starts: out of memory")
                if count == self.pool.stall_after:
                    await asyncio.Event().wait()
                self._on_outcomes(self._backtest(indices))
                count += len(indices)
        finally:
            self._end.set()

    def _backtest(self, indices):
        results, failures = [], []
        bars = self.bars and map_bars(self.bars.fileno(), self.plan.bar_headers)
        for index in indices:
            strategy = StrategyConfig(self.plan.strategy, self.plan.combination(index))
            try:
                config = BacktestConfig(strategy, self.plan.symbols, bars=bars)
                results.append(self.pool.engine.run_sync(config).metrics)
            except Exception as error:
                kind = error.kind if isinstance(error, WorkerEndedError) else FailureKind.ERROR
                failures.append(BacktestFailure(index, kind, str(error), "Traceback", 0.25))
                results.append({})
        names = tuple(sorted({name for metrics in results for name in metrics}))
        table = [[metrics.get(name, np.nan) for name in names] for metrics in results]
        return OutcomeBatch(
            indices=np.array(indices, dtype=np.int64),
            durations=np.full(len(indices), 0.25),
            metric_names=names,
            metrics=np.array(table, dtype=float).reshape(len(indices), len(names)),
            failures=tuple(failures),
        )
