"""`stratsweep.Client` and `AsyncClient` against a real server with real workers.

What holds for both is tested on both, through the same few lines of a face.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

import pytest
from stratsweep import (
    AsyncClient,
    BacktestFailure,
    Client,
    DeadlineExceededError,
    DoubleRange,
    FailureKind,
    IntegerRange,
    InvalidConfigError,
    NotFoundError,
    OptimizationCancelledError,
    OptimizationEvent,
    OptimizationResult,
    OptimizationStarted,
    OptimizationState,
    ParameterResult,
    Progress,
    ServerBusyError,
    ServerUnavailableError,
    StrategyList,
    StreamInterruptedError,
)
from stratsweep_server.rpc.events import formats

from tests.stand_ins import dropped_connections
from tests.waiting import is_alive, until

NOBODY = "127.0.0.1:1"


class SyncFace:
    """`Client`, on a thread of its own."""

    def __init__(self, **options) -> None:
        self._options = options

    async def result(self, address: str, *arguments, **config) -> OptimizationResult:
        def run() -> OptimizationResult:
            with Client(address, **self._options) as client:
                return client.optimize(*arguments, **config).result()

        return await asyncio.to_thread(run)

    async def events(self, address: str, *arguments, **config) -> list[OptimizationEvent]:
        def run() -> list[OptimizationEvent]:
            with Client(address, **self._options) as client:
                return list(client.optimize(*arguments, **config))

        return await asyncio.to_thread(run)

    async def leave(self, address: str, leave_when: Callable, *arguments, **config) -> None:
        """Leave the loop at its first event, once a condition holds."""

        def run() -> None:
            with Client(address, **self._options) as client:
                for _ in client.optimize(*arguments, **config):
                    asyncio.run(until(leave_when, "the loop may be left"))
                    break
                client.list_strategies()  # the client itself lives on

        await asyncio.to_thread(run)

    async def call(self, address: str, method: str, *arguments, **options):
        def run():
            with Client(address, **self._options) as client:
                return getattr(client, method)(*arguments, **options)

        return await asyncio.to_thread(run)


class AsyncFace:
    """`AsyncClient`."""

    def __init__(self, **options) -> None:
        self._options = options

    async def result(self, address: str, *arguments, **config) -> OptimizationResult:
        async with AsyncClient(address, **self._options) as client:
            return await client.optimize(*arguments, **config).result()

    async def events(self, address: str, *arguments, **config) -> list[OptimizationEvent]:
        async with AsyncClient(address, **self._options) as client:
            return [event async for event in client.optimize(*arguments, **config)]

    async def leave(self, address: str, leave_when: Callable, *arguments, **config) -> None:
        async with AsyncClient(address, **self._options) as client:
            async for _ in client.optimize(*arguments, **config):
                await until(leave_when, "the loop may be left")
                break
            await client.list_strategies()

    async def call(self, address: str, method: str, *arguments, **options):
        async with AsyncClient(address, **self._options) as client:
            return await getattr(client, method)(*arguments, **options)


@pytest.fixture(params=[SyncFace, AsyncFace], ids=["sync", "async"])
def make_face(request) -> type[SyncFace] | type[AsyncFace]:
    """Each face, given the options of its client."""
    return request.param


@pytest.fixture
def face(make_face) -> SyncFace | AsyncFace:
    return make_face()


@pytest.fixture
async def address(start_server) -> str:
    """Where a server with the scripted engine listens."""
    return (await start_server()).server.address


def grid(count: int, symbol: object = "ANY", **options) -> dict:
    """A config for the scripted engine: x = 0 … count - 1."""
    config = {"symbols": str(symbol), "parameters": {"x": range(count)}}
    return config | {"optimization_target": "score"} | options


def sleepers_in(folder) -> list[int]:
    return [int(note.read_text()) for note in folder.glob("*.pid")]


async def test_events_are_typed_and_in_order(face, address):
    events = await face.events(address, "raise@3", **grid(20))
    started, *progress, result = events
    assert isinstance(started, OptimizationStarted)
    assert (started.total_count, started.rejected_count, started.worker_count) == (20, 0, 2)
    assert started.config.parameters == {"x": IntegerRange(0, 19)}
    assert started.config.backtest_timeout == timedelta(seconds=300)
    assert started.market_data is None
    assert all(isinstance(each, Progress) for each in progress)
    assert [each.completed_count for each in progress] == list(range(1, 21))
    assert all(
        before.elapsed_duration <= after.elapsed_duration for before, after in pairwise(progress)
    )
    outcomes = [outcome for each in progress for outcome in each.outcomes]
    assert {each.combination_index for each in outcomes} == set(range(20))
    (failure,) = [each for each in outcomes if isinstance(each, BacktestFailure)]
    assert failure.parameters == {"x": 3}
    assert progress[-1].best.parameters == {"x": 19}
    assert isinstance(result, OptimizationResult)
    assert result.optimization_id == started.optimization_id


async def test_the_result_has_the_best_the_ranking_and_the_counts(face, address):
    result = await face.result(address, "raise@3", **grid(20))
    assert result.state is OptimizationState.SUCCEEDED
    assert result.best == result.ranked[0]
    assert isinstance(result.best, ParameterResult)
    assert (result.best.rank, result.best.parameters) == (1, {"x": 19})
    assert result.best.metrics["score"] == 19.0
    assert [row.rank for row in result.ranked] == list(range(1, 20))
    assert (result.total_count, result.succeeded_count, result.failed_count) == (20, 19, 1)
    assert result.execution_duration > timedelta()


async def test_a_backtest_that_raises_exits_or_hangs_is_a_typed_failure(face, address, tmp_path):
    config = grid(10, tmp_path, backtest_timeout=0.3)
    result = await face.result(address, "raise@3,exit@5,hang@7", **config)
    raised, exited, hung = result.failures
    assert (raised.parameters, raised.kind) == ({"x": 3}, FailureKind.ERROR)
    assert raised.message == "ValueError: no luck with 3"
    assert "in _raise" in raised.traceback
    assert (exited.parameters, exited.kind) == ({"x": 5}, FailureKind.CRASHED)
    assert "exited with code 3" in exited.message
    assert (hung.parameters, hung.kind) == ({"x": 7}, FailureKind.TIMED_OUT)
    assert "timeout of 0.3 s" in hung.message
    assert hung.backtest_duration >= timedelta(seconds=0.3)
    assert [row.parameters["x"] for row in result.ranked] == [9, 8, 6, 4, 2, 1, 0]
    assert not any(map(is_alive, sleepers_in(tmp_path)))


async def test_a_result_without_the_target_is_failed_and_not_an_exception(face, address):
    result = await face.result(address, "raise@*", **grid(3))
    assert result.state is OptimizationState.FAILED
    assert result.best is None
    assert len(result.failures) == 3
    assert "all 3 backtests failed" in result.message


async def test_a_progress_interval_groups_outcomes_and_drops_none(face, address):
    _, *progress, _ = await face.events(address, "ok@*", progress_interval=0.1, **grid(500))
    assert len(progress) < 500
    indices = [each.combination_index for event in progress for each in event.outcomes]
    assert sorted(indices) == list(range(500))


@pytest.mark.parametrize("interval", [None, 0.1], ids=["rows", "arrow"])
async def test_a_large_result_is_put_together_from_its_parts(face, address, monkeypatch, interval):
    monkeypatch.setattr(formats, "MAX_MESSAGE_BYTES", 10_000)
    result = await face.result(address, "raise@7", progress_interval=interval, **grid(1_000))
    assert [row.combination_index for row in result.ranked] == [
        index for index in range(999, -1, -1) if index != 7
    ]
    assert [row.rank for row in result.ranked] == list(range(1, 1_000))
    assert [failure.combination_index for failure in result.failures] == [7]


async def test_a_result_that_came_as_arrow_is_the_one_that_came_in_rows(face, address):
    config = grid(200, constraints="x <> 5") | {"max_ranked_results": 50}
    in_rows = await face.result(address, "raise@3", **config)
    in_arrow = await face.result(address, "raise@3", progress_interval=0.1, **config)
    rows, arrow = (
        [(row.rank, row.combination_index, row.parameters, row.metrics["score"]) for row in ranked]
        for ranked in (in_rows.ranked, in_arrow.ranked)
    )
    assert arrow == rows
    assert len(arrow) == 50
    assert in_arrow.best == in_arrow.ranked[0]
    assert [(each.parameters, each.kind, each.message) for each in in_arrow.failures] == [
        (each.parameters, each.kind, each.message) for each in in_rows.failures
    ]


@pytest.mark.parametrize("interval", [None, 0.1], ids=["rows", "arrow"])
async def test_values_of_every_type_travel_in_either_format(face, start_server, interval):
    connected = await start_server(engine="tests.engines:ScriptedEngine")
    values = {"x": [1], "word": ["a", "Ω"], "switch": [True, False], "half": [0.5]}
    config = grid(0) | {"parameters": values}
    config["progress_interval"] = interval
    result = await face.result(connected.server.address, "ok@*", **config)
    assert [row.parameters for row in result.ranked] == [
        {"x": 1, "word": word, "switch": switch, "half": 0.5}
        for word in ("a", "Ω")
        for switch in (True, False)
    ]
    assert result.to_polars()["word"].to_list() == ["a", "a", "Ω", "Ω"]
    assert result.to_pandas()["switch"].tolist() == [True, False, True, False]


async def test_leaving_the_loop_frees_the_workers(face, address, tmp_path):
    def two_run() -> bool:
        return len(sleepers_in(tmp_path)) == 2

    await face.leave(address, two_run, "sleep@*", **grid(10, tmp_path))
    sleepers = sleepers_in(tmp_path)
    await until(lambda: not any(map(is_alive, sleepers)), "the sleepers are gone")
    assert (await face.result(address, "ok@*", **grid(4))).succeeded_count == 4


async def test_a_stream_that_is_cancelled_elsewhere_says_so(address, tmp_path):
    async with AsyncClient(address) as client:
        stream = client.optimize("sleep@*", **grid(10, tmp_path))
        waiting = asyncio.create_task(stream.result())
        await until(lambda: len(sleepers_in(tmp_path)) == 2, "two backtests run")
        stream.cancel()
        with pytest.raises(OptimizationCancelledError):
            await waiting
    await until(lambda: not any(map(is_alive, sleepers_in(tmp_path))), "the sleepers are gone")


async def test_a_cancelled_task_frees_the_workers(address, tmp_path):
    async with AsyncClient(address) as client:
        running = asyncio.create_task(client.optimize("sleep@*", **grid(10, tmp_path)).result())
        await until(lambda: len(sleepers_in(tmp_path)) == 2, "two backtests run")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        sleepers = sleepers_in(tmp_path)
        await until(lambda: not any(map(is_alive, sleepers)), "the sleepers are gone")


async def test_a_passed_deadline_is_an_error_and_frees_the_workers(face, address, tmp_path):
    with pytest.raises(DeadlineExceededError):
        await face.result(address, "sleep@*", timeout=timedelta(seconds=1), **grid(10, tmp_path))
    sleepers = sleepers_in(tmp_path)
    await until(lambda: not any(map(is_alive, sleepers)), "the sleepers are gone")


async def test_many_optimizations_run_at_a_time_on_one_client(address):
    async with AsyncClient(address) as client:
        results = await asyncio.gather(
            *(client.optimize(f"raise@{n}", **grid(30)).result() for n in range(10))
        )
    assert [[each.combination_index for each in result.failures] for result in results] == [
        [number] for number in range(10)
    ]


async def test_every_violation_comes_with_its_field(face, start_server):
    connected = await start_server(engine="tests.engines:DeclaringEngine")
    parameters = {"x": DoubleRange(-11, 3, point_count=5), "y": [1]}
    with pytest.raises(InvalidConfigError) as refused:
        await face.result(
            *(connected.server.address, "parabola"),
            symbols="ANY",
            parameters=parameters,
            optimization_target="depth",
            starting_cash=-1,
        )
    assert refused.value.reason == "INVALID_CONFIG"
    assert {violation.field for violation in refused.value.violations} == {
        "config.parameters[0]",
        "config.parameters[1].name",
        "config.optimization_target",
        "config.starting_cash",
    }


async def test_an_unknown_strategy_is_not_found(face, start_server):
    connected = await start_server(engine="tests.engines:DeclaringEngine")
    with pytest.raises(NotFoundError, match="did you mean 'parabola'") as refused:
        await face.result(
            *(connected.server.address, "parabolla"),
            symbols="ANY",
            parameters={"x": [1, 2]},
            optimization_target="height",
        )
    assert refused.value.reason == "UNKNOWN_STRATEGY"
    assert [violation.field for violation in refused.value.violations] == ["config.strategy"]


async def test_a_busy_server_says_when_to_come_back(face, start_server, tmp_path):
    connected = await start_server(max_optimizations=1, max_queued=0)
    address = connected.server.address
    async with AsyncClient(address) as client:
        events = aiter(client.optimize("sleep@*", **grid(10, tmp_path)))
        await anext(events)
        with pytest.raises(ServerBusyError) as refused:
            await face.result(address, "ok@*", **grid(3))
    assert refused.value.reason == "TOO_MANY_OPTIMIZATIONS"
    assert refused.value.retry_after > timedelta()


@pytest.mark.parametrize("method", ["validate", "list_strategies"])
async def test_an_address_without_a_server_is_unavailable(make_face, method):
    arguments = (["any"], grid(3)) if method == "validate" else ([], {})
    with pytest.raises(ServerUnavailableError) as refused:
        await make_face(connect_timeout=0).call(NOBODY, method, *arguments[0], **arguments[1])
    assert refused.value.reason == ""


# By then gRPC's own attempts to repeat a call are over.
TRIED_IN_VAIN = 4


@pytest.mark.parametrize("method", ["optimize", "list_strategies"])
async def test_a_call_waits_for_a_server_that_comes(
    make_face, start_server, tmp_path_factory, method
):
    # A short name: the path of a Unix socket has room for about a hundred characters.
    path = tmp_path_factory.mktemp("s") / "server.sock"
    address = f"unix:{path}"
    face = make_face(connect_timeout=timedelta(seconds=60))
    with dropped_connections(path) as dropped:
        if method == "optimize":
            call = face.result(address, "ok@*", **grid(3))
        else:
            call = face.call(address, method)
        waiting = asyncio.create_task(call)
        await until(lambda: len(dropped) >= TRIED_IN_VAIN, "it has tried in vain")
    await start_server(listen=address)
    await waiting


@pytest.mark.parametrize("kind", [Client, AsyncClient])
async def test_a_stream_that_waits_for_a_server_can_be_cancelled(kind, tmp_path_factory):
    path = tmp_path_factory.mktemp("s") / "server.sock"
    client = kind(f"unix:{path}", connect_timeout=1_000)
    with dropped_connections(path) as dropped:
        stream = client.optimize("ok@*", **grid(3))
        result = asyncio.to_thread(stream.result) if kind is Client else stream.result()
        waiting = asyncio.create_task(result)
        await until(lambda: len(dropped) >= TRIED_IN_VAIN, "it has tried in vain")
        stream.cancel()
        with pytest.raises(OptimizationCancelledError):
            await waiting
    closing = client.close()
    if closing is not None:
        await closing


async def test_the_first_call_after_a_server_has_come_back_mends_the_connection(
    start_server, tmp_path_factory
):
    path = tmp_path_factory.mktemp("s") / "server.sock"
    address = f"unix:{path}"
    connected = await start_server(listen=address)
    async with AsyncClient(address, connect_timeout=60) as client:
        await client.list_strategies()
        await connected.server.__aexit__(None, None, None)
        with dropped_connections(path) as dropped:
            failing = asyncio.create_task(client.list_strategies())
            await until(lambda: len(dropped) >= TRIED_IN_VAIN, "it has tried in vain")
            failing.cancel()
        await start_server(listen=address)
        await client.list_strategies()


async def test_nobody_is_waited_for_beyond_the_calls_own_timeout(make_face):
    face = make_face(connect_timeout=1_000)
    either = (ServerUnavailableError, DeadlineExceededError)
    with pytest.raises(either):
        await face.call(NOBODY, "list_strategies", timeout=0.2)
    with pytest.raises(either):
        await face.result(NOBODY, "ok@*", timeout=timedelta(seconds=0.8), **grid(3))


async def test_a_server_that_says_why_it_is_unavailable_is_not_waited_for(make_face, start_server):
    connected = await start_server(engine="tests.engines:ConstructorRaises")
    with pytest.raises(ServerUnavailableError, match="no licence for this engine"):
        await make_face(connect_timeout=1_000).call(connected.server.address, "list_strategies")


@pytest.mark.parametrize("timeout", [-1, timedelta(seconds=-1), float("nan")])
def test_a_negative_connect_timeout_is_refused(make_face, timeout):
    client = Client if make_face is SyncFace else AsyncClient
    with pytest.raises(ValueError, match="connect_timeout must be 0 or more"):
        client(NOBODY, connect_timeout=timeout)


async def test_a_server_without_workers_is_unavailable_and_says_why(face, start_server):
    connected = await start_server(engine="tests.engines:ConstructorRaises")
    with pytest.raises(ServerUnavailableError, match="no licence for this engine") as refused:
        await face.result(connected.server.address, "ok@*", **grid(3))
    assert refused.value.reason == "NO_WORKERS"


async def test_a_server_that_stops_interrupts_the_stream(make_face, start_server, tmp_path):
    face = make_face(reconnect_timeout=0)
    connected = await start_server()
    config = grid(10, tmp_path)
    running = asyncio.create_task(face.result(connected.server.address, "sleep@*", **config))
    await until(lambda: len(sleepers_in(tmp_path)) == 2, "two backtests run")
    await connected.server.__aexit__(None, None, None)
    with pytest.raises(StreamInterruptedError, match="the server was stopped") as interrupted:
        await running
    assert interrupted.value.reason == "DRAINING"


async def test_a_config_can_be_validated_without_running_it(face, address):
    started = await face.call(address, "validate", "exit@*", **grid(30, constraints="x % 2 = 0"))
    assert isinstance(started, OptimizationStarted)
    assert (started.total_count, started.rejected_count) == (15, 15)
    assert started.config.constraints == ("x % 2 = 0",)


async def test_what_can_be_run_is_typed(face, start_server):
    connected = await start_server(engine="tests.engines:DeclaringEngine")
    catalogue = await face.call(connected.server.address, "list_strategies")
    assert isinstance(catalogue, StrategyList)
    (strategy,) = catalogue.strategies
    x, shift = strategy.parameters
    assert (strategy.name, x.default, x.minimum, shift.default) == ("parabola", None, -10.0, 3)
    assert [metric.name for metric in catalogue.metrics] == ["height", "distance"]
    assert not catalogue.accepts_any_strategy


async def test_a_ranking_becomes_a_data_frame(face, address):
    result = await face.result(address, "raise@3", **grid(10))
    columns = ["rank", "combination_index", "x", "end", "pid", "score", "start"]
    pandas_frame, polars_frame = result.to_pandas(), result.to_polars()
    assert list(pandas_frame.columns) == polars_frame.columns == columns
    assert pandas_frame["x"].tolist() == polars_frame["x"].to_list() == [9, 8, 7, 6, 5, 4, 2, 1, 0]
    assert pandas_frame.to_dict("list") == polars_frame.to_dict(as_series=False)


async def test_real_bars_are_summarized_and_ranked(face, start_server, real_data):
    connected = await start_server(engine="default", data=real_data)
    started, *_, result = await face.events(
        *(connected.server.address, "sma_cross"),
        symbols=["SPY"],
        parameters={"fast": range(5, 55, 5), "slow": range(20, 220, 20)},
        constraints="fast < slow",
        start_date="2010-01-01",
        progress_interval=0.1,
    )
    assert started.market_data.bar_count > 2_000
    assert 250 < started.market_data.periods_per_year < 254
    assert (started.total_count, started.rejected_count) == (90, 10)
    scores = [row.metrics["sharpe_ratio"] for row in result.ranked]
    assert scores == sorted(scores, reverse=True)
    assert result.best.parameters["fast"] < result.best.parameters["slow"]
