"""The command line against a real gRPC server that plays scripts."""

import contextlib
import csv
import io
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys

import click.testing
import polars as pl
import pytest
from google.rpc import code_pb2
from stratsweep._version import __version__
from stratsweep.cli import main
from stratsweep.cli.option_types import AddressType
from stratsweep.v1 import optimization_event_pb2

OPTIMIZE = [
    *("optimize", "sma_cross", "--symbol", "SPY"),
    *("--param", "slow=50,100", "--param", "fast=5:10:5", "--where", "fast < slow"),
]


@pytest.fixture
def run(server):
    """Run a command against the scripted server."""

    def run(*arguments, server_arguments=("--server", server.address)):
        runner = click.testing.CliRunner()
        return runner.invoke(main, [*arguments, *server_arguments])

    return run


@pytest.fixture
def private_server(server, stand_in):
    """Let the private server be a program that gives the scripted server's address as its own."""
    stand_in(
        "import sys; print('arguments', *sys.argv[1:], file=sys.stderr, flush=True)\n"
        f"print('listening on {server.address}', flush=True)\n"
        "sys.stdin.read()"
    )


def lines(text):
    return [line.split() for line in text.splitlines() if line.strip()]


def test_a_table_of_the_ranking_is_printed(run, server, script):
    server.steps = script.whole()
    result = run(*OPTIMIZE)
    assert result.exit_code == 0
    header, _, first, second, third, caption = lines(result.stdout)
    assert header[:4] == ["rank", "slow", "fast", "sharpe_ratio"]
    assert first[:4] == ["1", "100", "5", "1.5000"]
    assert second[:4] == ["2", "50", "5", "0.5000"]
    assert third[:4] == ["3", "100", "10", "-"]
    assert " ".join(caption) == "3 of 3 results, 1 failed, in 0.42 s · largest sharpe_ratio first"


def test_progress_goes_to_standard_error_as_plain_lines(run, server, script):
    server.steps = script.whole()
    started, *progress = run(*OPTIMIZE).stderr.splitlines()
    assert started == (
        "sma_cross on SPY, 2020-01-02 to 2020-12-31 · 253 bars · cash 10,000 · no costs · "
        "4 combinations · 2 workers"
    )
    assert progress[:3] == [
        " 25 %  1/4  1/s · best sharpe_ratio 1.5000 · 0:00:03 left",
        " 75 %  3/4  3/s · best sharpe_ratio 1.5000 · 0:00:01 left",
        "100 %  4/4  4/s · 1 failed · best sharpe_ratio 1.5000 · 0:00:01 elapsed",
    ]


def test_plain_lines_come_at_tenths_or_after_ten_seconds(run, server, script):
    server.steps = [
        script.started(total_count=1000),
        script.progress(1, total=1000, elapsed=1),
        script.progress(99, total=1000, elapsed=2),
        script.progress(100, total=1000, elapsed=3),
        script.progress(101, total=1000, elapsed=12),
        script.progress(102, total=1000, elapsed=13),
        script.progress(999, total=1000, elapsed=14),
        script.progress(1000, total=1000, elapsed=15),
        script.part(),
    ]
    shown = re.findall(r"([\d,]+)/1,000", run(*OPTIMIZE).stderr)
    assert shown == ["100", "102", "999", "1,000"]


def test_the_rate_is_of_what_runs_without_what_was_taken_over(run, server, script):
    server.steps = [
        script.started(total_count=1000, reused_count=900),
        script.progress(900, total=1000, elapsed=0.001),
        script.progress(1000, total=1000, elapsed=2),
        script.part(),
    ]
    assert run(*OPTIMIZE).stderr.splitlines()[1:3] == [
        " 90 %  900/1,000",
        "100 %  1,000/1,000  50/s · 0:00:02 elapsed",
    ]


def test_on_a_terminal_a_bar_shows_rate_failures_and_best(server, script):
    server.steps = script.whole()
    command = [sys.executable, "-m", "stratsweep.cli", *OPTIMIZE, "--server", server.address]
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
    assert "sma_cross on SPY" in shown
    assert "4/4" in shown
    assert "4/s · 1 failed · best sharpe_ratio 1.5000 · 0:00:01 elapsed" in shown


@pytest.mark.parametrize("columns", [50, 60, 80])
def test_on_a_narrow_terminal_the_count_is_never_cut(server, script, columns):
    server.steps = [
        script.started(total_count=1_000_000),
        script.progress(999_999, total=1_000_000, best=script.result_row(2, sharpe_ratio=1.5)),
        script.part(),
    ]
    command = [sys.executable, "-m", "stratsweep.cli", *OPTIMIZE, "--server", server.address]
    ours, terminal = pty.openpty()
    subprocess.run(
        command,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
        env=os.environ | {"COLUMNS": str(columns)},
        check=False,
    )
    os.close(terminal)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "999999/1000000" in shown
    plain = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", shown)
    assert max(map(len, re.split(r"[\r\n]+", plain))) <= columns


def test_failures_are_grouped_with_count_and_example(run, server, script):
    server.steps = script.failed()
    stderr = run(*OPTIMIZE).stderr
    assert (
        "4 combinations failed:\n  4 x ERROR: ValueError: bad day (for instance slow=50" in stderr
    )


def test_quiet_prints_nothing_but_the_result(run, server, script):
    server.steps = script.whole()
    result = run(*OPTIMIZE, "--quiet")
    assert result.stderr == ""
    assert "1.5000" in result.stdout


