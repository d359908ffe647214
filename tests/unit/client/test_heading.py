"""What is said of an optimization before it runs."""

import pytest
from stratsweep._assembler import EventAssembler
from stratsweep.cli.heading import describe_started
from stratsweep.v1 import optimization_config_pb2, strategy_pb2


@pytest.fixture
def started(script):
    def started(start_date="", end_date="", spans=(), **changes):
        dates = optimization_config_pb2.DateRange(start_date=start_date, end_date=end_date)
        message = script.started(date_range=dates, spans=list(map(span, spans)), **changes)
        return EventAssembler().feed(message)

    return started


def span(bars):
    symbol, first, last = bars
    message = strategy_pb2.Symbol(name=symbol, bar_count=100)
    message.first_bar_time.FromJsonString(f"{first}T00:00:00Z")
    message.last_bar_time.FromJsonString(f"{last}T00:00:00Z")
    return message


def test_account_and_costs_are_told(started):
    event = started(starting_cash=5000.5, commission=0.001, slippage=0.0005, rejected_count=6)
    assert describe_started(event) == (
        "sma_cross on SPY, 2020-01-02 to 2020-12-31 · 253 bars · cash 5,000.50 · "
        "commission 0.1%, slippage 0.05% · "
        "4 combinations (6 more rejected by constraints) · 2 workers"
    )
    assert " · slippage 0.05% · " in describe_started(started(slippage=0.0005))
    assert " · no costs · " in describe_started(started())


def test_outcomes_that_are_taken_over_are_counted(started):
    heading = describe_started(started(reused_count=3))
    assert " · 4 combinations · 3 taken over from earlier ones · 2 workers" in heading


def test_lines_break_between_parts_on_a_narrow_terminal(started):
    for width in (60, 80, 100):
        lines = describe_started(started(commission=0.001), width).splitlines()
        assert all(len(line) <= width for line in lines)
        assert " · ".join(lines) == describe_started(started(commission=0.001))


def test_dates_beyond_the_bars_are_noted_beside_the_real_ones(started):
    event = started("1990-01-01", "2030-01-01")
    first, *notes = describe_started(event).splitlines()
    assert first.startswith("sma_cross on SPY, 2020-01-02 to 2020-12-31 · ")
    assert notes == [
        "note: the bars begin on 2020-01-02, after --from 1990-01-01",
        "note: the bars end on 2020-12-31, before --to 2030-01-01",
    ]


def test_a_holiday_at_either_end_is_no_note(started):
    assert describe_started(started("2020-01-01", "2021-01-03")).count("\n") == 0


def test_a_portfolio_says_that_it_is_one_and_whose_bars_begin_or_end_elsewhere(started):
    spans = [
        ("SPY", "2020-01-02", "2020-12-31"),
        ("NEW", "2020-06-01", "2020-12-30"),
        ("OLD", "2020-01-03", "2020-09-01"),
    ]
    event = started(symbols=["NEW", "OLD"], spans=spans)
    first, *rest = describe_started(event).splitlines()
    assert first.startswith("sma_cross on SPY, NEW, OLD, 2020-01-02 to ")
    assert rest == [
        "one portfolio of 3 symbols, a third of the cash each; --each-symbol runs each alone",
        "note: bars that begin later: NEW on 2020-06-01",
        "note: bars that end earlier: OLD on 2020-09-01",
    ]


def test_of_many_symbols_the_first_ones_are_named(started):
    event = started(symbols=[f"S{number}" for number in range(1, 11)])
    first, portfolio = describe_started(event).splitlines()
    assert first.startswith("sma_cross on SPY, S1, S2, S3, S4 and 6 more, 2020-01-02 to ")
    assert portfolio.startswith("one portfolio of 11 symbols, 1/11 of the cash each")


def test_without_market_data_the_dates_are_those_of_the_config(started):
    event = started("2020-03-01", "2020-04-01", symbols=["B"])
    object.__setattr__(event, "market_data", None)
    assert describe_started(event) == (
        "sma_cross on SPY, B, 2020-03-01 to 2020-04-01 · cash 10,000 · no costs · "
        "4 combinations · 2 workers"
    )
