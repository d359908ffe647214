"""A server that is killed while it starts, while optimizations wait, run, end or are rewritten."""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path

import grpc
import pytest
from stratsweep.v1 import optimization_service_pb2_grpc
from stratsweep_server.optimization.states import OptimizationState
from stratsweep_server.storage.disk_store import DiskStore, open_store

from tests.fault.counting_engine import runs_in
from tests.fault.server_program import ServerProgram
from tests.requests import optimize_request

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1_800)]

COUNT = 400
NAMES = [f"night-{number}" for number in range(24)]
KILLS = 60
LONGEST_LIFE_SECONDS = 4.0


def begin(program: ServerProgram, folder: Path) -> None:
    """Ask for many optimizations, of which one runs at a time and nobody follows any."""
    with grpc.insecure_channel(program.address) as channel:
        stub = optimization_service_pb2_grpc.OptimizationServiceStub(channel)
        for name in NAMES:
            request = optimize_request(
                name, COUNT, symbol=str(folder), optimization_id=name, detached=True
            )
            request.config.optimization_target = "tie"
            call = stub.Optimize(request)
            next(call)
            call.cancel()


def kept_by(store: DiskStore, name: str) -> tuple[OptimizationState, list[int]]:
    record = store.find("", name)
    if record.start_time is None:
        return record.state, []
    return record.state, store.log("", name).indices().tolist()


def test_kills_at_any_moment_lose_nothing_and_run_nothing_again_that_was_kept(tmp_path):
    chance = random.Random(15)
    state, runs = tmp_path / "state", tmp_path / "runs"
    runs.mkdir()
    arguments = ["--state", str(state), "--max-optimizations", "1"]
    program = ServerProgram(*arguments, "--engine", "tests.fault.counting_engine:CountingEngine")
    program.start()
    begin(program, runs)
    program.kill()
    store = open_store(state, "the test")
    for kill in range(KILLS + 1):
        before = {name: (kept_by(store, name), len(runs_in(runs / name))) for name in NAMES}
        program.launch()
        try:
            if kill < KILLS:
                time.sleep(chance.uniform(0.0, LONGEST_LIFE_SECONDS))
            else:
                wait_for_all(store, program)
        finally:
            program.kill()
        for name, ((old_state, old), ran) in before.items():
            new_state, new = kept_by(store, name)
            assert new[: len(old)] == old
            assert set(old).isdisjoint(runs_in(runs / name)[ran:])
            if old_state.is_ended:
                assert (new_state, new) == (old_state, old)
    for name in NAMES:
        new_state, new = kept_by(store, name)
        assert new_state is OptimizationState.SUCCEEDED
        assert sorted(new) == list(range(COUNT))
    store.close()


def wait_for_all(store: DiskStore, program: ServerProgram) -> None:
    deadline = time.monotonic() + 300
    while not all(store.find("", name).state.is_ended for name in NAMES):
        assert time.monotonic() < deadline, "they do not end"
        try:
            program.process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError("the server has ended")