def test_a_slow_strategy_is_told_so_once_and_what_would_make_it_faster(run, server, script):
    server.catalogue = script.catalogue()
    server.steps = [
        script.started(total_count=1000),
        *(script.progress(10 * each, total=1000, elapsed=each) for each in range(1, 9)),
        script.part(),
    ]
    optimize = ("optimize", "trend", *OPTIMIZE[2:])
    notes = [line for line in run(*optimize).stderr.splitlines() if "one backtest" in line]
    (note,) = notes
    assert note.startswith(
        "one backtest takes 200 ms; 1,000 combinations take about 16 minutes on 2 workers; the "
    )
    assert note.endswith('faster: see "Many combinations at once" in docs/strategies.md')
    assert "at a time" not in run(*OPTIMIZE).stderr
    assert run(*optimize, "--quiet").stderr == ""


@pytest.mark.parametrize("quiet", [(), ("--quiet",)])
def test_what_backtests_print_on_a_private_server_is_shown_unless_quiet(
    run, server, script, stand_in, quiet
):
    stand_in(
        "import sys; print('output: fast=5 slow=50 | hello'); print('output: bye')\n"
        f"print('listening on {server.address}', flush=True)\n"
        "print('asked', *sys.argv, file=sys.stderr); sys.stdin.read()"
    )
    server.steps = script.whole()
    shown = run(*OPTIMIZE, *quiet, server_arguments=()).stderr
    assert ("fast=5 slow=50 | hello\nbye\n" in shown) is not bool(quiet)
    assert not quiet or shown == ""


def test_combinations_that_give_something_else_when_they_run_again_are_named(run, server, script):
    server.steps = script.whole()  # whatever is asked: alone, each has the metrics of the best
    server.steps[0].event.started.labels["desk"] = "rates"
    result = run(*OPTIMIZE, "--check-repeats", "10", "--label", "desk=rates")
    assert result.exit_code == 0
    assert [dict(request.labels) for request in server.requests] == [{"desk": "rates"}] * 4
    found = result.stderr.partition("2 of 3 combinations gave other results")[2].splitlines()
    assert found[1].startswith("  slow=50, fast=5: sharpe_ratio 0.5000, then 1.5000; total_ret")
    assert found[2].startswith("  slow=100, fast=10: sharpe_ratio -, then 1.5000; total_return 0,")
    assert found[2].endswith("; and 1 more")
    first, *repeated = [request.config for request in server.requests]
    assert first.max_ranked_results == 0
    values = [[each.integer_list.values[0] for each in one.parameters] for one in repeated]
    assert values == [[100, 10], [50, 5], [100, 5]]
    assert "other results" in run(*OPTIMIZE, "--check-repeats", "10", "--quiet").stderr


def test_a_ranking_is_not_lost_where_combinations_cannot_run_again(run, server, script, statuses):
    busy = statuses["status"](code_pb2.RESOURCE_EXHAUSTED, "too many optimizations")

    def refuse_what_follows(context):
        server.steps = [busy]

    server.steps = [*script.whole(), refuse_what_follows]
    result = run(*OPTIMIZE, "--check-repeats", "2")
    assert result.exit_code == 0
    assert "error: they could not all run again: too many optimizations" in result.stderr
    assert "1.5000" in result.stdout


def test_what_ran_again_with_the_same_results_is_said_unless_quiet(run, server, script):
    server.steps = script.whole()
    arguments = (*OPTIMIZE, "--check-repeats", "1")
    assert "1 combination ran again" in run(*arguments).stderr
    assert run(*arguments, "--quiet").stderr == ""


def test_json_carries_what_came_of_running_combinations_again(run, server, script, tmp_path):
    server.steps = script.whole()
    path = tmp_path / "out.json"
    printed = run(*OPTIMIZE, "--check-repeats", "2", "--format", "json", "--output", str(path))
    check = json.loads(printed.stdout)["repeat_check"]
    assert check["checked_count"] == 2
    (found,) = check["differences"]
    assert found["parameters"] == {"slow": 100, "fast": 10}
    assert found["metrics"]["sharpe_ratio"] == [None, 1.5]
    assert json.loads(path.read_text())["repeat_check"] == check


def test_json_is_one_document_with_the_designs_keys(run, server, script):
    server.steps = script.whole()
    document = json.loads(run(*OPTIMIZE, "--format", "json").stdout)
    assert list(document) == [
        "optimization_id",
        "labels",
        "state",
        "config",
        "market_data",
        "total_count",
        "succeeded_count",
        "failed_count",
        "unqualified_count",
        "without_target_count",
        "ranked_results",
        "failures",
    ]
    assert document["state"] == "SUCCEEDED"
    assert document["config"] == {
        "strategy": "sma_cross",
        "symbols": ["SPY"],
        "start_date": "2020-01-02",
        "end_date": "2020-12-31",
        "parameters": {"slow": [50, 100], "fast": {"start": 5, "stop": 10, "step": 5}},
        "constraints": ["fast < slow"],
        "optimization_target": "sharpe_ratio",
        "direction": "MAXIMIZE",
        "backtest_timeout": 300.0,
        "starting_cash": 10000.0,
        "commission": 0.0,
        "slippage": 0.0,
        "max_ranked_results": 0,
        "warm_up_bar_count": 0,
        "seed": 0,
        "timezone": "",
        "requirements": [],
    }
    assert document["ranked_results"][0] == {
        "rank": 1,
        "combination_index": 2,
        "parameters": {"slow": 100, "fast": 5},
        "metrics": {"sharpe_ratio": 1.5, "total_return": 0.25, "trade_count": 12},
    }
    assert document["failures"] == [
        {
            "combination_index": 1,
            "parameters": {"slow": 50, "fast": 10},
            "kind": "ERROR",
            "message": "ValueError: bad day",
        }
    ]


