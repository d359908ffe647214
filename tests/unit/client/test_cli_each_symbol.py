"""`stratsweep optimize --each-symbol` against a real gRPC server that plays scripts."""

import csv
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading

import click.testing
import polars as pl
import pytest
from google.rpc import code_pb2
from stratsweep.cli import main
from stratsweep.v1 import (
    optimization_config_pb2,
    optimization_event_pb2,
    optimization_service_pb2,
)

WAIT_SECONDS = 20
EACH = [
    *("optimize", "sma_cross", "--each-symbol", "--symbol", "SPY", "--symbol", "AAPL"),
    *("--param", "slow=50,100", "--param", "fast=5:10:5", "--where", "fast < slow"),
]


@pytest.fixture
def run(server):
    """Run a command against the scripted server."""

    def run(*arguments):
        runner = click.testing.CliRunner()
        return runner.invoke(main, [*arguments, "--server", server.address])

    return run


@pytest.fixture
def other(script):
    """A stream of an optimization whose best is another one."""
    rows = [script.result_row(1, rank=1, sharpe_ratio=2.5, max_drawdown=0.125, trade_count=3)]
    return [script.started(), script.progress(4, *rows, best=rows[0]), script.part(rows)]


@pytest.fixture
def refused(statuses):
    return [statuses["invalid_config"](("config.symbols[0]", "no bars for the symbol 'BAD'"))]


def rows_of(text):
    return [line.split() for line in text.splitlines()]


def test_each_symbol_has_a_ranking_and_a_row_of_the_summary(run, server, script, other):
    server.steps_of = {"SPY": script.whole(), "AAPL": other}
    result = run(*EACH)
    assert result.exit_code == 0
    rows = rows_of(result.stdout)
    assert rows.index(["SPY"]) < rows.index(["AAPL"])
    assert ["1", "100", "5", "1.5000", "25.00%", "12"] in rows
    assert rows[-4:] == [
        ["symbol", "best", "sharpe_ratio", "max_drawdown", "trade_count", "failed"],
        rows[-3],
        ["SPY", "slow=100,", "fast=5", "1.5000", "-", "12", "1"],
        ["AAPL", "slow=50,", "fast=10", "2.5000", "12.50%", "3", "0"],
    ]
    assert sorted(tuple(each.config.symbols) for each in server.requests) == [("AAPL",), ("SPY",)]
    assert all(each.config.max_ranked_results == 5 for each in server.requests)


def test_progress_is_a_line_for_each_symbol_and_the_same_heading_once(run, server, script, other):
    server.steps_of = {"SPY": script.whole(), "AAPL": other}
    heading, first, second, *rest = run(*EACH).stderr.splitlines()
    assert heading == (
        "sma_cross on each of 2 symbols alone: SPY, AAPL · cash 10,000 · no costs · "
        "4 combinations · 2 workers"
    )
    assert re.match(r" 50 %  1/2  (SPY|AAPL), 2020-01-02 to 2020-12-31 · 253 bars · ", first)
    assert second.startswith("100 %  2/2  ")
    assert any(line.endswith("1 failed · best sharpe_ratio 1.5000") for line in (first, second))
    assert rest[0] == "SPY: 1 combination failed:"


def test_dates_beyond_the_bars_are_noted_below_the_symbol(run, server, script, other):
    dates = optimization_config_pb2.DateRange(start_date="1990-01-01", end_date="2030-01-01")
    server.steps_of = {"SPY": [script.started(date_range=dates), *script.whole()[1:]]}
    server.steps_of["AAPL"] = other
    lines = run(*EACH).stderr.splitlines()
    place = next(number for number, line in enumerate(lines) if "SPY, 2020-01-02" in line)
    assert [line.strip() for line in lines[place + 1 : place + 3]] == [
        "note: the bars begin on 2020-01-02, after --from 1990-01-01",
        "note: the bars end on 2020-12-31, before --to 2030-01-01",
    ]
    assert sum("note:" in line for line in lines) == 2


def test_json_is_an_array_in_the_order_of_the_symbols(run, server, script, other, refused):
    server.steps_of = {"SPY": script.whole(), "AAPL": other, "BAD": refused}
    result = run(*EACH, "--symbol", "BAD", "--format", "json", "--quiet")
    spy, aapl, bad = json.loads(result.stdout)
    assert (spy["symbol"], aapl["symbol"]) == ("SPY", "AAPL")
    assert len(spy["ranked_results"]) == 3
    assert aapl["ranked_results"][0]["parameters"] == {"slow": 50, "fast": 10}
    assert bad["symbol"] == "BAD"
    assert (bad["error"]["kind"], bad["error"]["reason"]) == (
        "InvalidConfigError",
        "INVALID_CONFIG",
    )
    assert bad["error"]["violations"] == [
        {"field": "--symbol BAD", "description": "no bars for the symbol 'BAD'"}
    ]


def test_csv_and_files_are_one_table_with_the_symbol_first(run, server, script, other, tmp_path):
    server.steps_of = {"SPY": script.whole(), "AAPL": other}
    paths = [tmp_path / f"out.{suffix}" for suffix in ("json", "csv", "parquet")]
    outputs = [argument for path in paths for argument in ("--output", str(path))]
    result = run(*EACH, "--format", "csv", "--top", "2", *outputs)
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [(row["symbol"], row["rank"]) for row in rows] == [
        *(("SPY", "1"), ("SPY", "2"), ("AAPL", "1"))
    ]
    assert [row["trade_count"] for row in rows] == ["12", "7", "3"]
    assert [row["total_return"] for row in rows] == ["0.25", "0.125", ""]
    assert [len(each["ranked_results"]) for each in json.loads(paths[0].read_text())] == [3, 1]
    table = pl.read_parquet(paths[2])
    assert table.columns[:3] == ["symbol", "rank", "combination_index"]
    assert table["symbol"].to_list() == ["SPY"] * 3 + ["AAPL"]
    assert pl.read_csv(paths[1]).equals(table)


