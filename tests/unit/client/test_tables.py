"""The ranking as a person reads it."""

import re
import sys
from dataclasses import replace

import pytest
from stratsweep import (
    Metric,
    MetricUnit,
    OptimizationDirection,
    ParameterResult,
    StratsweepError,
    SymbolResult,
)
from stratsweep._assembler import EventAssembler
from stratsweep._formatting import format_figures
from stratsweep.cli.ranking_table import ranking_table, summary_table

WIDE = "  rank   slow   fast   sharpe_ratio   total_return   max_drawdown   trade_count"
NEEDED = ["rank", "slow", "fast", "sharpe_", "max_"]


@pytest.fixture
def result(script):
    messages = script.whole()
    for row in messages[-1].event.result.ranked_results:
        row.metrics["max_drawdown"] = 0.1234
    assembler = EventAssembler()
    for message in messages:
        assembler.feed(message)
    return assembler.finished_result()


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    return lambda columns: monkeypatch.setenv("COLUMNS", str(columns))


def lines(result, *arguments):
    table = ranking_table(result, 20, *arguments)
    return [line.rstrip() for line in re.sub(r"\x1b\[[\d;]*m", "", table).splitlines()]


def test_without_a_terminal_nothing_is_left_out(result):
    assert lines(result)[0] == WIDE


def test_headings_are_broken_before_a_metric_is_left_out(result, terminal):
    terminal(len(WIDE) + 2)
    assert lines(result)[0] == WIDE
    terminal(len(WIDE) + 1)
    first, second, rule, *_ = lines(result)
    assert first.split() == ["sharpe_", "total_", "max_", "trade_"]
    assert second.split() == ["rank", "slow", "fast", "ratio", "return", "drawdown", "count"]
    assert len(rule) < len(WIDE)


def test_target_and_drawdown_are_shown_on_any_terminal_and_no_figure_is_cut(result, terminal):
    for columns in range(24, len(WIDE) + 3):
        terminal(columns)
        shown = lines(result)
        assert all(len(line) <= max(columns, 44) for line in shown[:-3])
        (first,) = [line.split() for line in shown if re.match(r" +1  ", line)]
        assert (first[:4], "12.34%" in first) == (["1", "100", "5", "1.5000"], True)
        assert "…" not in "".join(shown)


def test_the_line_below_says_which_end_is_first(result):
    smallest = replace(
        result, config=replace(result.config, direction=OptimizationDirection.MINIMIZE)
    )
    assert lines(smallest)[-1].endswith(" · smallest sharpe_ratio first")


def test_what_is_left_out_and_what_lacks_the_target_is_counted(result):
    definition = "Mean over deviation (Sharpe 1994). Absent without deviation."
    metrics = (Metric("sharpe_ratio", definition, MetricUnit.RATIO),)
    short = replace(result, unqualified_count=1_200, without_target_count=1, metrics=metrics)
    *_, counts, reason = lines(short)
    assert counts == (
        "3 of 3 results, 1 failed, 1,200 left out by requirements, 1 without sharpe_ratio, "
        "in 0.42 s · largest sharpe_ratio first"
    )
    assert reason == "sharpe_ratio is absent without deviation; what lacks it is last"


def test_no_line_below_the_table_is_wider_than_the_terminal(result, terminal):
    terminal(60)
    short = replace(result, unqualified_count=1_200, without_target_count=100)
    below = lines(short)[-6:]
    assert "3 of 3 results, 1 failed, 1,200 left out by requirements," in below
    assert "largest sharpe_ratio first" in below
    assert max(map(len, below)) <= 60


def test_where_nobody_says_when_the_target_is_absent_it_has_no_finite_value(result):
    short = replace(result, without_target_count=2, metrics=())
    assert lines(short)[-1] == (
        "sharpe_ratio has no finite value in some results; what lacks it is last"
    )