def test_csv_has_a_column_for_each_parameter_and_metric(run, server, script):
    server.steps = script.whole()
    rows = list(csv.DictReader(io.StringIO(run(*OPTIMIZE, "--format", "csv").stdout)))
    assert rows[2] == {
        "rank": "3",
        "combination_index": "3",
        "slow": "100",
        "fast": "10",
        "sharpe_ratio": "",
        "total_return": "0.0",
        "trade_count": "0",
    }


def test_output_files_hold_every_result(run, server, script, tmp_path):
    server.steps = script.whole()
    paths = [tmp_path / f"out.{suffix}" for suffix in ("json", "csv", "parquet")]
    outputs = [argument for path in paths for argument in ("--output", str(path))]
    result = run(*OPTIMIZE, *outputs)
    assert result.exit_code == 0
    assert server.requests[0].config.max_ranked_results == 0
    assert len(json.loads(paths[0].read_text())["ranked_results"]) == 3
    assert pl.read_parquet(paths[2]).equals(pl.read_csv(paths[1]))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.xlsx", "end the name with .json, .csv, .parquet"),
        ("missing/out.json", "there is no directory"),
        ("folder.csv", "is a directory"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_running(
    run, server, tmp_path, name, message
):
    (tmp_path / "folder.csv").mkdir()
    result = run(*OPTIMIZE, "--output", str(tmp_path / name))
    assert result.exit_code == 2
    assert message in result.stderr
    assert server.requests == []


def test_parquet_without_a_library_is_refused_before_running(run, server, tmp_path, monkeypatch):
    monkeypatch.setattr("stratsweep.cli.output_files._installed", lambda module: False)
    result = run(*OPTIMIZE, "--output", str(tmp_path / "out.parquet"))
    assert result.exit_code == 2
    assert "pip install polars" in result.stderr
    assert server.requests == []


def test_a_file_that_fails_to_be_written_costs_neither_the_others_nor_the_ranking(
    run, server, script, tmp_path
):
    folder, other = tmp_path / "folder", tmp_path / "other.csv"
    folder.mkdir()
    server.steps = [lambda context: folder.rmdir(), *script.whole()]
    result = run(*OPTIMIZE, "--output", str(folder / "out.json"), "--output", str(other))
    assert result.exit_code == 1
    assert "out.json was not written: No such file or directory" in result.stderr
    assert other.exists()
    assert "1.5000" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "limit"),
    [
        ((), 20),
        (("--format", "json"), 0),
        (("--format", "csv"), 0),
        (("--top", "3"), 3),
        (("--top", "3", "--format", "json"), 3),
        (("--top", "3", "--output", "out.csv"), 0),
        (("--top", "3", "--output", "out.csv", "--output-top", "2"), 3),
        (("--top", "3", "--output", "out.csv", "--output-top", "5"), 5),
        (("--output", "out.csv", "--output-top", "5"), 20),
        (("--format", "csv", "--output", "out.csv", "--output-top", "5"), 0),
    ],
)
def test_no_more_rows_travel_than_are_printed_or_written(
    run, server, script, arguments, limit, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    server.steps = script.whole()
    assert run(*OPTIMIZE, *arguments).exit_code == 0
    assert server.requests[0].config.max_ranked_results == limit


@pytest.mark.parametrize("output_format", ["table", "json", "csv"])
def test_top_limits_what_is_printed_and_files_hold_every_row(
    run, server, script, tmp_path, output_format
):
    server.steps = script.whole()
    paths = [tmp_path / f"out.{suffix}" for suffix in ("json", "csv", "parquet")]
    outputs = [argument for path in paths for argument in ("--output", str(path))]
    result = run(*OPTIMIZE, "--top", "1", "--format", output_format, *outputs)
    counts = {
        "table": lambda text: len(re.findall(r"^ +\d+  ", text, re.MULTILINE)),
        "json": lambda text: len(json.loads(text)["ranked_results"]),
        "csv": lambda text: len(text.splitlines()) - 1,
    }
    assert counts[output_format](result.stdout) == 1
    assert counts["json"](paths[0].read_text()) == counts["csv"](paths[1].read_text()) == 3
    assert len(pl.read_parquet(paths[2])) == 3


def test_output_top_limits_files_and_not_what_is_printed(run, server, script, tmp_path):
    server.steps = script.whole()
    paths = [tmp_path / f"out.{suffix}" for suffix in ("json", "csv", "parquet")]
    outputs = [argument for path in paths for argument in ("--output", str(path))]
    result = run(*OPTIMIZE, "--output-top", "2", "--format", "json", *outputs)
    assert len(json.loads(result.stdout)["ranked_results"]) == 3
    assert len(json.loads(paths[0].read_text())["ranked_results"]) == 2
    assert len(paths[1].read_text().splitlines()) == 3
    assert pl.read_parquet(paths[2]).equals(pl.read_csv(paths[1]))


@pytest.fixture
def existing(tmp_path):
    """Two files of before."""
    paths = [tmp_path / "out.json", tmp_path / "out.csv"]
    for path in paths:
        path.write_text("of before")
    return paths


def test_a_file_that_exists_is_refused_before_anything_runs(run, server, script, existing):
    server.steps = script.whole()
    outputs = [argument for path in existing for argument in ("--output", str(path))]
    result = run(*OPTIMIZE, *outputs)
    assert result.exit_code == 2
    assert f"{existing[0]} and {existing[1]} exist; --overwrite replaces them" in result.stderr
    assert server.requests == []
    assert [path.read_text() for path in existing] == ["of before"] * 2


def test_overwrite_replaces_a_file_and_keeps_its_permissions(run, server, script, existing):
    server.steps = script.whole()
    existing[0].chmod(0o640)
    link = existing[0].with_name("link.json")
    link.symlink_to(existing[0])
    result = run(*OPTIMIZE, "--output", str(link), "--overwrite")
    assert result.exit_code == 0
    assert link.is_symlink()
    assert json.loads(existing[0].read_text())["state"] == "SUCCEEDED"
    assert existing[0].stat().st_mode & 0o777 == 0o640


def interrupt(process: subprocess.Popen) -> None:
    """Press Ctrl-C until it is heard: not where it comes just before the answer is waited for."""
    for _ in range(10):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
            return


@pytest.mark.parametrize(
    ("answer", "exit_code"),
    [
        (lambda process, keyboard: os.write(keyboard, b"y\n"), 0),
        (lambda process, keyboard: os.write(keyboard, b"n\n"), 2),
        (lambda process, keyboard: interrupt(process), 130),
    ],
    ids=["yes", "no", "Ctrl-C"],
)
def test_on_a_terminal_it_is_asked_before_a_file_is_replaced(
    server, script, existing, answer, exit_code
):
    server.steps = script.whole()
    command = [sys.executable, "-m", "stratsweep.cli", *OPTIMIZE, "--server", server.address]
    command += ["--output", str(existing[0])]
    ours, terminal = pty.openpty()
    with subprocess.Popen(
        command, stdin=terminal, stdout=subprocess.DEVNULL, stderr=terminal
    ) as process:
        shown = b""
        while b"Replace it?" not in shown:
            shown += os.read(ours, 1000)
        answer(process, ours)
    os.close(terminal)
    os.close(ours)
    assert process.returncode == exit_code
    assert len(server.requests) == (exit_code == 0)
    assert (existing[0].read_text() == "of before") == (exit_code != 0)


def test_a_file_is_as_it_was_until_all_of_it_is_written(run, server, script, existing, monkeypatch):
    def full(path, *arguments, **options):
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    server.steps = script.whole()
    result = run(*OPTIMIZE, "--output", str(existing[0]), "--overwrite")
    assert result.exit_code == 1
    assert f"{existing[0]} was not written: No space left on device" in result.stderr
    assert existing[0].read_text() == "of before"
    assert sorted(existing[0].parent.iterdir()) == sorted(existing)


def test_a_new_file_has_the_permissions_that_others_get(run, server, script, tmp_path):
    server.steps = script.whole()
    (tmp_path / "plain").touch()
    run(*OPTIMIZE, "--output", str(tmp_path / "out.csv"))
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_columns_are_the_metrics_of_the_table_in_that_order(run, server, script):
    server.steps = script.whole()
    result = run(*OPTIMIZE, "--columns", "trade_count, sharpe_ratio")
    header, _, first, *_ = lines(result.stdout)
    assert header == ["rank", "slow", "fast", "trade_count", "sharpe_ratio"]
    assert first == ["1", "100", "5", "12", "1.5000"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("sharp_ratio", "'sharp_ratio' is no metric; did you mean 'sharpe_ratio'?"),
        ("cagr,,", "a name is missing"),
        ("zzz", "'zzz' is no metric; there are sharpe_ratio, total_return, max_drawdown"),
    ],
)
def test_columns_that_no_backtest_reports_are_refused(run, server, script, columns, message):
    server.steps = [script.started(), server.hang]
    result = run(*OPTIMIZE, "--columns", columns)
    assert result.exit_code == 2
    assert message in result.stderr
    if server.requests:
        server.wait_until_ended()


