"""Servers that share a state directory: a daemon, and the private server of another terminal."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from stratsweep.v1 import optimization_service_pb2_grpc
from stratsweep_server.storage.disk_store import open_store

from tests.fault.mounting import mounted
from tests.fault.server_program import ServerProgram, running
from tests.requests import optimize_request

ENGINE = ("--engine", "tests.fault.counting_engine:GatedEngine")


@contextmanager
def stub_of(program: ServerProgram):
    with grpc.insecure_channel(program.address) as channel:
        yield optimization_service_pb2_grpc.OptimizationServiceStub(channel)


def request_of(name: str, folder: Path, after: int = 0):
    return optimize_request(
        "gated", 1, symbol=str(folder), optimization_id=name, after_sequence_number=after
    )


def refusal(call) -> error_details_pb2.ErrorInfo:
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(caught.value).details[0].Unpack(info)
    return info


def test_each_sees_what_the_other_runs_and_a_kill_orphans_only_its_own(tmp_path):
    state = tmp_path / "state"
    arguments = ("--state", str(state), *ENGINE)
    with (
        running(*arguments) as daemon,
        running(*arguments, "--private") as private,
        stub_of(daemon) as at_daemon,
        stub_of(private) as at_private,
    ):
        of_daemon = at_daemon.Optimize(request_of("daemon", tmp_path))
        of_private = at_private.Optimize(request_of("terminal", tmp_path))
        next(of_daemon)
        next(of_private)
        for stub, name, holder in (
            (at_private, "daemon", daemon),
            (at_daemon, "terminal", private),
        ):
            info = refusal(stub.Optimize(request_of(name, tmp_path)))
            assert info.reason == "RUNS_ELSEWHERE"
            assert info.metadata["address"] == holder.address

        store = open_store(state, "the test")
        assert store.orphans() == []
        private.kill()
        assert [each.optimization_id for each in store.orphans()] == ["terminal"]
        (tmp_path / "gate").touch()
        assert list(of_daemon)[-1].event.result.succeeded_count == 1
        events = list(at_daemon.Optimize(request_of("terminal", tmp_path, after=1)))
        assert events[-1].event.result.succeeded_count == 1
        store.close()


def damage(state: Path) -> None:
    (state / "catalogue.sqlite").write_bytes(b"this is no database" * 1000)


def write_a_newer_format(state: Path) -> None:
    with closing(sqlite3.connect(state / "catalogue.sqlite")) as connection:
        connection.execute("PRAGMA user_version = 99")
        connection.commit()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (damage, "is damaged; move the files catalogue.sqlite* away"),
        (write_a_newer_format, "a newer version of stratsweep wrote the state directory"),
        (lambda state: state.chmod(0o777), "others may write the state directory"),
    ],
)
def test_a_server_that_cannot_keep_says_why_and_ends_with_a_code_of_its_own(
    tmp_path, harm, message
):
    state = tmp_path / "state"
    open_store(state, "the test").close()
    harm(state)
    assert_refused(state, message)


def test_a_server_on_a_read_only_file_system_says_so(tmp_path):
    with mounted(tmp_path / "disk", "size=1m,mode=0700,ro") as disk:
        assert_refused(disk / "state", "Read-only file system; choose another with --state")


def test_a_server_whose_catalogue_is_locked_for_long_says_so(tmp_path):
    state = tmp_path / "state"
    open_store(state, "the test").close()
    with closing(sqlite3.connect(state / "catalogue.sqlite")) as other:
        other.execute("BEGIN IMMEDIATE")
        assert_refused(state, "is locked by another process")


def assert_refused(state: Path, message: str) -> None:
    """See that a server does not start on a state directory, with one message and no traceback."""
    program = ServerProgram("--state", str(state), *ENGINE)
    program.launch()
    try:
        code, log = program.ended()
    finally:
        program.kill()
    assert code == 5, log
    assert message in log
    assert str(state) in log
    assert "Traceback" not in log
