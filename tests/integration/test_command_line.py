"""The command line as people and programs use it: the real program, real servers, real bars."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import os
import pty
import re
import shlex
import signal
import socket
import subprocess
import sys
import sysconfig
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from stratsweep import Client, ServerProcess
from stratsweep.cli.example_command import example_values
from stratsweep.cli.parameters import parse_values

from examples.demo import write_synthetic_market
from tests.stand_ins import dropped_connections
from tests.waiting import until

ROOT = Path(__file__).parents[2]
PROGRAM = str(Path(sysconfig.get_path("scripts")) / "stratsweep")
GRID = (
    *("--param", "fast=5:50:5", "--param", "slow=20:200:20"),
    *("--where", "fast < slow", "--target", "sharpe_ratio"),
)
SCRIPTED = ("--engine", "tests.engines:ScriptedEngine", "--target", "score")
NOBODY = "127.0.0.1:1"

needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")


def stratsweep(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    return subprocess.run(
        [PROGRAM, *arguments],
        **{"capture_output": True, "stdin": subprocess.DEVNULL, "cwd": ROOT, "text": True}
        | options,
        check=False,
    )


def crossover(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    """Optimize the crossover of two averages over 90 combinations."""
    return stratsweep("optimize", "sma_cross", *GRID, *arguments, **options)


def strict_json(text: str) -> dict:
    """Parse JSON as other languages do: without NaN and infinities."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def ranking_of(process: subprocess.CompletedProcess[str]) -> list[dict]:
    assert process.returncode == 0, process.stderr
    return strict_json(process.stdout)["ranked_results"]


def table_rows(text: str) -> list[list[str]]:
    """The rows of a printed ranking, without its header and caption."""
    return [line.split() for line in text.splitlines() if re.match(r" +\d+  ", line)]


