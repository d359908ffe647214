"""Folders that go, fill up, or change while a server runs: it says so, and recovers by itself."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from stratsweep.v1 import optimization_service_pb2, optimization_service_pb2_grpc
from stratsweep_server.optimization import storage_watch

from tests.requests import optimize_request

States = health_pb2.HealthCheckResponse
ENGINE = "tests.fault.faulty_engine:ReadsBars"
LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="limits of other processes")


def write_prices(folder: Path, *symbols: str, bar_count: int = 3) -> None:
    folder.mkdir(exist_ok=True)
    rows = [f"{1_700_000_000 + 60 * number},10,20,9,11,100" for number in range(bar_count)]
    text = "\n".join(["Time,Open,High,Low,Close,Volume", *rows, ""])
    for symbol in symbols:
        (folder / f"{symbol}.csv").write_text(text)


@pytest.fixture
def prices(tmp_path) -> Path:
    folder = tmp_path / "prices"
    write_prices(folder, "SPY")
    return folder


@pytest.fixture
def scratch(tmp_path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def quick_probes(monkeypatch):
    monkeypatch.setattr(storage_watch, "PROBE_SECONDS", 0.02)


def request_of(symbol: str = "SPY") -> optimization_service_pb2.OptimizeRequest:
    return optimize_request("any", 3, symbol=symbol)


async def run(stub, symbol: str = "SPY") -> None:
    """Run an optimization to its end."""
    events = [response.event async for response in stub.Optimize(request_of(symbol))]
    assert events[-1].result.succeeded_count == 3


async def refusal(call) -> tuple[grpc.aio.AioRpcError, error_details_pb2.ErrorInfo]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    for detail in rpc_status.from_call(caught.value).details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return caught.value, info
    raise AssertionError("no ErrorInfo")


async def health_becomes(channel, status) -> None:
    """Wait until a watcher of the health is told."""
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
    async for response in watch:
        if response.status == status:
            watch.cancel()
            return


def take_away(folder: Path, replacement: str | None) -> Path:
    """Move a folder away, and put a file in its place if there is a text for one."""
    away = folder.with_name("away")
    folder.rename(away)
    if replacement is not None:
        folder.write_text(replacement)
    return away


def bring_back(folder: Path, away: Path) -> None:
    if folder.is_file():
        folder.unlink()
    away.rename(folder)


@pytest.mark.parametrize("replacement", [None, "a file"])
@pytest.mark.parametrize("lost", ["scratch directory", "data directory"])
async def test_a_folder_that_is_gone_is_said_and_noticed_when_it_is_back(
    start_server, prices, scratch, lost, replacement, caplog
):
    connected = await start_server(engine=ENGINE, data=prices, scratch=scratch)
    await run(connected.stub)
    folder = {"scratch directory": scratch, "data directory": prices}[lost]
    away = take_away(folder, replacement)

    error, info = await refusal(connected.stub.Optimize(request_of()))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert (info.reason, dict(info.metadata)) == ("STORAGE_UNAVAILABLE", {"folder": lost})
    assert lost in error.details()
    assert str(folder.parent) not in error.details()
    assert str(folder) in caplog.text
    await health_becomes(connected.channel, States.NOT_SERVING)

    bring_back(folder, away)
    await health_becomes(connected.channel, States.SERVING)
    await run(connected.stub)


async def test_what_can_be_run_cannot_be_said_without_the_data_directory(start_server, prices):
    connected = await start_server(engine=ENGINE, data=prices)
    request = optimization_service_pb2.ListStrategiesRequest()
    away = take_away(prices, None)
    with pytest.raises(grpc.aio.AioRpcError, match="data directory cannot be used") as caught:
        await connected.stub.ListStrategies(request)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    bring_back(prices, away)
    assert [each.name for each in (await connected.stub.ListStrategies(request)).symbols] == ["SPY"]


async def test_what_runs_goes_on_though_both_folders_are_gone(start_server, prices, scratch):
    connected = await start_server(engine=ENGINE, data=prices, scratch=scratch)
    request = optimize_request("any", 60, symbol="SPY")
    call = connected.stub.Optimize(request)
    await call.read()
    shutil.rmtree(prices)
    shutil.rmtree(scratch)
    while (response := await call.read()) is not grpc.aio.EOF:
        last = response.event
    assert (last.result.succeeded_count, last.result.failed_count) == (60, 0)


@contextmanager
def server_program(*arguments: str):
    """A real server with workers of its own, and its address."""
    command = [sys.executable, "-m", "stratsweep_server", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        [*command, "--workers", "1", "--engine", ENGINE, *arguments],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        text=True,
    ) as process:
        try:
            yield process, process.stdout.readline().split()[-1]
        finally:
            process.terminate()


@LINUX_ONLY
async def test_bars_for_which_there_is_no_room_are_refused_and_smaller_ones_are_not(
    prices, scratch
):
    """A limit on files stands for a full disk: it fails in the middle of writing, too."""
    write_prices(prices, "LARGE", bar_count=2_000)
    options = ("--data", str(prices), "--scratch", str(scratch), "--state", "none")
    with server_program(*options) as (process, address):
        async with grpc.aio.insecure_channel(address) as channel:
            await health_becomes(channel, States.SERVING)  # workers need files, too
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (40_000, 40_000))
            stub = optimization_service_pb2_grpc.OptimizationServiceStub(channel)
            error, info = await refusal(stub.Optimize(request_of("LARGE")))
            assert (error.code(), info.reason) == (
                grpc.StatusCode.UNAVAILABLE,
                "STORAGE_UNAVAILABLE",
            )
            await run(stub)
            health = health_pb2_grpc.HealthStub(channel)
            answer = await health.Check(health_pb2.HealthCheckRequest())
            assert answer.status == States.SERVING, "there is room for what is usual"


@LINUX_ONLY
async def test_a_disk_without_any_room_is_said_by_health_until_there_is_some(prices, scratch):
    options = ("--data", str(prices), "--scratch", str(scratch), "--state", "none")
    with server_program(*options) as (process, address):
        unlimited = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        async with grpc.aio.insecure_channel(address) as channel:
            await health_becomes(channel, States.SERVING)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, unlimited[1]))
            stub = optimization_service_pb2_grpc.OptimizationServiceStub(channel)
            await refusal(stub.Optimize(request_of()))
            await health_becomes(channel, States.NOT_SERVING)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, unlimited)
            await health_becomes(channel, States.SERVING)
            await run(stub)
