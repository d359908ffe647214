"""A clock that is set back an hour while an optimization runs."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from stratsweep.v1 import optimization_service_pb2 as service_pb2
from stratsweep.v1 import optimization_service_pb2_grpc
from stratsweep_server.storage.disk_store import open_store

from tests.fault.server_program import ServerProgram, running
from tests.requests import optimize_request

COUNT = 60
SHIM = """
import os, time

def set_back(clock, an_hour):
    return lambda: clock() - (an_hour if os.path.exists({flag!r}) else 0)

time.time = set_back(time.time, 3600.0)
time.time_ns = set_back(time.time_ns, 3600 * 10**9)
"""


def request_of(after: int = 0) -> service_pb2.OptimizeRequest:
    return optimize_request("nap@*", COUNT, optimization_id="night", after_sequence_number=after)


@contextmanager
def stub_of(program: ServerProgram) -> Iterator:
    with grpc.insecure_channel(program.address) as channel:
        yield optimization_service_pb2_grpc.OptimizationServiceStub(channel)


def test_times_of_an_optimization_go_on_when_the_clock_is_set_back(tmp_path):
    flag, shim = tmp_path / "set back", tmp_path / "shim"
    shim.mkdir()
    (shim / "sitecustomize.py").write_text(SHIM.format(flag=str(flag)))
    arguments = ("--state", str(tmp_path / "state"), "--engine", "tests.engines:ScriptedEngine")
    path = os.pathsep.join([str(shim), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    environment = {"PYTHONPATH": path}

    with running(*arguments, environment=environment) as program, stub_of(program) as stub:
        call = stub.Optimize(request_of())
        lived = list(itertools.islice(call, 20))
        flag.touch()
        lived += itertools.islice(call, 10)
        program.kill()
    with running(*arguments, environment=environment) as program, stub_of(program) as stub:
        lived += stub.Optimize(request_of(after=len(lived)))
        assert list(stub.Optimize(request_of())) == lived

    events = [response.event for response in lived]
    assert [event.sequence_number for event in events] == list(range(1, COUNT + 3))
    times = [event.event_time.ToNanoseconds() for event in events]
    assert times == sorted(times)
    elapsed = [event.progress.elapsed_duration.ToNanoseconds() for event in events[1:-1]]
    assert elapsed == sorted(elapsed)
    assert 0 < elapsed[-1] < 600 * 10**9
    store = open_store(tmp_path / "state", "the test")
    record = store.find("", "night")
    store.close()
    assert record.create_time <= record.start_time <= record.end_time
