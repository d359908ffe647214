"""The server as a program: ready line, signals, exit codes, logs."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from stratsweep.v1 import optimization_service_pb2, optimization_service_pb2_grpc
from stratsweep_server.execution.fork_server import default_start_method
from stratsweep_server.rpc import port
from stratsweep_server.rpc import server as rpc_server

from tests.requests import optimize_request
from tests.waiting import is_alive, until

PROGRAM = [sys.executable, "-m", "stratsweep_server", "--workers", "1"]
WAIT_SECONDS = 60
SCRIPTED = ["--engine", "tests.engines:ScriptedEngine"]


@contextmanager
def program(*arguments: str, **options) -> Iterator[subprocess.Popen]:
    """A server program in the root of the project; killed at the end if it still runs."""
    settings = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
        "cwd": Path(__file__).parents[2],
        **options,
    }
    with subprocess.Popen([*PROGRAM, *arguments], **settings) as process:
        try:
            yield process
        finally:
            process.kill()


def is_group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def address_of(process: subprocess.Popen) -> str:
    line = process.stdout.readline()
    assert line.startswith("listening on "), process.stderr.read()
    return line.split()[-1]


def strategies_at(address: str) -> optimization_service_pb2.ListStrategiesResponse:
    with grpc.insecure_channel(address) as channel:
        stub = optimization_service_pb2_grpc.OptimizationServiceStub(channel)
        return stub.ListStrategies(optimization_service_pb2.ListStrategiesRequest())


def held_signals(pid: int) -> set[int]:
    """The signals that a process has blocked."""
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = [int(line.split()[1], 16) for line in status.splitlines() if "SigBlk" in line]
    return {number for number in signal.valid_signals() if mask >> number - 1 & 1}


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_cleanly(signal_number):
    with program("--listen", "127.0.0.1:0", *SCRIPTED) as process:
        assert strategies_at(address_of(process)).accepts_any_strategy
        process.send_signal(signal_number)
        _, log = process.communicate()
    assert process.returncode == 0, log
    assert log.endswith("stopped\n")
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("signal_number", "exit_code"), [(signal.SIGTERM, -15), (signal.SIGINT, 130)]
)
async def test_a_second_signal_ends_the_server_at_once(tmp_path, signal_number, exit_code):
    with program("--listen", "127.0.0.1:0", "--grace", "1000", *SCRIPTED) as process:
        async with grpc.aio.insecure_channel(address_of(process)) as channel:
            stub = optimization_service_pb2_grpc.OptimizationServiceStub(channel)
            call = stub.Optimize(optimize_request("sleep@*", symbol=str(tmp_path)))
            await until(lambda: any(tmp_path.glob("*.pid")), "a backtest runs")
            process.send_signal(signal_number)
            while "stopping" not in process.stderr.readline():
                pass
            process.send_signal(signal_number)
            _, log = process.communicate(timeout=WAIT_SECONDS)
            call.cancel()
        (worker,) = [int(note.read_text()) for note in tmp_path.glob("*.pid")]
        await until(lambda: not is_alive(worker), "the worker is gone")
    assert process.returncode == exit_code, log
    assert "Traceback" not in log


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_while_the_server_starts_ends_it_and_leaves_nothing(
    tmp_path_factory, signal_number
):
    # A short name: the path of a Unix socket has room for about a hundred characters.
    temporary = tmp_path_factory.mktemp("t")
    environment = os.environ | {"TMPDIR": str(temporary)}
    with program("--listen", "127.0.0.1:0", env=environment, process_group=0) as process:
        await until(
            lambda: (
                {signal.SIGINT, signal.SIGTERM} <= held_signals(process.pid)
                and any(temporary.iterdir())
            ),
            "it starts its fork server",
        )
        os.killpg(process.pid, signal_number)
        _, log = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 0, log
    assert "Traceback" not in log
    assert list(temporary.iterdir()) == []


@pytest.mark.skipif(default_start_method() != "forkserver", reason="there is no fork server here")
@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_while_kernels_are_compiled_ends_server_and_compilation(
    tmp_path, signal_number
):
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("NUMBA_CACHE_DIR", None)
    with program("--listen", "127.0.0.1:0", env=environment, process_group=0) as process:
        assert {process.stdout.readline()[:5], process.stdout.readline()[:5]} == {"note:", "liste"}
        os.killpg(process.pid, signal_number)
        _, log = process.communicate(timeout=WAIT_SECONDS)
        assert process.returncode == 0, log
        await until(lambda: not is_group_alive(process.pid), "the fork server ends, too")
    assert log.endswith("stopped\n")
    assert "Traceback" not in log
    assert "ERROR" not in log
    assert list(tmp_path.rglob("*simulate_lockstep*")) == []  # the last one


def test_it_listens_on_a_unix_socket(tmp_path):
    with program("--listen", f"unix:{tmp_path}/server.sock", *SCRIPTED) as process:
        address = address_of(process)
        assert address == f"unix:{tmp_path}/server.sock"
        assert strategies_at(address).accepts_any_strategy


def test_a_socket_in_use_is_refused_and_one_that_a_killed_server_left_is_replaced(
    tmp_path_factory,
):
    path = tmp_path_factory.mktemp("s") / "server.sock"
    listen = ["--listen", f"unix:{path}", *SCRIPTED]
    with program(*listen) as first:
        address = address_of(first)
        with program(*listen) as second:
            _, log = second.communicate()
        assert second.returncode == 4
        assert f"cannot listen on {address}: another server is using it" in log
        assert "Traceback" not in log
        assert strategies_at(address).accepts_any_strategy
        first.kill()
        first.communicate()
    with program(*listen) as third:
        assert strategies_at(address_of(third)).accepts_any_strategy
        third.terminate()
        third.communicate()
    assert list(path.parent.iterdir()) == []


def test_an_address_in_use_is_a_clear_error_with_its_own_exit_code():
    with program("--listen", "127.0.0.1:0", *SCRIPTED) as first:
        address = address_of(first)
        with program("--listen", address, *SCRIPTED) as second:
            output, log = second.communicate()
    assert second.returncode == 4
    assert output == ""
    assert log == (
        f"Error: cannot listen on {address}: another program listens there; stop it, or choose "
        "another port with --listen (port 0 takes a free one)\n"
    )


async def test_a_port_that_is_taken_at_the_last_moment_is_a_clear_error_too(monkeypatch):
    looks = []

    def look(listen):
        looks.append(listen)
        if len(looks) > 1:
            port.require_port(listen)

    monkeypatch.setattr(rpc_server, "require_port", look)
    with socket.create_server(("127.0.0.1", 0)) as busy:
        listen = f"127.0.0.1:{busy.getsockname()[1]}"
        with pytest.raises(OSError, match=f"cannot listen on {listen}: another program listens"):
            rpc_server.RpcServer(listen)


@pytest.mark.skipif(default_start_method() != "forkserver", reason="there is no fork server here")
def test_a_directory_where_no_worker_can_start_is_a_clear_error(tmp_path):
    temporary = tmp_path / ("long" * 30)  # the path of a Unix socket has room for 107 characters
    temporary.mkdir()
    environment = os.environ | {"TMPDIR": str(temporary)}
    with program("--listen", "127.0.0.1:0", env=environment) as process:
        if process.stdout.readline():
            pytest.skip("this Python takes another directory then")
        _, log = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 1
    assert "too long" in log
    assert f"({temporary}, TMPDIR)" in log
    assert "Traceback" not in log


def test_it_stops_when_standard_input_ends():
    with program(
        "--listen", "127.0.0.1:0", "--exit-on-stdin-eof", *SCRIPTED, stdin=subprocess.PIPE
    ) as process:
        address_of(process)
        process.stdin.close()
        assert process.wait() == 0


def test_json_logs_are_one_object_per_line():
    with program("--listen", "127.0.0.1:0", "--log-format", "json", *SCRIPTED) as process:
        address_of(process)
        process.terminate()
        _, log = process.communicate()
    records = [json.loads(line) for line in log.splitlines()]
    assert records[-1]["message"] == "stopped"
    assert records[-1]["level"] == "INFO"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_a_client_sends_writes_no_lines_into_the_log(log_format):
    hostile = "X\n12:00:00 INFO    forged\x1b[2J\u2028\u202e"
    with program("--listen", "127.0.0.1:0", "--log-format", log_format, *SCRIPTED) as process:
        with grpc.insecure_channel(address_of(process)) as channel:
            stub = optimization_service_pb2_grpc.OptimizationServiceStub(channel)
            list(stub.Optimize(optimize_request("raise@*", 2, symbol=hostile)))
        process.terminate()
        _, log = process.communicate()
    assert log.replace("\n", "").isprintable()
    assert "forged" in log
    beginning = re.compile(
        r"\d\d:\d\d:\d\d [A-Z]+ +(?!forged)" if log_format == "text" else r"\{.*\}$"
    )
    assert all(map(beginning.match, log.splitlines())), log


def test_options_come_from_a_file_and_the_environment(tmp_path):
    settings = tmp_path / "server.toml"
    settings.write_text('listen = "127.0.0.1:0"\nengine = "tests.engines:ScriptedEngine"\n')
    environment = os.environ | {"STRATSWEEP_LOG_FORMAT": "json"}
    with program("--config", str(settings), env=environment) as process:
        assert strategies_at(address_of(process)).accepts_any_strategy
        process.terminate()
        _, log = process.communicate()
    assert json.loads(log.splitlines()[0])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("listen = ", "is not TOML"),
        ("lissen = 1", "did you mean 'listen'?"),
        (
            'timezone = "EST6"',
            "server.toml: 'EST6' is not a time zone; write an IANA name, the nearest: ",
        ),
    ],
)
def test_a_wrong_file_of_options_is_bad_usage(tmp_path, text, complaint):
    settings = tmp_path / "server.toml"
    settings.write_text(text)
    with program("--config", str(settings)) as process:
        _, log = process.communicate()
    assert process.returncode == 2
    assert complaint in log


async def test_workers_and_files_do_not_outlive_a_server_that_is_killed(tmp_path):
    notes, scratch = tmp_path / "notes", tmp_path / "scratch"
    notes.mkdir()
    scratch.mkdir()
    with program("--listen", "127.0.0.1:0", "--scratch", str(scratch), *SCRIPTED) as process:
        address = address_of(process)
        async with grpc.aio.insecure_channel(address) as channel:
            stub = optimization_service_pb2_grpc.OptimizationServiceStub(channel)
            call = stub.Optimize(optimize_request("hang@*", symbol=str(notes)))
            await until(lambda: bool(list(notes.glob("*.pid"))), "a backtest runs")
            (worker,) = [int(note.read_text()) for note in notes.glob("*.pid")]
            process.kill()
            await until(lambda: not is_alive(worker), "the worker is gone")
            call.cancel()
    assert len(list(scratch.iterdir())) == 1

    with program("--listen", "127.0.0.1:0", "--scratch", str(scratch), *SCRIPTED) as process:
        address_of(process)
        assert len(list(scratch.iterdir())) == 1  # its own; the dead one's was swept
        process.terminate()
        process.communicate()
    assert not list(scratch.iterdir())