def test_columns_of_an_engine_that_declares_none_are_taken(run, server, script):
    server.steps = script.whole()
    server.steps[0].event.started.ClearField("metrics")
    header, _, first, *_ = lines(run(*OPTIMIZE, "--columns", "total_return,odd").stdout)
    assert header[3:] == ["total_return", "odd"]
    assert first[3:] == ["0.2500", "-"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--columns", "cagr", "--format", "csv"), "--columns is for the table"),
        (("--output-top", "3"), "--output-top is for the files of --output"),
        (("--each-symbol", "--check-repeats", "3"), "--check-repeats is for one optimization"),
    ],
)
def test_options_that_would_change_nothing_are_refused(run, server, arguments, message):
    result = run(*OPTIMIZE, *arguments)
    assert (result.exit_code, server.requests) == (2, [])
    assert message in result.stderr


def test_after_the_table_one_line_says_what_to_do_next(run, server, script, tmp_path):
    server.steps = script.whole()
    assert run(*OPTIMIZE).stderr.splitlines()[-1] == (
        "all rows in a file: --output results.csv · other metrics: --columns max_drawdown,…"
    )
    path = tmp_path / "out.csv"
    last = run(*OPTIMIZE, "--output", str(path)).stderr.splitlines()[-1]
    assert last.startswith(f"written: {path} · other metrics: ")
    assert "--columns" not in run(*OPTIMIZE, "--format", "json").stderr


