"""A slow, obvious backtest in plain Python, written from the definitions and sharing no code.

It keeps a ledger of fills and replays it, where the engine carries an account from bar to bar.
"""

import math
import statistics
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import pairwise

DAY = 86_400 * 10**9
ROUNDING = 1e-12  # what is smaller, relative to what it is a part of, counts as zero


@dataclass
class Fill:
    bar: int
    units: float
    price: float
    commission: float
    borne_by_broker: float = 0.0

    @property
    def flow(self):
        return -self.units * self.price - self.commission + self.borne_by_broker


@dataclass
class Ledger:
    cash: float
    fills: list = field(default_factory=list)
    is_empty: bool = False
    ruin_bar: int | None = None

    def trade(self, fill):
        """Add a fill; debts that one leaves which closes a position are the broker's."""
        debts = -(self.cash_now() + fill.flow)
        if -debts <= ROUNDING * self.cash_now() and self.units_now() + fill.units == 0:
            fill.borne_by_broker = debts
            self.is_empty = True
        self.fills.append(fill)

    def cash_now(self):
        return 0.0 if self.is_empty else self.cash + sum(fill.flow for fill in self.fills)

    def units_now(self):
        """What the fills since the last flat moment add up to; exactly 0 when flat."""
        return units_of(self.open_trip())

    def trips(self):
        """Group the fills into round trips; the last one may be open."""
        trips = []
        for fill in self.fills:
            if not trips or is_flat(trips[-1]):
                trips.append([])
            trips[-1].append(fill)
        return trips

    def open_trip(self):
        trips = self.trips()
        return trips[-1] if trips and not is_flat(trips[-1]) else []


def is_flat(trip):
    return units_of(trip) == 0.0


def units_of(trip):
    """Add up fill by fill, as an account does: since Python 3.12 `sum` rounds only once."""
    units = 0.0
    for fill in trip:
        units += fill.units
    return units


def run_ledger(targets, opens, closes, cash, commission, slippage):
    ledger = Ledger(cash)
    wanted = [0.0] + [0.0 if math.isnan(target) else float(target) for target in targets[:-1]]
    for bar in range(1, len(closes)):
        if wanted[bar] != wanted[bar - 1]:
            for units, price in changes(ledger, wanted[bar], opens[bar], commission, slippage):
                ledger.trade(Fill(bar, units, price, abs(units) * price * commission))
        units = ledger.units_now()
        if ledger.cash_now() + units * closes[bar] <= ROUNDING * ledger.cash_now():
            if units != 0:
                ledger.trade(Fill(bar, -units, closes[bar], 0.0))
            ledger.ruin_bar = bar
            break
    return ledger


def changes(ledger, target, open_, commission, slippage):
    """What to trade at an open: (units, price), each looked at after the one before is done."""
    buy, sell = open_ * (1 + slippage), open_ * (1 - slippage)

    def units_for(equity, price):
        return target * equity / (price * (1 + commission))

    units = ledger.units_now()
    if units * target > 0:
        equity = ledger.cash_now() + units * open_
        buys = units_for(equity, open_) > units
        change = units_for(equity, buy if buys else sell) - units
        if equity > ROUNDING * ledger.cash_now() and change != 0 and (change > 0) == buys:
            yield change, buy if buys else sell
        return
    if units != 0:
        yield -units, sell if units > 0 else buy
    if target != 0 and ledger.cash_now() > 0:
        price = buy if target > 0 else sell
        yield units_for(ledger.cash_now(), price), price


def equity_and_exposure(ledger, closes):
    equity, open_bars = [], 0
    for bar, close in enumerate(closes):
        if ledger.ruin_bar is not None and bar >= ledger.ruin_bar:
            equity.append(0.0)
            continue
        past = Ledger(ledger.cash, [fill for fill in ledger.fills if fill.bar <= bar])
        units = past.units_now()
        equity.append(past.cash_now() + units * close)
        open_bars += units != 0
    return equity, open_bars / len(closes)


