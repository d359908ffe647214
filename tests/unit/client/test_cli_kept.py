"""The commands for optimizations that are kept, against a server that plays scripts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from datetime import date, datetime, timedelta

import click.testing
import pytest
from google.rpc import code_pb2
from stratsweep.cli import main
from stratsweep.cli.optimization_table import short_ids
from stratsweep.v1 import (
    optimization_config_pb2,
    optimization_event_pb2,
    optimization_service_pb2,
)

from .conftest import (
    WAIT_SECONDS,
    ScriptedServer,
    arrow_stream,
    error_info,
    invalid_config,
    status,
)
from .numbering import numbered

OPTIMIZE = (
    *("optimize", "sma_cross", "--symbol", "SPY", "--id", "opt-1"),
    *("--param", "slow=50,100", "--param", "fast=5:10:5", "--where", "fast < slow"),
)
STATES = {name.lower(): value for name, value in optimization_event_pb2.OptimizationState.items()}


def state_of(name):
    return STATES[f"optimization_state_{name}"]


@pytest.fixture
def run(server):
    """Run a command against the scripted server."""

    def run(*arguments):
        return click.testing.CliRunner().invoke(main, [*arguments, "--server", server.address])

    return run


@pytest.fixture
def keep(server, script):
    """Let the server keep one optimization, which stands as it is given."""

    def keep(state="succeeded", **changes):
        stand = script.optimization(state_of(state), **changes)
        server.players["GetOptimization"] = lambda request, context: (
            optimization_service_pb2.GetOptimizationResponse(optimization=stand)
            if request.optimization_id == "opt-1"
            else context.abort_with_status(unknown())
        )
        server.players["ListOptimizations"] = lambda request, _: (
            optimization_service_pb2.ListOptimizationsResponse(
                optimizations=[stand] if "opt-1".startswith(request.id_prefix) else []
            )
        )
        return stand

    return keep


@pytest.fixture
def rows(server, script):
    """Let the server list results."""

    def rows(*ranked, total_count=None):
        response = optimization_service_pb2.ListResultsResponse(
            arrow_results=arrow_stream(ranked, is_ranked=True) if ranked else b"",
            total_count=len(ranked) if total_count is None else total_count,
        )
        server.answers["ListResults"] = [response] * 3

    return rows


def unknown():
    return status(code_pb2.NOT_FOUND, "there is none", error_info("UNKNOWN_OPTIMIZATION"))


def watched(server: ScriptedServer, messages):
    """Let the server play what comes after the number that a watcher has."""

    def play(request, context):
        for message in numbered(messages):
            if message.event.sequence_number > request.after_sequence_number:
                yield optimization_service_pb2.WatchOptimizationResponse(event=message.event)

    server.players["WatchOptimization"] = play


def stopped_message(script):
    part = script.part(
        [script.result_row(2, rank=1, sharpe_ratio=1.5)],
        state=state_of("cancelled"),
        message="interrupted by Ctrl-C",
    )
    part.event.result.succeeded_count = 3
    return part


def test_a_list_has_ids_states_and_how_far_each_is(run, keep):
    keep("running", completed=2, is_detached=True)
    result = run("list")
    assert result.exit_code == 0
    header, _, row = (line.split() for line in result.stdout.splitlines()[:3])
    assert header == ["id", "state", "done", "strategy", "symbols", "asked", "for", "ran", "failed"]
    assert row[:5] == ["opt-1", "running", "2/4", "sma_cross", "SPY"]
    assert result.stdout.splitlines()[-1] == "1 optimization"


def test_ids_of_a_table_are_as_short_as_tells_them_apart():
    made = ["01kb0x0h7m8r4n5q6s7t8v9w0x", "01kb0x0h7m8s4n5q6s7t8v9w0x", "night-of-the-long-runs"]
    assert short_ids(made) == ["01kb0x0h7m8r", "01kb0x0h7m8s", "night-of-the-long-runs"]
    assert short_ids(made[:1]) == ["01kb0x0h7m"]
    assert short_ids(["a", "a"]) == ["a", "a"]


def test_a_list_as_json_is_an_array_for_programs(run, keep):
    stand = keep("cancelled", completed=2, message="enough")
    stand.started.labels["desk"] = "rates"
    (row,) = json.loads(run("list", "--format", "json").stdout)
    assert row["optimization_id"] == "opt-1"
    assert (row["state"], row["strategy"], row["symbols"]) == ("CANCELLED", "sma_cross", ["SPY"])
    assert (row["total_count"], row["completed_count"], row["failed_count"]) == (4, 2, 1)
    assert (row["labels"], row["message"]) == ({"desk": "rates"}, "enough")
    assert (row["create_time"], row["end_time"]) == ("2026-03-02T09:00:00+00:00", None)


def test_an_empty_list_is_no_error(run, server):
    server.answers["ListOptimizations"] = [
        optimization_service_pb2.ListOptimizationsResponse() for _ in range(3)
    ]
    result = run("list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "no optimization is kept\n"
    assert run("list", "--symbol", "SPY").stderr == "no optimization is kept that fits\n"
    assert run("list", "--format", "json").stdout == "[]\n"


def test_what_is_wanted_of_a_list_goes_to_the_server(run, server):
    server.answers["ListOptimizations"] = [optimization_service_pb2.ListOptimizationsResponse()]
    run(
        *("list", "--status", "running", "--status", "QUEUED", "--strategy", "sma_cross"),
        *("--symbol", "SPY", "--label", "desk=rates", "--limit", "7"),
        *("--since", "2026-03-01", "--until", "2026-03-02"),
    )
    (request,) = server.asked("ListOptimizations")
    assert list(request.states) == [state_of("running"), state_of("queued")]
    assert (request.strategy, request.symbol, dict(request.labels)) == (
        "sma_cross",
        "SPY",
        {"desk": "rates"},
    )
    midnight = datetime.combine(date(2026, 3, 1), datetime.min.time()).astimezone()
    assert request.created_after.ToDatetime(midnight.tzinfo) == midnight
    assert request.created_before.ToDatetime(midnight.tzinfo) == midnight + timedelta(days=2)
    assert request.page_size == 8  # to know whether there are more


def test_a_table_says_where_there_are_older_ones(run, server, script):
    stands = [script.optimization(optimization_id=f"opt-{number}") for number in range(3)]
    server.answers["ListOptimizations"] = [
        optimization_service_pb2.ListOptimizationsResponse(optimizations=stands)
    ]
    result = run("list", "--limit", "2")
    assert "opt-2" not in result.stdout
    assert result.stdout.splitlines()[-1] == ("the newest 2 optimizations; --limit 20 shows more")


def test_what_has_ended_is_shown_as_it_was_printed_first(run, server, script, keep):
    server.steps = script.whole()
    first = run(*OPTIMIZE, "--format", "json")
    keep()
    watched(server, script.whole())
    again = run("show", "opt-1", "--format", "json")
    assert again.exit_code == 0
    assert json.loads(again.stdout) == json.loads(first.stdout)
    assert "1.5000" in run("show", "opt-1").stdout


def test_above_what_is_shown_stands_what_it_is(run, server, script, keep):
    stand = keep(completed=4)
    stand.running_duration.FromSeconds(90)
    stand.started.labels["desk"] = "rates"
    watched(server, script.whole())
    lines = run("show", "opt-1").stderr.splitlines()
    assert lines[0].startswith("opt-1 succeeded · asked for 20")
    assert lines[0].endswith(" · ran 0:01:30 · desk=rates")
    assert lines[1].startswith("sma_cross on SPY, 2020-01-02 to 2020-12-31 · 253 bars")


def test_what_is_shown_may_be_ranked_in_another_way(run, server, script, keep, rows):
    keep()
    watched(server, script.whole())
    rows(script.result_row(0, rank=1, trade_count=12), script.result_row(2, rank=2, trade_count=7))
    result = run(
        *("show", "opt-1", "--sort", "trade_count", "--minimize"),
        *("--require", "trade_count > 5", "--format", "json"),
    )
    document = json.loads(result.stdout)
    (request,) = server.asked("ListResults")
    assert request.metric == "trade_count"
    assert request.direction == optimization_config_pb2.OPTIMIZATION_DIRECTION_MINIMIZE
    assert (list(request.requirements), request.has_requirements) == (["trade_count > 5"], True)
    assert document["config"]["optimization_target"] == "trade_count"
    assert document["config"]["direction"] == "MINIMIZE"
    assert document["config"]["requirements"] == ["trade_count > 5"]
    assert [each["combination_index"] for each in document["ranked_results"]] == [0, 2]
    assert (document["succeeded_count"], document["unqualified_count"]) == (3, 1)
    assert document["without_target_count"] == 0
    assert len(document["failures"]) == 1


def test_rows_that_the_first_command_did_not_ask_for_are_listed(
    run, server, script, keep, rows, tmp_path
):
    stand = keep()
    stand.started.config.max_ranked_results = 1
    messages = script.whole()
    messages[0].event.started.config.max_ranked_results = 1
    del messages[-1].event.result.ranked_results[1:]
    watched(server, messages)
    rows(*(script.result_row(number, rank=number + 1, sharpe_ratio=1.0) for number in range(3)))
    path = tmp_path / "all.csv"
    result = run("show", "opt-1", "--output", str(path), "--top", "1", "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")
    assert len(path.read_text().splitlines()) == 4


def test_another_order_that_is_refused_is_told_in_words_of_the_command(run, server, script, keep):
    keep()
    watched(server, script.whole())
    server.answers["ListResults"] = [
        invalid_config(("metric", "is 'nope'"), ("requirements[0]", "is no comparison"))
    ]
    result = run("show", "opt-1", "--sort", "nope", "--require", "cagr")
    assert result.exit_code == 2
    assert "\n  --sort: is 'nope'\n  --require cagr: is no comparison\n" in result.stderr


def test_of_what_runs_is_shown_what_has_completed(run, server, script, keep, rows):
    keep("running", completed=3)
    watched(server, script.whole()[:4])
    rows(script.result_row(2, rank=1, sharpe_ratio=1.5), script.result_row(0, rank=2))
    result = run("show", "opt-1", "--format", "json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert (document["state"], document["total_count"]) == ("RUNNING", 4)
    assert (document["succeeded_count"], document["failed_count"]) == (2, 1)
    assert "running: 3 of 4 backtests completed; the ranking is partial" in result.stderr


def test_of_what_waits_nothing_can_be_shown_yet(run, script, keep, rows):
    stand = keep("queued", completed=0)
    stand.failed_count = 0
    rows()
    result = run("show", "opt-1")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "queued: 0 of 4 backtests completed\n" in result.stderr


def test_an_id_may_be_shortened(run, server, script, keep):
    keep()
    watched(server, script.whole())
    assert run("show", "opt", "--quiet").exit_code == 0
    assert [request.id_prefix for request in server.asked("ListOptimizations")] == ["opt"]


def test_an_id_of_nothing_is_bad_usage_and_says_where_ids_are(run, keep):
    keep()
    result = run("show", "nope")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: there is no optimization nope, and none whose id begins so; "
        "`stratsweep list` names those that are kept\n"
    )


def test_a_beginning_of_several_ids_names_some(run, server, script):
    stands = [script.optimization(optimization_id=f"opt-{number}") for number in range(6)]
    server.answers["GetOptimization"] = [unknown()]
    server.answers["ListOptimizations"] = [
        optimization_service_pb2.ListOptimizationsResponse(optimizations=stands)
    ]
    result = run("delete", "opt")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: several ids begin with opt: opt-0, opt-1, opt-2, opt-3, opt-4, more; "
        "write more of it\n"
    )


def test_what_cannot_be_an_id_is_refused_before_anything_is_asked(run, server):
    result = run("show", "a/b")
    assert result.exit_code == 2
    assert "'a/b' is not an id" in result.stderr
    assert server.questions == []


def test_watching_shows_progress_and_the_ranking(run, server, script, keep):
    keep("running", completed=1)
    watched(server, script.whole())
    result = run("watch", "opt-1")
    assert result.exit_code == 0
    assert "100 %  4/4" in result.stderr
    assert "1.5000" in result.stdout


def test_watching_what_is_interrupted_says_how_to_go_on(run, server, script, keep):
    keep("interrupted", completed=1)

    def play(_request, context):
        yield optimization_service_pb2.WatchOptimizationResponse(
            event=numbered(script.whole())[0].event
        )
        info = error_info("OPTIMIZATION_INTERRUPTED")
        context.abort_with_status(status(code_pb2.UNAVAILABLE, "its server is gone", info))

    server.players["WatchOptimization"] = play
    result = run("watch", "opt-1")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        f"go on with it: stratsweep resume opt-1 --server {server.address}"
    )


def test_what_another_server_runs_is_watched_there(run, server, script, keep):
    keep("running", completed=1)
    addresses = []
    real = f"localhost:{server.address.rpartition(':')[2]}"

    def play(request, context):
        addresses.append(request.optimization_id)
        if len(addresses) == 1:
            info = error_info("RUNS_ELSEWHERE", address=real)
            context.abort_with_status(status(code_pb2.FAILED_PRECONDITION, "elsewhere", info))
        for message in script.whole():
            yield optimization_service_pb2.WatchOptimizationResponse(event=message.event)

    server.players["WatchOptimization"] = play
    assert run("watch", "opt-1").exit_code == 0
    assert len(addresses) == 2


def test_ctrl_c_leaves_what_is_watched_and_stops_nothing(server, script, keep):
    keep("running", completed=1)

    def play(_request, context):
        for message in script.whole()[:2]:
            yield optimization_service_pb2.WatchOptimizationResponse(event=message.event)
        server.hang_alone(context)

    server.players["WatchOptimization"] = play
    with command_of("watch", "opt-1", "--server", server.address) as process:
        wait_for(process, "1/4")
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert rest.splitlines() == [
        "left after 1 of 4 backtests (0 failed); best so far: slow=100, fast=5",
        f"it goes on; follow it again: stratsweep watch opt-1 --server {server.address}",
    ]
    assert server.asked("CancelOptimization") == []


def test_cancelling_says_what_is_kept(run, server, script, keep):
    stand = keep("running", completed=2)
    server.answers["CancelOptimization"] = [
        optimization_service_pb2.CancelOptimizationResponse(optimization=stand)
    ]
    result = run("cancel", "opt", "--reason", "enough")
    assert (result.exit_code, result.stdout) == (
        0,
        "cancelled opt-1: sma_cross on SPY, 2 of 4 backtests\n",
    )
    assert server.asked("CancelOptimization")[0].reason == "enough"


def test_what_has_ended_is_not_cancelled(run, server, keep):
    keep()
    result = run("cancel", "opt-1")
    assert (result.exit_code, result.stderr) == (0, "opt-1 has ended already: succeeded\n")
    assert server.asked("CancelOptimization") == []


def test_deleting_says_what_it_was(run, server, keep):
    keep()
    server.answers["DeleteOptimization"] = [optimization_service_pb2.DeleteOptimizationResponse()]
    result = run("delete", "opt-1")
    assert (result.exit_code, result.stdout) == (
        0,
        "deleted opt-1: sma_cross on SPY, 4 of 4 backtests\n",
    )


def test_what_runs_cannot_be_deleted(run, server, keep):
    keep("running")
    info = error_info("OPTIMIZATION_RUNNING")
    server.answers["DeleteOptimization"] = [
        status(code_pb2.FAILED_PRECONDITION, "opt-1 runs; cancel it first", info)
    ]
    result = run("delete", "opt-1")
    assert (result.exit_code, result.stderr) == (2, "error: opt-1 runs; cancel it first\n")


def test_resuming_what_was_cancelled_takes_its_outcomes_over(run, server, script, keep):
    stand = keep("cancelled", completed=2)
    stand.started.labels["desk"] = "rates"
    server.steps = script.whole()
    assert run("resume", "opt-1").exit_code == 0
    (request,) = server.requests
    assert (request.resume_from, request.config.strategy) == ("opt-1", "sma_cross")
    assert request.optimization_id not in ("", "opt-1")
    assert list(request.config.constraints) == ["fast < slow"]
    assert [each.name for each in request.config.parameters] == ["slow", "fast"]
    assert dict(request.labels) == {"desk": "rates"}


def test_resuming_what_was_interrupted_goes_on_under_its_id(run, server, script, keep):
    keep("interrupted", completed=2)
    server.steps = script.whole()
    assert run("resume", "opt-1").exit_code == 0
    (request,) = server.requests
    assert (request.optimization_id, request.resume_from) == ("opt-1", "")


@pytest.mark.parametrize(
    ("state", "advice"),
    [
        ("succeeded", "see it with: stratsweep show"),
        ("running", "follow it with: stratsweep watch"),
    ],
)
def test_what_has_nothing_to_resume_is_bad_usage(run, server, keep, state, advice):
    keep(state, holder_address="127.0.0.1:1")
    result = run("resume", "opt-1")
    assert result.exit_code == 2
    assert advice in result.stderr
    assert server.requests == []


def test_at_its_end_optimize_says_where_its_result_is_kept(run, server, script, keep):
    keep(stored_bytes=160)
    server.steps = script.whole()
    note = f"kept: stratsweep show opt-1 --server {server.address}"
    assert run(*OPTIMIZE).stderr.splitlines()[-1] == note
    assert note not in run(*OPTIMIZE, "--quiet").stderr


def test_what_is_only_in_a_servers_memory_is_not_said_to_be_kept(run, server, script, keep):
    keep()
    server.steps = script.whole()
    assert "kept:" not in run(*OPTIMIZE).stderr


def test_a_detached_optimization_is_started_and_left(run, server, script):
    server.steps = [script.started(), server.hang]
    result = run(*OPTIMIZE, "--detach")
    assert (result.exit_code, result.stdout) == (0, "opt-1\n")
    assert result.stderr == f"follow it: stratsweep watch opt-1 --server {server.address}\n"
    assert server.requests[0].detached
    server.wait_until_ended()
    assert server.asked("CancelOptimization") == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--detach"], "--detach needs --server"),
        (["--detach", "--server", "h:1", "--output", "a.csv"], "--detach does not wait for"),
        (["--each-symbol"], "--id is for one optimization, not for --each-symbol"),
        (["--state", "x", "--server", "h:1"], "--state is for the private server"),
    ],
)
def test_options_that_contradict_how_it_runs_are_bad_usage(arguments, complaint):
    result = click.testing.CliRunner().invoke(main, [*OPTIMIZE, *arguments])
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_where_nothing_is_kept_a_store_that_is_not_there_is_bad_usage():
    result = click.testing.CliRunner().invoke(main, ["list", "--state", "nowhere"])
    assert result.exit_code == 2
    assert "--state: there is no directory nowhere" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ["show"],
            "Name one by its id, or the beginning of it; `stratsweep list` lists all.",
        ),
        (["list", "--state", "Succeeded"], "write --status succeeded"),
        (["list", "--status", "done"], "'done' is not one of 'queued', 'running', 'interrupted'"),
    ],
)
def test_mistakes_of_newcomers_are_answered_with_what_to_write(arguments, complaint):
    result = click.testing.CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_outcomes_of_before_are_reused_where_it_is_asked_for(run, server, script):
    server.steps = script.whole()
    run(*OPTIMIZE, "--reuse")
    run(*OPTIMIZE)
    assert [request.reuse for request in server.requests] == [True, False]


def command_of(*arguments):
    command = [sys.executable, "-m", "stratsweep.cli", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(process, text):
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"{text} never came")


@pytest.fixture
def stoppable(server, script):
    """Let the server run an optimization until it is cancelled, and then rank it."""
    stopped = threading.Event()

    def cancel(_request, _context):
        stopped.set()
        return optimization_service_pb2.CancelOptimizationResponse()

    row = script.result_row(2, sharpe_ratio=1.5)
    server.players["CancelOptimization"] = cancel
    server.steps = [
        script.started(),
        script.progress(3, row, script.result_row(0), script.result_row(3), best=row),
        lambda _: stopped.wait(WAIT_SECONDS),
        stopped_message(script),
    ]
    return stopped


def test_ctrl_c_stops_it_and_prints_and_writes_what_has_completed(server, stoppable, tmp_path):
    path = tmp_path / "out.csv"
    arguments = (*OPTIMIZE, "--server", server.address, "--output", str(path))
    with command_of(*arguments) as process:
        wait_for(process, "3/4")
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)  # as terminals and wrappers do
        output, rest = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 130
    assert "1.5000" in output
    assert len(path.read_text().splitlines()) == 2
    assert "stopping: what has completed is ranked; Ctrl-C again does not wait\n" in rest
    assert (
        "cancelled (interrupted by Ctrl-C): 3 of 4 backtests completed; the ranking is partial"
    ) in rest


def test_a_second_ctrl_c_leaves_at_once_and_says_how_to_see_the_rest(server, script):
    server.players["CancelOptimization"] = lambda *_: (
        optimization_service_pb2.CancelOptimizationResponse()
    )
    row = script.result_row(2, sharpe_ratio=1.5)
    server.steps = [script.started(), script.progress(1, row, best=row), server.hang_alone]
    with command_of(*OPTIMIZE, "--server", server.address) as process:
        wait_for(process, "1/4")
        process.send_signal(signal.SIGINT)
        wait_for(process, "stopping")
        while process.poll() is None:  # those within half a second do not count
            process.send_signal(signal.SIGINT)
            try:
                process.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
        rest = process.stderr.read()
    assert process.returncode == 130
    assert rest.splitlines() == [
        "interrupted after 1 of 4 backtests (0 failed); best so far: slow=100, fast=5",
        f"what has completed: stratsweep show opt-1 --server {server.address}",
    ]