def test_every_option_reaches_the_request(run, server, script):
    server.steps = script.whole()
    run(
        *OPTIMIZE,
        *("--symbol", "AAPL", "--target", "cagr", "--minimize", "--timeout", "2.5"),
        *("--from", "2020-02-03", "--to", "2020-11-30", "--cash", "5000"),
        *("--commission", "0.001", "--slippage", "0.0005", "--warm-up", "200", "--seed", "7"),
        *("--label", "desk=rates", "--label", "note=a=b, c"),
        *("--timezone", "America/New_York"),
        *("--require", "trade_count >= 30", "--require", "cagr > 0"),
    )
    (request,) = server.requests
    config = request.config
    assert (config.strategy, list(config.symbols)) == ("sma_cross", ["SPY", "AAPL"])
    assert [parameter.name for parameter in config.parameters] == ["slow", "fast"]
    assert list(config.constraints) == ["fast < slow"]
    assert (config.optimization_target, config.direction) == ("cagr", 2)
    assert config.backtest_timeout.ToMilliseconds() == 2500
    assert config.date_range.start_date == "2020-02-03"
    assert config.date_range.end_date == "2020-11-30"
    assert (config.starting_cash, config.commission, config.slippage) == (5000, 0.001, 0.0005)
    assert (config.warm_up_bar_count, config.seed) == (200, 7)
    assert request.labels == {"desk": "rates", "note": "a=b, c"}
    assert config.timezone == "America/New_York"
    assert list(config.requirements) == ["trade_count >= 30", "cagr > 0"]
    assert request.progress_interval.ToMilliseconds() == 100


@pytest.mark.parametrize(("options", "direction"), [([], 3), (["--maximize"], 1)])
def test_the_metrics_better_end_is_asked_for_unless_another_is(
    run, server, script, options, direction
):
    server.steps = script.whole()
    run(*OPTIMIZE, *options)
    assert server.requests[0].config.direction == direction


def test_not_both_ends_can_be_first(run, server):
    result = run(*OPTIMIZE, "--maximize", "--minimize")
    assert result.exit_code == 2
    assert "--maximize and --minimize: give one of them" in result.stderr
    assert server.requests == []


def test_nothing_to_rank_exits_with_3(run, server, script):
    server.steps = script.failed()
    result = run(*OPTIMIZE)
    assert result.exit_code == 3
    assert result.stdout == ""
    *_, heading, traceback, last = result.stderr.splitlines()
    assert (heading, traceback) == ("The first one's traceback:", "Traceback …")
    assert last == "error: nothing could be ranked: every backtest failed"


