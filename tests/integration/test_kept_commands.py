"""Optimizations that are kept, by the real program: shown, watched, cancelled, gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from stratsweep import ServerProcess

from examples.demo import write_synthetic_market

ROOT = Path(__file__).parents[2]
PROGRAM = str(Path(sysconfig.get_path("scripts")) / "stratsweep")
GRID = ("--param", "fast=5:50:5", "--param", "slow=20:200:20", "--where", "fast < slow")
SCRIPTED = ("--engine", "tests.engines:ScriptedEngine")


@pytest.fixture
def state(tmp_path, monkeypatch) -> Path:
    """Where the commands of a test keep optimizations."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "kept"))
    return tmp_path / "kept" / "stratsweep"


@pytest.fixture(scope="module")
def prices(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("prices")
    write_synthetic_market(folder / "SYNTH.csv")
    return folder


def begin(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [PROGRAM, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def begun(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The program while it runs; killed at the end of the block."""
    with begin(*arguments) as process:
        try:
            yield process
        finally:
            process.kill()


def stratsweep(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    process = begin(*arguments)
    output, log = process.communicate()
    return subprocess.CompletedProcess(arguments, process.returncode, output, log)


def document_of(process: subprocess.CompletedProcess[str]) -> dict:
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def hanging(folder: Path, *arguments: str) -> tuple[str, ...]:
    """A command that runs ten backtests, of which one never ends."""
    return (
        *("optimize", "sleep@9", "--symbol", str(folder), "--target", "score"),
        *("--param", "x=0:9:1", *arguments),
    )


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"{text} never came")


def test_what_a_command_has_printed_another_prints_later(state, prices, tmp_path):
    first = stratsweep(
        *("optimize", "sma_cross", *GRID, "--data", str(prices), "--symbol", "SYNTH"),
        *("--id", "one", "--label", "desk=rates", "--format", "json"),
    )
    assert first.stderr.splitlines()[-1] == "kept: stratsweep show one"
    again = stratsweep("show", "o", "--format", "json", "--output", str(tmp_path / "all.csv"))
    assert document_of(again) == document_of(first)
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 91
    (listed,) = json.loads(stratsweep("list", "--label", "desk=rates", "--format", "json").stdout)
    assert (listed["optimization_id"], listed["state"]) == ("one", "SUCCEEDED")
    assert (listed["total_count"], listed["completed_count"]) == (90, 90)
    sorted_anew = stratsweep(
        *("show", "one", "--sort", "trade_count", "--require", "trade_count >= 8"),
        *("--format", "json", "--top", "3"),
    )
    target = stratsweep(
        *("optimize", "sma_cross", *GRID, "--data", str(prices), "--symbol", "SYNTH", "--reuse"),
        *("--target", "trade_count", "--require", "trade_count >= 8", "--format", "json"),
        *("--top", "3", "--quiet"),
    )
    anew, ranked = document_of(sorted_anew), document_of(target)
    assert anew["ranked_results"] == ranked["ranked_results"]
    for name in ("unqualified_count", "without_target_count", "succeeded_count"):
        assert anew[name] == ranked[name]
    assert stratsweep("delete", "one").returncode == 0


def test_nothing_is_kept_where_it_is_not_to_be(state, prices):
    result = stratsweep(
        *("optimize", "sma_cross", *GRID, "--data", str(prices), "--symbol", "SYNTH"),
        *("--state", "none"),
    )
    assert result.returncode == 0
    assert "kept:" not in result.stderr
    assert not state.exists()


def test_ctrl_c_keeps_what_has_completed_and_the_rest_is_run_later(state, tmp_path):
    files = ["--output", str(tmp_path / "out.csv")]
    with begun(*hanging(tmp_path, *SCRIPTED, "--workers", "2", "--id", "one", *files)) as process:
        wait_for(process, " 90 % ")
        process.send_signal(signal.SIGINT)
        output, log = process.communicate()
    assert process.returncode == 130
    assert len(output.splitlines()) > 9
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 10
    assert "9 of 10 backtests completed; the ranking is partial" in log
    assert log.splitlines()[-2] == "kept: stratsweep show one"
    assert log.splitlines()[-1].startswith("the rest: stratsweep resume one --")
    shown = document_of(stratsweep("show", "one", "--format", "json"))
    assert (shown["state"], len(shown["ranked_results"])) == ("CANCELLED", 9)


def test_what_is_detached_is_watched_and_cancelled_where_it_runs(state, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with ServerProcess([*SCRIPTED, "--workers", "2"]) as server:
        at = ("--server", server.address)
        started = stratsweep(*hanging(tmp_path, *at, "--id", "night", "--detach"))
        assert (started.returncode, started.stdout) == (0, "night\n")
        with begun("watch", "night") as watching:  # no server: it is found in the store
            wait_for(watching, " 90 % ")
            cancelled = stratsweep("cancel", "nig", "--reason", "enough")
            assert cancelled.stdout.startswith("cancelled night: sleep@9 on ")
            output, _ = watching.communicate()
        assert watching.returncode == 130
        assert len(output.splitlines()) > 9
        (listed,) = json.loads(stratsweep("list", *at, "--format", "json").stdout)
        assert (listed["state"], listed["message"]) == ("CANCELLED", "enough")


def test_of_what_stands_still_a_watcher_is_told_how_to_go_on_and_no_log(
    state, tmp_path, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with ServerProcess([*SCRIPTED, "--workers", "2"]) as server:
        at = ("--server", server.address)
        stratsweep(*hanging(tmp_path, *at, "--id", "night", "--detach"))
        with begun("watch", "night") as watching:
            wait_for(watching, " 90 % ")
        os.kill(server.process_id, signal.SIGKILL)
    watched = stratsweep("watch", "night")
    assert watched.returncode == 1
    assert "night stands still" in watched.stderr
    assert watched.stderr.splitlines()[-1] == "go on with it: stratsweep resume night"
    cancelled = stratsweep("cancel", "night")
    assert cancelled.stdout.endswith(", 9 of 10 backtests\n")