def test_metrics_are_left_out_from_the_last_one_on_and_named(result, terminal):
    terminal(48)
    shown = lines(result)
    assert shown[-2:] == ["not shown in 48 columns: total_return,", "trade_count"]
    assert shown[-4:-2] == ["3 of 3 results, 1 failed, in 0.42 s", "largest sharpe_ratio first"]
    terminal(len(WIDE) + 2)
    assert lines(result)[-1] == "3 of 3 results, 1 failed, in 0.42 s · largest sharpe_ratio first"


def test_a_summary_leaves_out_failures_and_trades_before_anything_else(result, terminal):
    ends = [SymbolResult("SPY", result), SymbolResult("BAD", error=StratsweepError("no"))]
    seen = []
    for columns in (120, 60, 50):
        terminal(columns)
        text = re.sub(r"\x1b\[[\d;]*m", "", summary_table(ends))
        assert max(map(len, text.splitlines())) <= columns
        seen.append([name in text for name in ("slow=100, fast=5", "drawdown", "count", "failed")])
    assert seen == [[True] * 4, [True, True, True, False], [True, True, False, False]]


def test_each_metric_is_written_as_its_unit_is(result):
    rows = list(result.ranked)
    rows[1] = replace(rows[1], metrics=rows[1].metrics | {"final_equity": 1234567.891})
    metrics = ["sharpe_ratio", "total_return", "trade_count", "final_equity"]
    _, _, first, second, third, *_ = lines(replace(result, ranked=rows), metrics)
    assert first.split()[3:] == ["1.5000", "25.00%", "12", "-"]
    assert second.split()[3:] == ["0.5000", "12.50%", "7", "1,234,567.89"]
    assert third.split()[3:] == ["-", "0.00%", "0", "-"]


@pytest.mark.parametrize(
    ("unit", "values", "shown"),
    [
        (
            MetricUnit.FRACTION,
            [0.25, None, -0.0000001, 12.5],
            ["25.00%", "-", "0.00%", "1,250.00%"],
        ),
        (MetricUnit.FRACTION, [0.00021, 0.00003], ["0.0210%", "0.0030%"]),
        (MetricUnit.CURRENCY, [1234.5, -0.004], ["1,234.50", "0.00"]),
        (MetricUnit.CURRENCY, [0.0123], ["0.0123"]),
        (MetricUnit.COUNT, [1234.0, 7.0], ["1,234", "7"]),
        (MetricUnit.COUNT, [7.5, 7.0], ["7.50", "7.00"]),
        (MetricUnit.DAYS, [31.0, 4.0], ["31", "4"]),
        (MetricUnit.DAYS, [31.25, 4.0], ["31.2", "4.0"]),
        (MetricUnit.RATIO, [1.0, 0.99811], ["1.0000", "0.9981"]),
        (MetricUnit.RATIO, [1.0, 2000.0], ["1.00", "2,000.00"]),
        (MetricUnit.UNSPECIFIED, [1000.0, 7.0], ["1,000", "7"]),
        (MetricUnit.UNSPECIFIED, [0.5, 7.0], ["0.5000", "7.0000"]),
        (MetricUnit.UNSPECIFIED, [1e20, 7.0], ["1e+20", "7"]),
        (MetricUnit.RATIO, [1e-20], ["1e-20"]),
        (MetricUnit.RATIO, [0.0], ["0.0000"]),
        (MetricUnit.RATIO, [], []),
    ],
)
def test_all_figures_of_a_column_have_one_format(unit, values, shown):
    assert format_figures(values, unit) == shown


def test_a_ranking_of_an_engine_that_declares_nothing_is_shown(result):
    rows = [ParameterResult(0, {"x": 1}, {"score": 7.0}, rank=1)]
    config = replace(result.config, optimization_target="score")
    undeclared = replace(result, ranked=rows, metrics=(), config=config)
    assert [line.split() for line in lines(undeclared)[:3:2]] == [
        ["rank", "x", "score"],
        ["1"] * 2 + ["7"],
    ]


def test_a_metric_has_the_name_that_markup_would_swallow(result):
    rows = [ParameterResult(0, {}, {"[bold]": 1.0}, rank=1)]
    named = replace(result, ranked=rows, metrics=(Metric("[bold]", ""),))
    assert lines(named, ["[bold]"])[0].split() == ["rank", "[bold]"]