def test_nothing_to_rank_is_still_a_json_document(run, server, script):
    server.steps = script.failed()
    result = run(*OPTIMIZE, "--format", "json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["state"] == "FAILED"


def test_an_optimization_that_the_server_stopped_exits_with_130(run, server, script):
    state = optimization_event_pb2.OPTIMIZATION_STATE_CANCELLED
    rows = [script.result_row(0, rank=1, sharpe_ratio=1.0)]
    server.steps = [script.started(), script.part(rows, state=state)]
    result = run(*OPTIMIZE)
    assert result.exit_code == 130
    assert "the ranking is partial" in result.stderr
    assert "1" in result.stdout


def test_an_end_that_only_a_newer_server_knows_is_no_success(run, server, script):
    rows = [script.result_row(0, rank=1, sharpe_ratio=1.0)]
    server.steps = [script.started(), script.part(rows, state=99)]
    result = run(*OPTIMIZE)
    assert (result.exit_code, result.exception.__class__) == (3, SystemExit)


def test_a_server_that_is_stopped_in_the_middle_exits_with_130(run, server, script, statuses):
    info = statuses["error_info"]("DRAINING")
    stopped = statuses["status"](code_pb2.UNAVAILABLE, "the server was stopped", info)
    server.steps = [script.started(), stopped]
    result = run(*OPTIMIZE, "--quiet")
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == (
        "error: the server was stopped, after 0 of 4 backtests (optimization opt-1)\n"
        "What has completed is not lost; go on with: stratsweep resume opt-1 "
        f"--server {server.address}\n"
    )


def test_a_server_that_is_about_to_stop_exits_with_4(run, server, statuses):
    info = statuses["error_info"]("DRAINING")
    server.steps = [statuses["status"](code_pb2.UNAVAILABLE, "the server is shutting down", info)]
    result = run(*OPTIMIZE)
    assert (result.exit_code, result.stderr) == (4, "error: the server is shutting down\n")


def test_each_violation_has_its_own_line_in_words_of_the_command_line(run, server, statuses):
    server.steps = [
        statuses["invalid_config"](
            ("parameters[1].integer_range.step", "is 0; make it positive"),
            ("starting_cash", "is -1; make it positive"),
            ("labels", "are 17; 16 are allowed"),
            ("labels['desk']", "has a value with a NUL character; leave it out"),
        )
    ]
    result = run(*OPTIMIZE)
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "error: the server refused the request:",
        "  --param fast: step is 0; make it positive",
        "  --cash: is -1; make it positive",
        "  --label: are 17; 16 are allowed",
        "  --label desk: has a value with a NUL character; leave it out",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("optimize", "sma_cross"),
        (*OPTIMIZE, "--param", "fast=1,2"),
        (*OPTIMIZE, "--label", "desk=a", "--label", "desk=b"),
        (*OPTIMIZE, "--label", "desk"),
        (*OPTIMIZE, "--label", "=rates"),
        (*OPTIMIZE, "--param", "other=1:2"),
        (*OPTIMIZE, "--from", "yesterday"),
        (*OPTIMIZE, "--to", "2020-02-30"),
        (*OPTIMIZE, "--top", "0"),
        (*OPTIMIZE, "--top", "99999999999"),
        (*OPTIMIZE, "--timeout", "soon"),
        (*OPTIMIZE, "--timeout", "inf"),
        (*OPTIMIZE, "--timeout", "nan"),
        (*OPTIMIZE, "--timeout", "1e30"),
        (*OPTIMIZE, "--connect-timeout", "-1"),
        (*OPTIMIZE, "--connect-timeout", "nan"),
        (*OPTIMIZE, "--workers", "0"),
        (*OPTIMIZE, "--data", "."),
        (*OPTIMIZE, "--data", "no such folder"),
        (*OPTIMIZE, "--workers", "2"),
        (*OPTIMIZE, "--engine", "mine:engine"),
        (*OPTIMIZE, "--strategies", "mine"),
        ("strategies", "--data", "."),
    ],
)
def test_bad_usage_exits_with_2_before_anything_is_sent(run, server, arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    assert server.requests == []


def test_to_wait_for_a_private_server_is_bad_usage(run):
    result = run(*OPTIMIZE, "--connect-timeout", "1", server_arguments=())
    assert result.exit_code == 2
    assert "--connect-timeout is for the server at --server" in result.stderr


@pytest.mark.parametrize(
    "address",
    ["", "nonsense", "host:", ":50051", "host:0", "host:99999", "http://127.0.0.1:50051", "h:1/x"],
)
def test_what_is_no_address_is_bad_usage(run, address):
    result = run(*OPTIMIZE, server_arguments=("--server", address))
    assert result.exit_code == 2
    assert "write host:port, such as 127.0.0.1:50051, or unix:PATH" in result.stderr


@pytest.mark.parametrize("address", ["[::1]:50051", "unix:server.sock", "dns-name.example:443"])
def test_other_forms_of_an_address_are_taken(address):
    assert AddressType().convert(address, None, None) == address


def test_a_server_that_is_not_there_exits_with_4_and_says_what_to_do(run):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        nobody = ("--server", address, "--connect-timeout", "0")
        result = run(*OPTIMIZE, server_arguments=nobody)
    assert result.exit_code == 4
    assert f"Is a server running at {address}?" in result.stderr


def test_a_busy_server_exits_with_4(run, server, statuses):
    info = statuses["error_info"]("TOO_MANY_OPTIMIZATIONS")
    server.steps = [statuses["status"](code_pb2.RESOURCE_EXHAUSTED, "it runs 64 already", info)]
    result = run(*OPTIMIZE)
    assert (result.exit_code, result.stderr) == (4, "error: it runs 64 already\n")


def test_a_defect_of_the_server_exits_with_1(run, server, statuses):
    info = statuses["error_info"]("INTERNAL", error_id="5f0c2d")
    server.steps = [statuses["status"](code_pb2.INTERNAL, "internal error 5f0c2d", info)]
    result = run(*OPTIMIZE)
    assert (result.exit_code, result.stderr) == (1, "error: internal error 5f0c2d (INTERNAL)\n")


def test_ctrl_c_cancels_the_call_and_says_how_far_it_got(server, script):
    row = script.result_row(2, sharpe_ratio=1.5)
    server.steps = [script.started(), script.progress(3, row, failed=1, best=row), server.hang]
    command = [sys.executable, "-m", "stratsweep.cli", *OPTIMIZE, "--server", server.address]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if "3/4" in line:
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert rest == (
        "interrupted after 3 of 4 backtests (1 failed); best so far: slow=100, fast=5\n"
    )
    server.wait_until_ended()


def test_without_a_server_a_private_one_is_started(run, server, script, private_server):
    server.steps = script.whole()
    result = run(*OPTIMIZE, server_arguments=("--data", ".", "--workers", "2"))
    assert result.exit_code == 0
    assert "1.5000" in result.stdout


def test_a_private_server_that_fails_shows_the_end_of_its_log(
    run, server, script, private_server, tmp_path
):
    server.steps = [script.started()]
    options = (
        "--workers",
        "2",
        "--engine",
        "mine:engine",
        "--strategies",
        "a",
        "--strategies",
        "b",
    )
    result = run(*OPTIMIZE, server_arguments=("--data", str(tmp_path), *options))
    assert result.exit_code == 1
    assert result.stderr.splitlines()[1] == (
        "error: the stream ended before the last part of the result, after 0 of 4 backtests "
        "(optimization opt-1)"
    )
    listen = re.search(r"--listen unix:(\S+)", result.stderr)[1]
    assert result.stderr.endswith(
        f"--exit-on-stdin-eof --private --data {tmp_path} --workers 2 --engine mine:engine "
        "--strategies a --strategies b\n"
    )
    assert not os.path.exists(os.path.dirname(listen))  # noqa: PTH110, PTH120 - text from a log


def test_a_private_server_that_does_not_start_exits_with_4(run, stand_in):
    stand_in("import sys; sys.exit('no such folder: prices')")
    result = run(*OPTIMIZE, server_arguments=("--data", "."))
    assert result.exit_code == 4
    assert "exit code 1\nno such folder: prices" in result.stderr


def test_sigterm_stops_the_private_server_and_clears_its_folder(
    server, script, private_server, tmp_path
):
    server.steps = [script.started(), server.hang]
    command = [sys.executable, "-m", "stratsweep.cli", *OPTIMIZE, "--data", "."]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment) as process:
        process.stderr.readline()
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 143
    assert not list(tmp_path.glob("stratsweep-*"))
    server.wait_until_ended()