@pytest.fixture(scope="module")
def prices(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("prices")
    write_synthetic_market(folder / "SYNTH.csv")
    return folder


@pytest.fixture(scope="module")
def market(prices) -> Iterator[str]:
    """The address of a server with the default engine."""
    with ServerProcess(["--data", str(prices), "--workers", "2"]) as server:
        yield server.address


@pytest.fixture(scope="module")
def scripted() -> Iterator[str]:
    """The address of a server whose backtests do what the strategy's name says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        engine = ["--engine", "tests.engines:ScriptedEngine"]
        with ServerProcess([*engine, "--workers", "2"]) as server:
            yield server.address


@pytest.fixture(scope="module")
def real_market(real_data) -> Iterator[str]:
    """The address of a server with real bars."""
    with ServerProcess(["--data", str(real_data), "--workers", "2"]) as server:
        yield server.address


# What is shown on real bars.


def test_one_command_ends_with_a_ranking(real_data):
    process = crossover("--data", str(real_data), "--symbol", "SPY")
    assert process.returncode == 0, process.stderr
    rows = table_rows(process.stdout)
    assert [row[0] for row in rows] == [str(rank) for rank in range(1, 21)]
    assert rows[0][1:3] == ["10", "200"]
    assert "20 of 90 results, 0 failed" in process.stdout
    assert "90 combinations (10 more rejected by constraints)" in process.stderr


@pytest.mark.parametrize(
    ("symbols", "start_date", "end_date"),
    [
        (("SPY",), "1998-01-02", "2021-03-31"),
        (("BTCUSD",), "2014-12-01", "2018-08-13"),
        (("SPY_1h",), "1998-01-02", "2021-03-31"),
        (("SPY", "AAPL"), "1998-01-02", "2021-03-31"),
    ],
)
def test_json_is_one_strict_document_with_the_effective_config(
    real_market, symbols, start_date, end_date
):
    options = [option for symbol in symbols for option in ("--symbol", symbol)]
    process = crossover("--server", real_market, *options, "--format", "json")
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("\n") == 1
    document = strict_json(process.stdout)
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
        "symbols": list(symbols),
        "start_date": start_date,
        "end_date": end_date,
        "parameters": {
            "fast": {"start": 5, "stop": 50, "step": 5},
            "slow": {"start": 20, "stop": 200, "step": 20},
        },
        "constraints": ["fast < slow"],
        "optimization_target": "sharpe_ratio",
        "direction": "MAXIMIZE",
        "backtest_timeout": 300.0,
        "starting_cash": 10_000.0,
        "commission": 0.0,
        "slippage": 0.0,
        "max_ranked_results": 0,
        "warm_up_bar_count": 0,
        "seed": 0,
        "timezone": "UTC",
        "requirements": [],
    }
    counts = [document[name] for name in ("total_count", "succeeded_count", "failed_count")]
    assert counts == [90, 90, 0]
    assert document["failures"] == []
    rows = document["ranked_results"]
    assert [row["rank"] for row in rows] == list(range(1, 91))
    assert all(list(row) == ["rank", "combination_index", "parameters", "metrics"] for row in rows)
    assert {tuple(row["parameters"]) for row in rows} == {("fast", "slow")}
    order = [(-row["metrics"]["sharpe_ratio"], row["combination_index"]) for row in rows]
    assert order == sorted(order)


# What programs read.


def test_every_format_tells_the_same(market, tmp_path):
    paths = [tmp_path / f"ranking.{suffix}" for suffix in ("json", "csv", "parquet")]
    outputs = [option for path in paths for option in ("--output", str(path))]
    process = crossover("--server", market, "--symbol", "SYNTH", "--format", "json", *outputs)
    rows = ranking_of(process)
    assert paths[0].read_text() == process.stdout

    flat = [
        {key: row[key] for key in ("rank", "combination_index")}
        | row["parameters"]
        | row["metrics"]
        for row in rows
    ]
    table = pl.read_parquet(paths[2])
    assert table.rows(named=True) == [dict.fromkeys(table.columns) | row for row in flat]
    assert pl.read_csv(paths[1]).equals(table)

    printed = crossover("--server", market, "--symbol", "SYNTH", "--format", "csv")
    assert printed.stdout == paths[1].read_text()


def test_each_symbol_alone_gives_what_it_gives_alone(tmp_path):
    write_synthetic_market(tmp_path / "ONE.csv")
    first, *bars = (tmp_path / "ONE.csv").read_text().splitlines(keepends=True)
    (tmp_path / "TWO.csv").write_text("".join([first, *bars[500:]]))
    symbols = ("--symbol", "ONE", "--symbol", "TWO", "--symbol", "NONE")
    with ServerProcess(["--data", str(tmp_path), "--workers", "2"]) as server:
        to_server = ("--server", server.address, "--format", "json")
        each = crossover(*to_server, *symbols, "--each-symbol")
        alone = [crossover(*to_server, "--symbol", symbol) for symbol in ("ONE", "TWO")]
        portfolio = crossover(*to_server, *symbols[:4])
    assert each.returncode == 3
    *found, none = strict_json(each.stdout)
    assert [document["ranked_results"] for document in found] == list(map(ranking_of, alone))
    assert found[1]["market_data"]["bar_count"] == 1_000
    assert none["error"]["reason"] == "UNKNOWN_SYMBOL"
    assert "one portfolio of 2 symbols, half of the cash each" in portfolio.stderr
    assert "note: bars that begin later: TWO on 2019-" in portfolio.stderr


def test_a_private_server_and_one_that_runs_give_the_same(market, prices):
    private = crossover("--data", str(prices), "--symbol", "SYNTH", "--format", "json")
    shared = crossover("--server", market, "--symbol", "SYNTH", "--format", "json")
    assert ranking_of(private) == ranking_of(shared)
    first, second = strict_json(private.stdout), strict_json(shared.stdout)
    assert first.pop("optimization_id") != second.pop("optimization_id")
    assert first == second


def test_the_ranking_is_the_same_for_any_number_of_workers(prices):
    rankings = [
        ranking_of(
            crossover(
                *("--data", str(prices), "--symbol", "SYNTH", "--format", "json"),
                *("--workers", workers),
            )
        )
        for workers in ("1", "2", "4")
    ]
    assert rankings[0] == rankings[1] == rankings[2]


def test_the_target_can_be_minimized_over_a_part_of_the_bars(market):
    process = crossover(
        *("--server", market, "--symbol", "SYNTH", "--format", "json"),
        *("--target", "max_drawdown", "--minimize", "--from", "2019-01-01", "--to", "2019-12-31"),
        *("--commission", "0.001", "--slippage", "0.0005", "--cash", "500", "--top", "5"),
    )
    rows = ranking_of(process)
    drawdowns = [row["metrics"]["max_drawdown"] for row in rows]
    assert drawdowns == sorted(drawdowns)
    assert len(rows) == 5
    config = strict_json(process.stdout)["config"]
    assert (config["start_date"], config["end_date"]) == ("2019-01-01", "2019-12-31")
    assert (config["commission"], config["slippage"], config["starting_cash"]) == (
        0.001,
        0.0005,
        500.0,
    )


def test_days_and_times_are_those_of_the_zone_that_the_folder_or_the_command_names(tmp_path):
    times = [f"2024-03-{day:02} {hour:02}:00" for day in range(8, 13) for hour in (0, 9, 16, 23)]
    rows = [f"{time},{number},{number},{number},{number}" for number, time in enumerate(times, 9)]
    (tmp_path / "H.csv").write_text("\n".join(["Time,Open,High,Low,Close", *rows]))
    (tmp_path / "stratsweep.toml").write_text('timezone = "America/New_York"\n')
    with ServerProcess(["--data", str(tmp_path), "--workers", "1"]) as server:
        at = ("--server", server.address)

        def effective(*options: str) -> tuple[str, dict]:
            asked = ("--symbol", "H", "--from", "2024-03-10", "--format", "json")
            process = stratsweep("optimize", "buy_and_hold", *at, *asked, *options)
            assert process.returncode == 0, process.stderr
            return process.stderr, strict_json(process.stdout)["config"]

        shown, config = effective("--to", "2024-03-11")
        assert "8 bars" in shown
        assert config["timezone"] == "America/New_York"
        shown, config = effective("--timezone", "Asia/Tokyo")
        assert "12 bars" in shown
        assert (config["timezone"], config["end_date"]) == ("Asia/Tokyo", "2024-03-12")

        catalogue = stratsweep("strategies", *at).stdout
        assert re.search(r"H +20 +2024-03-08 +2024-03-12 23:00 +America/New_York", catalogue)

        asked = ("--symbol", "H", "--timezone", "New York")
        process = stratsweep("optimize", "buy_and_hold", *at, *asked)
        assert process.returncode == 2
        assert "  --timezone: 'New York' is not a time zone" in process.stderr
        assert "America/New_York" in process.stderr


def test_failures_are_named_and_the_rest_is_ranked(scripted):
    process = stratsweep(
        *("optimize", "raise@3,exit@5", "--server", scripted, "--symbol", "ANY"),
        *("--param", "x=0:9:1", "--target", "score", "--format", "json"),
    )
    document = strict_json(process.stdout)
    assert process.returncode == 0
    assert [row["parameters"]["x"] for row in document["ranked_results"]] == [
        *(9, 8, 7, 6, 4, 2, 1, 0)
    ]
    raised, exited = document["failures"]
    assert raised == {
        "combination_index": 3,
        "parameters": {"x": 3},
        "kind": "ERROR",
        "message": "ValueError: no luck with 3",
    }
    assert (exited["parameters"], exited["kind"]) == ({"x": 5}, "CRASHED")
    assert "1 x ERROR: ValueError: no luck with 3 (for instance x=3)" in process.stderr


def test_what_can_be_run_is_listed(market):
    process = stratsweep("strategies", "--server", market)
    assert process.returncode == 0
    for name in ("sma_cross", "buy_and_hold", "fast", "sharpe_ratio", "SYNTH", "2018-01-01"):
        assert re.search(rf"\b{name}\b", process.stdout)
    assert process.stderr == ""

    document = strict_json(stratsweep("strategies", "--server", market, "--format", "json").stdout)
    assert len(document["strategies"]) == 8
    assert [symbol["name"] for symbol in document["symbols"]] == ["SYNTH"]


def test_what_can_be_run_is_listed_by_a_private_server(prices):
    process = stratsweep("strategies", "--data", str(prices))
    assert process.returncode == 0, process.stderr
    assert "SYNTH" in process.stdout


def test_the_command_that_a_strategy_is_shown_with_runs(market):
    shown = stratsweep("strategies", "bollinger_reversion", "--server", market).stdout
    program, *arguments = shlex.split(shown.splitlines()[-1])
    assert program == "stratsweep"
    assert len(ranking_of(stratsweep(*arguments, "--format", "json"))) == 16


def test_the_values_to_begin_with_are_accepted_of_every_strategy(market):
    with Client(market) as client:
        listed = client.list_strategies()
        for strategy in listed.strategies:
            values = {each.name: parse_values(example_values(each)) for each in strategy.parameters}
            assert client.validate(strategy.name, symbols="SYNTH", parameters=values).total_count


def test_a_new_strategy_runs_by_the_command_that_is_printed(prices, tmp_path):
    (tmp_path / "prices").symlink_to(prices)
    printed = stratsweep("new", "strategy", "my_idea", cwd=tmp_path).stdout
    (command,) = re.findall(r"^  stratsweep (.*)$", printed, re.MULTILINE)
    arguments = shlex.split(command.replace("SPY", "SYNTH"))
    process = stratsweep(*arguments, "--format", "json", cwd=tmp_path)
    assert len(ranking_of(process)) == 50
    assert "my_idea on SYNTH" in process.stderr


# Exit codes.


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (("--symbol", "SYNHT"), ["--symbol SYNHT: no bars for the symbol 'SYNHT'"]),
        (("--symbol", "../SYNTH"), ["--symbol ../SYNTH: '../SYNTH' is not a symbol"]),
        (
            ("--symbol", "SYNTH", "--param", "fats=1,2", "--where", "fast <", "--target", "sharp"),
            ["--param fats: ", '--where "fast <": ', "--target: 'sharp' is no metric"],
        ),
        (
            ("--symbol", "SYNTH", "--from", "2019-02-01", "--to", "2019-01-01"),
            ["--from/--to: ends on 2019-01-01, before it starts"],
        ),
        (("--symbol", "SYNTH", "--from", "2031-01-01"), ["--symbol SYNTH: SYNTH has no bars"]),
        (("--symbol", "SYNTH", "--where", "fast > 99"), ["--where: reject all 100 combinations"]),
        (
            ("--symbol", "SYNTH", "--cash", "-1", "--commission", "1", "--timeout", "0"),
            ["--cash: is -1", "--commission: is 1", "--timeout: is 0"],
        ),
    ],
)
def test_a_refused_config_exits_with_2_and_each_violation_in_words_of_the_command_line(
    market, arguments, lines
):
    process = crossover("--server", market, *arguments)
    assert process.returncode == 2
    assert process.stdout == ""
    shown = process.stderr.splitlines()
    assert shown[0] == "error: the server refused the request:"
    for line in lines:
        assert any(each.startswith(f"  {line}") for each in shown), process.stderr


def test_nothing_ranked_exits_with_3_and_says_why(scripted):
    process = stratsweep(
        *("optimize", "raise@*", "--server", scripted, "--symbol", "ANY"),
        *("--param", "x=0:2:1", "--target", "score", "--format", "json"),
    )
    assert process.returncode == 3
    assert "nothing could be ranked: all 3 backtests failed" in process.stderr
    document = strict_json(process.stdout)
    assert (document["state"], len(document["failures"])) == ("FAILED", 3)


def test_a_target_that_no_result_has_exits_with_3_and_names_those_that_there_are(scripted):
    process = stratsweep(
        *("optimize", "ok@*", "--server", scripted, "--symbol", "ANY"),
        *("--param", "x=0:2:1", "--target", "profit"),
    )
    assert process.returncode == 3
    assert "score" in process.stderr


def test_nobody_at_the_address_exits_with_4():
    process = crossover("--server", NOBODY, "--connect-timeout", "0", "--symbol", "SYNTH")
    assert process.returncode == 4
    assert f"Is a server running at {NOBODY}?" in process.stderr
    assert "Traceback" not in process.stderr


async def test_a_server_that_comes_within_the_connect_timeout_is_asked(
    tmp_path_factory, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # A short name: the path of a Unix socket has room for about a hundred characters.
    path = tmp_path_factory.mktemp("s") / "server.sock"
    command = ("strategies", "--server", f"unix:{path}", "--connect-timeout", "60")
    with dropped_connections(path) as dropped:
        waiting = asyncio.create_task(asyncio.to_thread(stratsweep, *command))
        await until(lambda: len(dropped) >= 2, "it has tried twice")
    engine = ["--engine", "tests.engines:ScriptedEngine", "--workers", "1"]
    with ServerProcess(engine, listen=f"unix:{path}"):
        listed = await waiting
    assert (listed.returncode, listed.stderr) == (0, "")


def test_an_engine_that_cannot_be_built_exits_with_4_and_says_why():
    process = stratsweep(
        *("optimize", "any", "--engine", "tests.engines:ConstructorRaises", "--symbol", "ANY"),
        *("--param", "x=1,2", "--workers", "1"),
    )
    assert process.returncode == 4
    assert process.stderr.count("error: no worker starts: engine factory") == 1
    assert process.stderr.splitlines()[-1].endswith("no licence for this engine")
    assert "tests/engines.py" in process.stderr
    assert "stratsweep_server/" not in process.stderr


def test_a_module_that_does_not_import_is_told_once_as_python_shows_it(tmp_path):
    (tmp_path / "broken.py").write_text("import math\ndays = = 3\n")
    process = stratsweep("strategies", "--strategies", "broken", "--workers", "2", cwd=tmp_path)
    assert (process.returncode, process.stdout) == (4, "")
    told = [line for line in process.stderr.splitlines() if not line.startswith("compiling")]
    what = "SyntaxError: invalid syntax"
    assert told == [
        f"error: no worker starts: module 'broken' cannot be imported: {what} (broken.py, line 2)",
        f'  File "{tmp_path / "broken.py"}", line 2',
        "    days = = 3",
        "           ^",
        what,
    ]


def test_an_address_in_use_is_an_error_of_serve_with_exit_code_4():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        process = stratsweep("serve", "--listen", address, *SCRIPTED[:2])
    assert process.returncode == 4
    assert f"cannot listen on {address}" in process.stderr


# Ends of all kinds.


@dataclass
class Running:
    """The program while it runs with a private server, and where it leaves its traces."""

    process: subprocess.Popen[str]
    notes: Path
    temporary: Path

    def processes(self) -> set[int]:
        """The pids of the program, its server and all their children."""
        mark = f"TMPDIR={self.temporary}".encode()
        found = set()
        for environment in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in environment.read_bytes().split(b"\0"):
                    found.add(int(environment.parent.name))
            except (OSError, ValueError):
                continue  # another user's, or just gone
        return found

    async def until_backtests_run(self, count: int = 2) -> None:
        """Wait for backtests; server and workers are then among `processes`."""
        await until(lambda: len(list(self.notes.glob("*.pid"))) == count, f"{count} backtests run")
        assert len(self.processes()) >= 2 + count

    async def until_all_are_gone(self) -> None:
        await until(lambda: not self.processes(), "every process is gone")


@pytest.fixture
def start(tmp_path_factory) -> Iterator:
    """Start the program on two workers whose backtests sleep."""
    # A short name: the path of a Unix socket has room for about a hundred characters.
    notes, temporary = tmp_path_factory.mktemp("notes"), tmp_path_factory.mktemp("t")
    running = []

    def start(*arguments: str) -> Running:
        process = subprocess.Popen(
            [
                *(PROGRAM, "optimize", "sleep@*", *SCRIPTED, "--symbol", str(notes)),
                *("--param", "x=0:9:1", "--workers", "2", *arguments),
            ],
            cwd=ROOT,
            env=os.environ | {"TMPDIR": str(temporary)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return Running(process, notes, temporary)

    yield start
    for process in running:
        process.kill()
        process.communicate()


@needs_proc
@pytest.mark.parametrize(
    ("number", "exit_code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
async def test_a_signal_cancels_and_leaves_no_process_and_no_file(start, number, exit_code):
    command = start()
    await command.until_backtests_run()
    command.process.send_signal(number)
    output, log = await asyncio.to_thread(command.process.communicate)
    assert command.process.returncode == exit_code
    assert output == ""
    assert "Traceback" not in log
    if number == signal.SIGINT:
        assert ": 0 of 10 backtests completed\n" in log
    assert not command.processes()
    assert list(command.temporary.iterdir()) == []


@needs_proc
@pytest.mark.parametrize("process_count", [2, 4], ids=["server", "workers"])
async def test_ctrl_c_while_something_starts_leaves_nothing_either(start, process_count):
    command = start("--engine", "tests.engines:is_never_ready")
    await until(lambda: len(command.processes()) >= process_count, "processes start")
    command.process.send_signal(signal.SIGINT)
    _, log = await asyncio.to_thread(command.process.communicate)
    assert command.process.returncode == 130
    assert log.startswith("interrupted")
    assert "Traceback" not in log
    await command.until_all_are_gone()
    assert list(command.temporary.iterdir()) == []


@needs_proc
async def test_a_command_that_is_killed_leaves_no_process(start):
    command = start()
    await command.until_backtests_run()
    command.process.kill()
    await command.until_all_are_gone()
    assert not list(command.temporary.glob("stratsweep-run-*"))


@needs_proc
async def test_a_private_server_that_is_killed_is_an_error_with_its_log(start):
    command = start()
    await command.until_backtests_run()
    server = next(pid for pid in command.processes() if is_server(pid))
    os.kill(server, signal.SIGKILL)
    _, log = await asyncio.to_thread(command.process.communicate)
    assert command.process.returncode == 1
    assert "error: the connection was lost" in log
    assert "The private server's log ends with:" in log
    await command.until_all_are_gone()


async def test_a_server_that_is_stopped_ends_the_command_with_130(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    engine = ["--engine", "tests.engines:ScriptedEngine", "--workers", "1", "--grace", "0.2"]
    optimize = ("optimize", "sleep@*", "--symbol", str(tmp_path), "--target", "score")
    with ServerProcess(engine) as server:
        running = asyncio.create_task(
            asyncio.to_thread(
                stratsweep,
                *optimize,
                "--param",
                "x=0:9:1",
                "--server",
                server.address,
                "--reconnect-timeout",
                "0",
            )
        )
        await until(lambda: any(tmp_path.glob("*.pid")), "a backtest runs")
    command = await running
    assert (command.returncode, command.stdout) == (130, "")
    assert re.search(
        r"error: the server was stopped before the end, after 0 of 10 backtests "
        r"\(optimization [0-9a-z]+\)\nWhat has completed is not lost; go on with: stratsweep ",
        command.stderr,
    )


def is_server(pid: int) -> bool:
    return b"-m\0stratsweep_server\0" in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_reader_that_goes_away_ends_the_command_quietly(market):
    arguments = ["optimize", "sma_cross", *GRID, "--server", market, "--symbol", "SYNTH"]
    reading, writing = os.pipe()
    os.close(reading)
    process = stratsweep(
        *arguments, "--quiet", capture_output=False, stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    assert process.returncode == 141
    assert process.stderr == ""


# What a person sees.


def on_a_terminal(columns: int, *arguments: str) -> tuple[int, str]:
    """Run the program on a terminal: its exit code and everything that it showed."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, columns))
    with subprocess.Popen([PROGRAM, *arguments], stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # so Linux tells the end of a terminal
            while data := os.read(ours, 65_536):
                shown += data
        os.close(ours)
    return process.returncode, shown.decode()


def test_on_a_terminal_a_bar_moves_and_the_table_fits(market):
    arguments = ["optimize", "sma_cross", *GRID, "--server", market, "--symbol", "SYNTH"]
    exit_code, shown = on_a_terminal(80, *arguments)
    assert exit_code == 0
    assert "\x1b[" in shown
    assert "90/90" in shown
    assert "best sharpe_ratio" in shown
    text = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", shown)
    assert len(table_rows(text)) == 20
    assert all(len(line) <= 80 for line in text.splitlines() if re.match(r" +\d+  ", line))


def test_without_a_terminal_progress_is_plain_lines(market):
    process = crossover("--server", market, "--symbol", "SYNTH")
    started, *_, progress, next_step, kept = process.stderr.splitlines()
    assert started.startswith("sma_cross on SYNTH, 2018-01-01 to ")
    assert kept.startswith("kept: stratsweep show ")
    assert next_step.startswith("all rows in a file: --output results.csv · ")
    assert progress.startswith("100 %  90/90  ")
    assert "\x1b" not in process.stderr + process.stdout


def test_quiet_says_nothing_beside_the_result(market):
    process = crossover("--server", market, "--symbol", "SYNTH", "--quiet")
    assert process.stderr == ""
    assert len(table_rows(process.stdout)) == 20


TALKATIVE = """
import os
import signal
import sys
from stratsweep_server.backtest import Bars, strategy

print("loaded")

@strategy
def talk(bars: Bars, fast: int = 5, ratio: float = 0.5, count: int = 1):
    for _ in range(count):
        print("positions\t\x1b[31m")
    print("careful", file=sys.stderr)
    return bars.close > 0

@strategy
def crash(bars: Bars, fast: int = 5):
    print("before")
    os.kill(os.getpid(), signal.SIGSEGV)
"""


def talk(folder: Path, prices: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a strategy that prints, on one worker."""
    (folder / "talkative.py").write_text(TALKATIVE)
    return stratsweep(
        *("optimize", *arguments, "--strategies", "talkative.py", "--symbol", "SYNTH"),
        *("--data", str(prices), "--workers", "1"),
        cwd=folder,
    )


def test_what_a_strategy_prints_is_shown_with_the_combination_that_it_is_from(tmp_path, prices):
    process = talk(tmp_path, prices, "talk", "--param", "fast=1,2", "--param", "ratio=0.5")
    shown = [line for line in process.stderr.splitlines() if " | " in line]
    assert sorted(shown) == [
        "fast=1 ratio=0.5 | careful",
        "fast=1 ratio=0.5 | positions\t�[31m",
        "fast=2 ratio=0.5 | careful",
        "fast=2 ratio=0.5 | positions\t�[31m",
    ]
    assert "loaded" in process.stderr.splitlines()
    assert "careful" not in process.stdout


def test_of_a_crash_what_was_printed_before_is_shown_and_not_what_the_interpreter_says(
    tmp_path, prices
):
    process = talk(tmp_path, prices, "crash", "--param", "fast=7")
    lines = process.stderr.splitlines()
    assert lines.count("fast=7 | before") == 2, "it is confirmed by another run"
    assert process.stderr.count("Fatal Python error") == 1, "with the failure, and only there"
    assert "CRASHED: the worker process was killed by SIGSEGV" in process.stderr


def test_what_is_left_out_of_a_flood_is_counted(tmp_path, prices):
    flood = talk(tmp_path, prices, "talk", "--param", "count=5000").stderr
    shown = flood.count("count=5000 | positions")
    (left_out,) = re.findall(r"^… ([\d,]+) more lines dropped$", flood, re.MULTILINE)
    assert 50 < shown <= 100
    assert 4_900 < int(left_out.replace(",", "")) + shown <= 5_001 + len("loaded")


def test_on_a_terminal_what_a_strategy_prints_stands_above_the_bar(tmp_path, prices):
    (tmp_path / "talkative.py").write_text(TALKATIVE)
    exit_code, shown = on_a_terminal(
        *(100, "optimize", "talk", "--strategies", str(tmp_path / "talkative.py")),
        *("--data", str(prices), "--symbol", "SYNTH", "--param", "fast=1,2", "--workers", "1"),
    )
    assert exit_code == 0
    text = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", shown)
    assert re.search(r"\rfast=1 \| careful *\r\n", text)
    assert "2/2" in text[text.rindex("careful") :]


def test_the_demo_is_deterministic_and_takes_price_files(tmp_path):
    demo = [sys.executable, str(ROOT / "examples" / "demo.py")]
    write_synthetic_market(tmp_path / "MINE.csv")
    own = subprocess.run(
        [*demo, "--data", str(tmp_path), "--symbol", "MINE"],
        capture_output=True,
        text=True,
        check=True,
    )
    synthetic = subprocess.run(demo, capture_output=True, text=True, check=True)
    assert "SYNTH is a synthetic market" in synthetic.stdout
    assert "10 of 100 results, 0 failed" in own.stdout
    assert "100/100" in own.stderr
    assert table_rows(own.stdout) == table_rows(synthetic.stdout)
    assert own.stdout.endswith("The server has stopped.\n")


@pytest.mark.parametrize("arguments", [["--data", "."], ["--symbol", "SPY"]])
def test_the_demo_wants_both_a_folder_and_a_symbol(arguments):
    demo = [sys.executable, str(ROOT / "examples" / "demo.py"), *arguments]
    process = subprocess.run(demo, capture_output=True, text=True, check=False)
    assert process.returncode == 2
    assert "both a data folder and a symbol" in process.stderr


def test_csv_has_a_row_for_each_result(market):
    process = crossover("--server", market, "--symbol", "SYNTH", "--format", "csv", "--top", "3")
    rows = list(csv.DictReader(io.StringIO(process.stdout)))
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    assert list(rows[0])[:4] == ["rank", "combination_index", "fast", "slow"]