def trade_figures(ledger):
    figures = []
    for trip in ledger.trips():
        if not is_flat(trip):
            continue
        side = 1 if trip[0].units > 0 else -1
        profit = sum(fill.flow for fill in trip)
        value = sum(abs(fill.units) * fill.price for fill in trip if fill.units * side > 0)
        profit = 0.0 if abs(profit) <= ROUNDING * value else profit
        figures.append((profit, profit / value))
    return figures


def union_curve(times, curves, cash):
    """Carry each sleeve forward over the union of the bar times."""
    union = sorted(set().union(*times))
    total = []
    for time in union:
        value = 0.0
        for sleeve_times, curve in zip(times, curves, strict=True):
            known = bisect_right(sleeve_times, time)
            value += curve[known - 1] if known else cash
        total.append(value)
    return union, total


def drawdowns(times, equity):
    def below(value, peak):
        return peak - value > ROUNDING * peak

    deepest, longest = 0.0, 0
    for bar, value in enumerate(equity):
        highest = max(equity[: bar + 1])
        if below(value, highest):
            deepest = max(deepest, 1 - value / highest)
            continue
        later = range(bar + 1, len(equity))
        if later and below(equity[bar + 1], value):
            back = [end for end in later if not below(equity[end], value)]
            longest = max(longest, times[back[0] if back else -1] - times[bar])
    return deepest, longest / DAY


def metrics(times, equity, trades, exposure):
    """Every metric from its definition; those without a value are left out."""
    result = {
        "total_return": equity[-1] / equity[0] - 1,
        "final_equity": equity[-1],
        "exposure_time": exposure,
        "trade_count": len(trades),
    }
    result["max_drawdown"], result["max_drawdown_duration"] = drawdowns(times, equity)
    returns = [after / before - 1 if before else 0.0 for before, after in pairwise(equity)]
    returns = [value if abs(value) > ROUNDING else 0.0 for value in returns]
    if returns:
        years = (times[-1] - times[0]) / (365.25 * DAY)
        per_year = len(returns) / years
        losses = [min(value, 0) for value in returns]
        downside = math.sqrt(sum(value**2 for value in losses) / len(returns))
        mean = statistics.fmean(returns)
        result["cagr"] = (equity[-1] / equity[0]) ** (1 / years) - 1
        if result["max_drawdown"] > ROUNDING:
            result["calmar_ratio"] = result["cagr"] / result["max_drawdown"]
        if downside > ROUNDING:
            result["sortino_ratio"] = mean / downside * math.sqrt(per_year)
        if -sum(losses) > ROUNDING:
            result["omega_ratio"] = sum(max(value, 0) for value in returns) / -sum(losses)
        if len(returns) > 1:
            deviation = statistics.stdev(returns)
            result["annualized_volatility"] = deviation * math.sqrt(per_year)
            if deviation > ROUNDING:
                result["sharpe_ratio"] = mean / deviation * math.sqrt(per_year)
    if trades:
        profits = [profit for profit, _ in trades]
        lost = -sum(profit for profit in profits if profit < 0)
        result["win_rate"] = sum(profit > 0 for profit in profits) / len(profits)
        result["expectancy"] = statistics.fmean(profits)
        result["average_trade_return"] = statistics.fmean(value for _, value in trades)
        if lost > 0:
            result["profit_factor"] = sum(profit for profit in profits if profit > 0) / lost
    return result


def backtest(sleeves, cash=10_000.0, commission=0.0, slippage=0.0):
    """Run target positions; `sleeves` is one (targets, bars) for each symbol."""
    share = cash / len(sleeves)
    times, curves, exposures, trades = [], [], [], []
    for targets, bars in sleeves:
        opens, closes = bars.open.tolist(), bars.close.tolist()
        ledger = run_ledger(list(targets), opens, closes, share, commission, slippage)
        curve, exposure = equity_and_exposure(ledger, closes)
        times.append(bars.time.tolist())
        curves.append(curve)
        exposures.append(exposure)
        trades += trade_figures(ledger)
    union, equity = union_curve(times, curves, share)
    return metrics(union, equity, trades, statistics.fmean(exposures))