def test_a_reader_that_goes_away_ends_the_command_quietly(server, script):
    server.steps = script.whole()
    command = [sys.executable, "-m", "stratsweep.cli", *OPTIMIZE, "--quiet"]
    command += ["--server", server.address]
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert process.returncode == 128 + signal.SIGPIPE
    assert process.stderr == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_full_disk_behind_standard_output_is_an_error(server, script):
    server.steps = script.whole()
    command = [sys.executable, "-m", "stratsweep.cli", *OPTIMIZE, "--quiet"]
    command += ["--server", server.address]
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        process = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert process.returncode == 1
    assert process.stderr == "error: [Errno 28] No space left on device\n"


def test_an_unknown_symbol_of_a_private_server_names_the_folder(
    run, server, statuses, private_server, tmp_path
):
    info = statuses["error_info"]("UNKNOWN_SYMBOL")
    server.steps = [statuses["status"](code_pb2.NOT_FOUND, "no bars for the symbol 'SPY'", info)]
    result = run(*OPTIMIZE, server_arguments=("--data", str(tmp_path)))
    assert result.exit_code == 2
    assert result.stderr.endswith(f"The price files are those in {tmp_path} (--data).\n")


def test_serve_becomes_the_server_with_its_own_options(stand_in):
    stand_in("import sys; print(*sys.argv[1:]); sys.exit(7)")
    command = [sys.executable, "-m", "stratsweep.cli", "serve", "--workers", "2", "--help", "-x"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.stdout == "--workers 2 --help -x\n"
    assert process.returncode == 7


def test_strategies_are_shown_as_tables(run, server, script):
    server.catalogue = script.catalogue()
    result = run("strategies")
    assert result.exit_code == 0
    rows = [" ".join(line) for line in lines(result.stdout)]
    assert "sma_cross Two averages." in rows
    assert "fast integer 10 1 or more Bars of the fast average." in rows
    assert "sharpe_ratio mean over deviation" in rows
    assert "SPY 253 2020-01-02 2020-12-31 were turned round" in rows
    assert "BROKEN 0 row 7: high below low" in rows


def test_symbols_have_their_dates_in_their_zone_which_is_named_where_it_is_not_utc(
    run, server, script
):
    server.catalogue = script.catalogue()
    symbol = server.catalogue.symbols.add(
        name="ES", bar_count=9, timezone="America/New_York", error=""
    )
    symbol.first_bar_time.FromJsonString("2024-01-02T14:30:00Z")
    symbol.last_bar_time.FromJsonString("2024-07-02T04:00:00Z")
    rows = [" ".join(line) for line in lines(run("strategies").stdout)]
    assert "ES 9 2024-01-02 09:30 2024-07-02 America/New_York" in rows
    assert any(row.startswith("SPY 253 2020-01-02 2020-12-31") for row in rows)
    [header] = [row for row in rows if row.startswith("symbol")]
    assert header == "symbol bars first last zone"
    document = json.loads(run("strategies", "--format", "json").stdout)
    assert document["symbols"][2]["first_bar_time"] == "2024-01-02T09:30:00-05:00"
    assert document["symbols"][2]["timezone"] == "America/New_York"


def test_a_zone_that_this_machine_does_not_know_is_shown_as_utc(run, server, script):
    server.catalogue = script.catalogue()
    server.catalogue.symbols[0].timezone = "Moon/Tycho"
    rows = [" ".join(line) for line in lines(run("strategies").stdout)]
    assert any(row.startswith("SPY 253 2020-01-02 2020-12-31") for row in rows)


def test_what_was_loaded_is_shown_and_what_has_changed_since(run, server, script):
    server.catalogue = script.catalogue()
    lines = run("strategies").stdout.splitlines()
    (fresh,) = [line for line in lines if line.split()[:1] == ["helpers.py"]]
    (stale,) = [line for line in lines if line.split()[:2] == ["ideas/trend.py", "trend"]]
    for line in (fresh, stale):
        assert "2026-03-02 09:00:00   2026-03-01 23:59:59   0123456789ab" in line
    assert "SIGHUP" not in fresh
    assert stale.endswith("has changed since: SIGHUP or a restart loads it")


def test_a_catalogue_without_symbols_says_so(run, server, script):
    catalogue = script.catalogue()
    catalogue.ClearField("symbols")
    server.catalogue = catalogue
    assert "There are no symbols: " in run("strategies").stdout


def test_strategies_are_shown_as_json(run, server, script):
    server.catalogue = script.catalogue()
    document = json.loads(run("strategies", "--format", "json").stdout)
    assert list(document) == [
        "strategies",
        "metrics",
        "symbols",
        "accepts_any_strategy",
        "sources",
    ]
    assert document["strategies"][1]["source"] == document["sources"][1]["module"] == "ideas.trend"
    assert document["sources"][1] == {
        "module": "ideas.trend",
        "file": "ideas/trend.py",
        "digest": "0123456789abcdef" * 4,
        "load_time": "2026-03-02T09:00:00+00:00",
        "modification_time": "2026-03-01T23:59:59+00:00",
        "is_stale": True,
    }
    assert document["strategies"][0]["parameters"][0] == {
        "name": "fast",
        "type": "INTEGER",
        "default": 10,
        "minimum": 1.0,
        "maximum": None,
        "choices": [],
        "description": "Bars of the fast average.",
    }
    assert document["symbols"][0]["first_bar_time"] == "2020-01-02T00:00:00+00:00"


def test_one_strategy_is_shown_with_where_it_is_from_and_a_command_to_begin_with(
    run, server, script
):
    server.catalogue = script.catalogue()
    shown = run("strategies", "sma_cross").stdout
    assert shown.startswith("sma_cross\nTwo averages.\n")
    rows = [" ".join(line) for line in lines(shown)]
    assert "fast integer 10 1 or more Bars of the fast average." in rows
    assert "It comes with the engine." in rows
    assert shown.endswith(
        f"  stratsweep optimize sma_cross --server {server.address} --symbol SPY "
        "--param fast=5:20:5\n"
    )
    own = run("strategies", "trend").stdout
    assert "It has no parameters.\n" in own
    assert "From ideas/trend.py, module ideas.trend, loaded 2026-03-02 09:00:00 UTC; it has" in own


def test_one_strategy_as_json_is_what_the_whole_list_has_of_it(run, server, script):
    server.catalogue = script.catalogue()
    whole = json.loads(run("strategies", "--format", "json").stdout)
    for strategy in whole["strategies"]:
        one = run("strategies", strategy["name"], "--format", "json").stdout
        assert json.loads(one) == strategy
        assert one.count("\n") == 1


def test_a_strategy_that_there_is_not_exits_with_2_and_names_the_nearest(run, server, script):
    server.catalogue = script.catalogue()
    result = run("strategies", "sma_kross")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "there is no strategy 'sma_kross'; the nearest: sma_cross" in result.stderr
    assert "there are sma_cross, trend" in run("strategies", "zzz").stderr
    server.catalogue.ClearField("strategies")
    server.catalogue.accepts_any_strategy = True
    assert "does not say which strategies it has" in run("strategies", "any").stderr


PARAMETERS = "Parameters of sma_cross:\n  fast  Bars of the fast average.  [integer: 1 or more; "


@pytest.mark.parametrize("place", [1, 2])
def test_the_help_for_a_strategy_lists_its_parameters_wherever_help_is_asked_for(
    run, server, script, place
):
    server.catalogue = script.catalogue()
    words = ["optimize", "sma_cross"]
    result = run(*words[:place], "--help", *words[place:])
    assert result.exit_code == 0
    assert PARAMETERS in result.stdout
    assert "--param NAME=VALUES" in result.stdout
    assert result.stdout.index("Parameters of") < result.stdout.index("Example:")
    assert "Parameters of trend:\n  none\n" in run("optimize", "trend", "--help").stdout


@pytest.mark.usefixtures("private_server")
def test_a_private_server_is_asked_for_the_parameters_where_no_other_is_named(run, server, script):
    server.catalogue = script.catalogue()
    result = run("optimize", "sma_cross", "--help", server_arguments=("--strategies", "x.py"))
    assert PARAMETERS in result.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["sma_kross"], "there is no strategy 'sma_kross'; the nearest: sma_cross"),
        (["sma_cross", "--data", "."], "--data is for the private server"),
    ],
)
def test_help_without_the_parameters_says_why(run, server, script, arguments, reason):
    server.catalogue = script.catalogue()
    result = run("optimize", *arguments, "--help")
    assert result.exit_code == 0
    assert result.stderr.startswith(f"note: the parameters of {arguments[0]} cannot be shown: ")
    assert reason in result.stderr
    assert "Parameters of" not in result.stdout
    assert "--param NAME=VALUES" in result.stdout