def test_a_symbol_without_a_ranking_stops_no_other_and_is_told_by_exit_code_3(
    run, server, script, other, refused
):
    server.steps_of = {"SPY": script.failed(), "AAPL": other, "BAD": refused}
    result = run(*EACH, "--symbol", "BAD")
    assert result.exit_code == 3
    spy, aapl, bad = rows_of(result.stdout)[-3:]
    assert spy == ["SPY", "nothing", "ranked", "-", "-", "-", "4"]
    assert aapl[0] == "AAPL"
    assert bad == ["BAD", "refused", "-", "-", "-", "-"]
    assert "error: SPY: every backtest failed" in result.stderr
    assert "error: BAD: the server refused the request:\n  --symbol BAD: no bars" in result.stderr


def test_when_all_are_refused_the_exit_code_is_that_of_bad_usage(run, server, refused, tmp_path):
    server.steps = refused
    path = tmp_path / "out.csv"
    assert run(*EACH, "--output", str(path)).exit_code == 2
    assert path.read_text() == "symbol,rank,combination_index\n"


def test_a_server_that_is_gone_exits_with_4_after_what_had_ended(run, server, script, statuses):
    info = statuses["error_info"]("DRAINING")
    gone = [statuses["status"](code_pb2.UNAVAILABLE, "the server is shutting down", info)]
    server.steps, server.steps_of = gone, {"SPY": script.whole()}
    result = run(*EACH)
    assert result.exit_code == 4
    assert result.stderr.splitlines()[-1] == "error: the server is shutting down"


def test_an_optimization_that_the_server_stopped_exits_with_130(run, server, script, other):
    state = optimization_event_pb2.OPTIMIZATION_STATE_CANCELLED
    rows = [script.result_row(0, rank=1, sharpe_ratio=1.0)]
    server.steps_of = {"SPY": [script.started(), script.part(rows, state=state)], "AAPL": other}
    result = run(*EACH)
    assert result.exit_code == 130
    assert "error: SPY: stopped; the ranking is partial" in result.stderr


def test_columns_that_no_backtest_reports_are_refused(run, server, script):
    server.steps = script.whole()
    result = run(*EACH, "--columns", "sharp_ratio")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "did you mean 'sharpe_ratio'?" in result.stderr


def test_labels_are_those_of_each_optimization(run, server, script):
    server.steps = script.whole()
    assert run(*EACH, "--label", "desk=rates").exit_code == 0
    assert [dict(each.labels) for each in server.requests] == [{"desk": "rates"}] * 2


def test_quiet_prints_nothing_but_the_rankings(run, server, script, other):
    server.steps_of = {"SPY": script.whole(), "AAPL": other}
    result = run(*EACH, "--quiet")
    assert result.stderr == ""
    assert "2.5000" in result.stdout


def test_ctrl_c_leaves_a_server_that_cannot_cancel_and_says_how_far_it_got(server, script, other):
    server.steps_of = {"AAPL": other, "SPY": [script.started(), server.hang_alone]}
    command = [sys.executable, "-m", "stratsweep.cli", *EACH, "--server", server.address]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if "1/2" in line:
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert (process.returncode, rest) == (130, "interrupted after 1 of 2 symbols\n")
    assert server.ended_alone.wait(WAIT_SECONDS)


def test_ctrl_c_stops_what_runs_and_prints_and_writes_all_that_has_completed(
    server, script, other, tmp_path
):
    stopped = threading.Event()
    cancelled = []

    def cancel(request, _context):
        cancelled.append((request.optimization_id, request.reason))
        stopped.set()
        return optimization_service_pb2.CancelOptimizationResponse()

    server.players["CancelOptimization"] = cancel
    state = optimization_event_pb2.OPTIMIZATION_STATE_CANCELLED
    rows = [script.result_row(0, rank=1, sharpe_ratio=1.5)]
    server.steps_of = {
        "AAPL": other,
        "SPY": [
            script.started(),
            script.progress(1, *rows),
            lambda _: stopped.wait(WAIT_SECONDS),
            script.part(rows, state=state, message="interrupted by Ctrl-C"),
        ],
    }
    path = tmp_path / "out.csv"
    command = [sys.executable, "-m", "stratsweep.cli", *EACH, "--server", server.address]
    command += ["--output", str(path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stderr:
            if "1/2" in line:
                break
        process.send_signal(signal.SIGINT)
        output, rest = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 130
    assert cancelled == [("opt-1", "interrupted by Ctrl-C")]
    assert "interrupted after 1 of 2 symbols" in rest
    assert "error: SPY: stopped: interrupted by Ctrl-C; the ranking is partial" in rest.splitlines()
    assert ["SPY", "slow=50,", "fast=5", "1.5000"] in [row[:4] for row in rows_of(output)]
    assert len(path.read_text().splitlines()) == 3


def test_on_a_terminal_a_bar_counts_the_symbols(server, script, other):
    server.steps_of = {"SPY": script.whole(), "AAPL": other}
    command = [sys.executable, "-m", "stratsweep.cli", *EACH, "--server", server.address]
    ours, terminal = pty.openpty()
    process = subprocess.run(
        command,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
        env=os.environ | {"COLUMNS": "120"},
        check=False,
    )
    os.close(terminal)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert process.returncode == 0
    assert "2/2 symbols" in shown
    assert "sma_cross on each of 2 symbols alone" in shown
