"""The default engine's figures: what its kernels cost on one core, beside the obvious kernel.

Times are of the processor, not of the wall: these figures use one core and wait for nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numba
import numpy as np
from numpy.typing import NDArray
from stratsweep_server.backtest.default.figures import Figures, Sums
from stratsweep_server.backtest.default.metrics import compute_metrics
from stratsweep_server.backtest.default.portfolio import Portfolio, build_portfolio
from stratsweep_server.backtest.default.positions import Positions
from stratsweep_server.backtest.default.simulation import simulate
from stratsweep_server.backtest.registry import registered_strategies

from tests.benchmarks import markets
from tests.benchmarks.figures import Reach, Row, interleave
from tests.benchmarks.markets import Market
from tests.benchmarks.sweeps import COMMISSION, STRATEGY, grid_of
from tests.scalar_kernel import FIGURE_COUNT, simulate_one

_CASH = 10_000.0
_POSITIONS = 4_000_000
_LANES = 32
_BLOCKS = 8
_OURS, _SCALAR = "ours", "scalar kernel:"


async def all_in_or_flat(quick: bool) -> list[Row]:
    """Simulation and metrics of crossovers, all-in or flat, per bar and combination."""
    rows = [
        await _beside_scalar("all-in or flat", market, _crossovers(market), quick)
        for market in _markets()
    ]
    return _with_reach(rows, 0.25)


async def any_targets(quick: bool) -> list[Row]:
    """The same with fractions of equity, which change as often as a crossover, or on every bar."""
    rows = []
    for market in _markets():
        targets = np.where(_crossovers(market) == 1, 0.75, -0.25)
        rows.append(await _beside_scalar("fractions", market, targets, quick))
    for market in _markets():
        targets = np.random.default_rng(markets.SEED).uniform(-1, 1, _shape(market))
        rows.append(await _beside_scalar("fractions, new on each bar", market, targets, quick))
    return _with_reach(rows, 0.5)


FIGURES = (all_in_or_flat, any_targets)


def _markets() -> list[Market]:
    return [markets.daily(), markets.hourly(), markets.minutes()]


def _shape(market: Market) -> tuple[int, int]:
    """Combinations, about as many as the engine decides at once, and bars."""
    bar_count = len(market.bars)
    return max(2, _POSITIONS // bar_count // _LANES) * _LANES, bar_count


def _crossovers(market: Market) -> NDArray[np.int8]:
    columns = grid_of(10_000).spread(_shape(market)[0])
    strategy = registered_strategies()[STRATEGY]
    portfolio = build_portfolio((market.bars,))
    return np.asarray(
        strategy.decide_all(portfolio.sleeves[0], columns, len(columns["fast"])), dtype=np.int8
    )


def _with_reach(rows: list[Row], highest: float) -> list[Row]:
    return [replace(row, reach=Reach(highest=highest)) for row in rows]


async def _beside_scalar(name: str, market: Market, targets: NDArray, quick: bool) -> Row:
    """Nanoseconds per bar and combination of positions that are there, metrics included."""
    portfolio = build_portfolio((market.bars,))
    floats = targets.astype(np.float64)

    def ours() -> float:
        positions = Positions(portfolio, len(targets))
        positions.put(name, 0, targets)
        return _nanoseconds(
            lambda: compute_metrics(simulate(portfolio, positions, _CASH, COMMISSION, 0.0)),
            targets.size,
        )

    def scalar() -> float:
        return _nanoseconds(
            lambda: compute_metrics(_simulate_one_by_one(portfolio, floats)), targets.size
        )

    _refuse_other_work(portfolio, targets, floats)
    samples = await interleave(5 if quick else 15, {_OURS: ours, _SCALAR: scalar})
    changes = np.count_nonzero(np.diff(floats, axis=1)) / targets.size * 1_000
    return Row(
        f"{name}, {market.label}",
        samples[_OURS],
        "ns",
        _SCALAR,
        samples[_SCALAR],
        note=f"{len(targets):,} combinations, {changes:.0f} changes of position per 1,000 bars",
    )


def _nanoseconds(run: Callable[[], object], count: int) -> float:
    """Processor time for each of `count` positions, of blocks that follow each other as in a sweep.

    A single block after the other contestant's would be measured with its tables not in the cache.
    """
    start = time.thread_time()
    for _ in range(_BLOCKS):
        run()
    return (time.thread_time() - start) / (count * _BLOCKS) * 1e9


def _simulate_one_by_one(portfolio: Portfolio, targets: NDArray[np.float64]) -> Figures:
    table = _simulate_each(
        targets,
        portfolio.open_prices,
        portfolio.close_prices,
        portfolio.days,
        _CASH,
        COMMISSION,
        0.0,
    )
    return Figures(Sums(*table), _CASH, len(portfolio.days), portfolio.periods_per_year)


@numba.njit(error_model="numpy")
def _simulate_each(targets, opens, closes, days, cash, commission, slippage):
    table = np.empty((FIGURE_COUNT, len(targets)))
    for row in range(len(targets)):
        table[:, row] = simulate_one(targets[row], opens, closes, days, cash, commission, slippage)
    return table


def _refuse_other_work(portfolio: Portfolio, targets: NDArray, floats: NDArray[np.float64]) -> None:
    """Both kernels must end with the same equity, or their times say nothing."""
    positions = Positions(portfolio, len(targets))
    positions.put("check", 0, targets)
    ours = simulate(portfolio, positions, _CASH, COMMISSION, 0.0).sums
    theirs = _simulate_one_by_one(portfolio, floats).sums
    np.testing.assert_allclose(ours.final_equity, theirs.final_equity, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(ours.trade_count, theirs.trade_count)
