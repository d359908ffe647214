"""Turn target positions into trades, an equity curve, and figures of both.

Execution model:

- **Timing.** The target decided at the close of bar t is traded at the open of bar t+1, and only
  when it differs from the target of the bar before: drift of the position's share of equity is
  not rebalanced. The account is flat at the start, so nothing trades on the first bar, and the
  target of the last bar is never traded.
- **Price.** Buys fill at open * (1 + slippage), sells at open * (1 - slippage). Commission is
  units * fill price * commission, on every fill.
- **Size.** From flat to a fraction f: f * cash / (fill * (1 + commission)) units, so that f = 1
  spends all cash, commission included. Shorts are sized alike. Units are fractional.
- **Flat** trades everything. **Reversal** closes fully, then opens the other side with the cash
  that results: two fills, one completed round trip.
- **Resizing** on the same side: f * equity / (fill * (1 + commission)) units, equity marked at the
  open. Whether that is a buy or a sell is decided at the open without slippage; if at the fill
  price the change has the other sign, or equity at the open is not positive, nothing is traded.
- **Marking.** Equity is marked at each close. A position open at the end is marked at the last
  close, not closed, and is not a completed round trip.
- **Ruin.** A sleeve loses what it has and no more; the broker bears the rest. A closing that costs
  more than there is, which only a short's can, takes all there is and leaves nothing to open with.
  So does the close of a bar at which equity is zero or less: the position ends there. Equity is
  zero from that close on, and nothing trades any more.

A round trip lasts from flat to flat, to a reversal, or to ruin. Its profit is the sum of its cash
flows, costs included, so that the profits of all and of the open position are the change of equity;
of a ruined one, it is all that the sleeve had when it began, lost. Its return is profit / Σ(units
added * fill price), commission excluded. A profit or loss of less than 1e-12 of that value is the
rounding of the arithmetic and counts as 0.

Two kernels do this, and agree within 1e-9 of each figure: `trade_jumps` where the positions of a
combination are in one symbol and stay for a while, `lockstep` elsewhere. Which one runs a
combination depends on its own positions and the prices alone, so results depend neither on the
chunk nor on the worker that it came to.
"""

from __future__ import annotations

import numpy as np

from stratsweep_server.backtest.default.figures import Figures, Sums
from stratsweep_server.backtest.default.lockstep import LANES, simulate_lockstep
from stratsweep_server.backtest.default.portfolio import Portfolio
from stratsweep_server.backtest.default.positions import Positions
from stratsweep_server.backtest.default.trade_jumps import simulate_jumps


def simulate(
    portfolio: Portfolio,
    positions: Positions,
    starting_cash: float,
    commission: float,
    slippage: float,
) -> Figures:
    """Trade the target positions of combinations by the execution model of this module.

    Args:
        portfolio: The bars.
        positions: What each combination wants to hold at each of them.
        starting_cash: The account at the start, positive, in currency; each sleeve an equal share.
        commission: Fraction of each fill's value, in [0, 1).
        slippage: Fraction of the price, in [0, 1).
    """
    sleeve_cash = starting_cash / len(portfolio.sleeves)
    table = np.empty((len(Sums._fields), len(positions)))
    is_done = np.zeros(len(positions), dtype=np.bool_)
    if portfolio.market is not None:
        for rows, paths in positions.alike():
            table[:, rows], is_done[rows] = simulate_jumps(
                paths, portfolio.market, sleeve_cash, commission, slippage
            )
    left = np.flatnonzero(~is_done)
    for first in range(0, len(left), LANES):
        rows = left[first : first + LANES]
        table[:, rows] = simulate_lockstep(
            positions.targets(rows),
            portfolio.offsets,
            portfolio.open_prices,
            portfolio.close_prices,
            portfolio.days,
            portfolio.latest_bar,
            sleeve_cash,
            commission,
            slippage,
        )
    return Figures(
        Sums(*table),
        sum([sleeve_cash] * len(portfolio.sleeves)),
        len(portfolio.days),
        portfolio.periods_per_year,
    )