def test_help_for_a_strategy_of_a_server_that_does_not_start_is_help_with_a_note(run, stand_in):
    stand_in("import sys; sys.exit('no room')")
    result = run("optimize", "sma_cross", "--help", server_arguments=())
    assert result.exit_code == 0
    assert "cannot be shown: the server ended with exit code 1" in result.stderr
    assert "--param NAME=VALUES" in result.stdout


def test_help_for_no_strategy_starts_no_server_and_a_mistake_beside_it_is_one(run, stand_in):
    stand_in("raise AssertionError")
    result = run("optimize", "--help", server_arguments=())
    assert (result.exit_code, result.stderr) == (0, "")
    assert run("optimize", "sma_cross", "--hlep", server_arguments=()).exit_code == 2


def test_the_example_of_the_help_is_one_command_when_pasted(run):
    text = run("optimize", "--help", server_arguments=()).stdout
    *lines, last = text.partition("Example:\n")[2].splitlines()
    assert all(line.endswith(" \\") for line in lines)
    assert last.endswith('--where "fast < slow"')


def test_the_help_documents_the_exit_codes(run):
    text = run("--help", server_arguments=()).stdout
    assert re.findall(r"^    (\d+) ", text, re.MULTILINE) == ["0", "1", "2", "3", "4", "130", "141"]


def test_the_version_is_the_distributions(run):
    assert run("--version", server_arguments=()).stdout == f"stratsweep, version {__version__}\n"
