"""A real gRPC server on a free port whose servicer plays what a test scripts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pyarrow as pa
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from stratsweep.v1 import (
    optimization_config_pb2,
    optimization_event_pb2,
    optimization_service_pb2,
    optimization_service_pb2_grpc,
    outcome_pb2,
    parameter_pb2,
    strategy_pb2,
)

from .numbering import Numbering, numbered

WAIT_SECONDS = 20


class Script:
    """Messages and events of an optimization of fast in (5, 10) and slow in (50, 100)."""

    def config(self, **changes):
        config = optimization_config_pb2.OptimizationConfig(
            strategy="sma_cross",
            symbols=["SPY"],
            parameters=[
                parameter_pb2.Parameter(
                    name="slow", integer_list=parameter_pb2.IntegerList(values=[50, 100])
                ),
                parameter_pb2.Parameter(
                    name="fast",
                    integer_range=parameter_pb2.IntegerRange(start=5, stop=10, step=5),
                ),
            ],
            constraints=["fast < slow"],
            optimization_target="sharpe_ratio",
            direction=optimization_config_pb2.OPTIMIZATION_DIRECTION_MAXIMIZE,
            starting_cash=10_000.0,
            date_range=optimization_config_pb2.DateRange(
                start_date="2020-01-02", end_date="2020-12-31"
            ),
        )
        config.backtest_timeout.FromSeconds(300)
        config.MergeFrom(optimization_config_pb2.OptimizationConfig(**changes))
        return config

    def started(self, total_count=4, rejected_count=0, reused_count=0, spans=(), **changes):
        started = optimization_event_pb2.OptimizationStarted(
            optimization_id="opt-1",
            total_count=total_count,
            rejected_count=rejected_count,
            reused_count=reused_count,
            worker_count=2,
            config=self.config(**changes),
            market_data=optimization_event_pb2.MarketDataSummary(
                bar_count=253, periods_per_year=252.3
            ),
            metrics=[
                strategy_pb2.Metric(name=name, unit=unit)
                for name, unit in (
                    ("sharpe_ratio", strategy_pb2.METRIC_UNIT_RATIO),
                    ("total_return", strategy_pb2.METRIC_UNIT_FRACTION),
                    ("max_drawdown", strategy_pb2.METRIC_UNIT_FRACTION),
                    ("trade_count", strategy_pb2.METRIC_UNIT_COUNT),
                    ("final_equity", strategy_pb2.METRIC_UNIT_CURRENCY),
                )
            ],
        )
        for bars in (started.market_data, *spans):
            if not bars.HasField("first_bar_time"):
                bars.first_bar_time.FromJsonString("2020-01-02T00:00:00Z")
                bars.last_bar_time.FromJsonString("2020-12-31T00:00:00Z")
        started.market_data.symbols.extend(spans)
        return Numbering()(self._response(started=started))

    def result_row(self, index, rank=0, **metrics):
        return outcome_pb2.ParameterResult(
            combination_index=index,
            parameters={
                "fast": parameter_pb2.ParameterValue(integer_value=5 + 5 * (index % 2)),
                "slow": parameter_pb2.ParameterValue(integer_value=50 + 50 * (index // 2)),
            },
            metrics=metrics,
            rank=rank,
        )

    def failure(self, index, kind=outcome_pb2.FAILURE_KIND_ERROR, message="ValueError: bad day"):
        return outcome_pb2.BacktestFailure(
            combination_index=index,
            parameters=self.result_row(index).parameters,
            kind=kind,
            message=message,
            traceback="Traceback …",
        )

    def progress(self, completed, *outcomes, total=4, failed=0, best=None, elapsed=1.0):
        progress = optimization_event_pb2.Progress(
            completed_count=completed, total_count=total, failed_count=failed, best=best
        )
        progress.elapsed_duration.FromMilliseconds(round(1000 * elapsed))
        progress.estimated_remaining_duration.FromSeconds(total - completed)
        for outcome in outcomes:
            if isinstance(outcome, outcome_pb2.BacktestFailure):
                progress.outcomes.add(failure=outcome)
            else:
                progress.outcomes.add(result=outcome)
        return self._response(progress=progress)

    def heartbeat(self):
        return self._response(heartbeat=optimization_event_pb2.Heartbeat())

    def part(self, rows=(), failures=(), index=0, last=True, message="", state=None):
        result = optimization_event_pb2.OptimizationResult(
            state=state or optimization_event_pb2.OPTIMIZATION_STATE_SUCCEEDED,
            ranked_results=rows,
            failures=failures,
            total_count=4,
            succeeded_count=4 - len(failures),
            failed_count=len(failures),
            message=message,
            part_index=index,
            is_last_part=last,
        )
        result.execution_duration.FromMilliseconds(420)
        return self._response(result=result)

    def whole(self):
        """A complete stream: three results, one failure."""
        rows = [
            self.result_row(2, rank=1, sharpe_ratio=1.5, total_return=0.25, trade_count=12),
            self.result_row(0, rank=2, sharpe_ratio=0.5, total_return=0.125, trade_count=7),
            self.result_row(3, rank=3, total_return=0.0, trade_count=0),
        ]
        best = rows[0]
        messages = [
            self.started(),
            self.progress(1, rows[0], best=best),
            self.progress(3, rows[1], rows[2], best=best),
            self.progress(4, self.failure(1), failed=1, best=best),
            self.part(rows, [self.failure(1)]),
        ]
        return numbered(messages)

    def whole_in_arrow(self):
        """The stream of `whole` as it comes in Arrow, the ranking in two parts."""
        started, first, second, third, last = self.whole()
        rows = list(last.event.result.ranked_results)
        for message in (first, second):
            progress = message.event.progress
            progress.arrow_results = arrow_stream(outcome.result for outcome in progress.outcomes)
            progress.ClearField("outcomes")
        names = sorted({name for row in rows for name in row.metrics})
        parts = [self.part((), index=0, last=False), self.part((), [self.failure(1)], index=1)]
        for part, ranked in zip(parts, (rows[:2], rows[2:]), strict=True):
            part.event.result.arrow_ranked_results = arrow_stream(ranked, names, is_ranked=True)
            part.event.result.succeeded_count = last.event.result.succeeded_count
            part.event.result.failed_count = last.event.result.failed_count
        return numbered([started, first, second, third, *parts])

    def failed(self):
        """A complete stream of an optimization that could rank nothing."""
        messages = [
            self.started(),
            self.progress(4, *map(self.failure, range(4)), failed=4),
            self.part(
                (),
                [self.failure(index) for index in range(4)],
                message="every backtest failed",
                state=optimization_event_pb2.OPTIMIZATION_STATE_FAILED,
            ),
        ]
        return numbered(messages)

    def catalogue(self):
        response = optimization_service_pb2.ListStrategiesResponse(
            metrics=[strategy_pb2.Metric(name="sharpe_ratio", description="mean over deviation")]
        )
        strategy = response.strategies.add(name="sma_cross", description="Two averages.")
        strategy.parameters.add(
            name="fast",
            type=strategy_pb2.PARAMETER_TYPE_INTEGER,
            default_value=parameter_pb2.ParameterValue(integer_value=10),
            minimum=1,
            description="Bars of the fast average.",
        )
        symbol = response.symbols.add(name="SPY", bar_count=253, notes=["were turned round"])
        symbol.first_bar_time.FromJsonString("2020-01-02T00:00:00Z")
        symbol.last_bar_time.FromJsonString("2020-12-31T00:00:00Z")
        response.symbols.add(name="BROKEN", error="row 7: high below low")
        response.strategies.add(name="trend", source="ideas.trend", takes_columns=False)
        for module, file, is_stale in [
            ("helpers", "helpers.py", False),
            ("ideas.trend", "ideas/trend.py", True),
        ]:
            source = response.sources.add(module=module, file=file, is_stale=is_stale)
            source.digest = "0123456789abcdef" * 4
            source.load_time.FromJsonString("2026-03-02T09:00:00Z")
            source.modification_time.FromJsonString("2026-03-01T23:59:59Z")
        return response

    def optimization(self, state=None, completed=4, **changes):
        """Where the optimization of `whole` stands."""
        optimization = optimization_service_pb2.Optimization(
            optimization_id="opt-1",
            state=state or optimization_event_pb2.OPTIMIZATION_STATE_SUCCEEDED,
            started=self.started().event.started,
            completed_count=completed,
            failed_count=1,
        )
        optimization.create_time.FromJsonString("2026-03-02T09:00:00Z")
        optimization.MergeFrom(optimization_service_pb2.Optimization(**changes))
        return optimization

    def _response(self, **kind):
        event = optimization_event_pb2.OptimizationEvent(**kind)
        return optimization_service_pb2.OptimizeResponse(event=event)


def arrow_stream(rows, metric_names=None, *, is_ranked=False):
    """Results with the parameters fast and slow as the contract says Arrow comes."""
    rows = list(rows)
    names = metric_names or sorted({name for row in rows for name in row.metrics})
    columns = {
        "combination_index": pa.array([row.combination_index for row in rows], pa.int64()),
        "backtest_duration": pa.array([row.backtest_duration.ToTimedelta() for row in rows]),
        "parameters": pa.array(
            [
                {name: row.parameters[name].integer_value for name in ("slow", "fast")}
                for row in rows
            ]
        ),
        "metrics": pa.array(
            [{name: row.metrics.get(name) for name in names} for row in rows],
            pa.struct([(name, pa.float64()) for name in names]),
        ),
    }
    if is_ranked:
        columns = {"rank": pa.array([row.rank for row in rows], pa.int64())} | columns
    batch = pa.record_batch(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def status(code, message, *details):
    """A google.rpc status with packed details, ready for `abort_with_status`."""
    packed = []
    for detail in details:
        any_message = any_pb2.Any()
        any_message.Pack(detail)
        packed.append(any_message)
    return rpc_status.to_status(status_pb2.Status(code=code, message=message, details=packed))


def error_info(reason, **metadata):
    return error_details_pb2.ErrorInfo(domain="stratsweep", reason=reason, metadata=metadata)


def invalid_config(*violations):
    """The status of a refused config; violations are (field, description)."""
    bad_request = error_details_pb2.BadRequest()
    for field, description in violations:
        bad_request.field_violations.add(field=field, description=description)
    return status(
        code_pb2.INVALID_ARGUMENT,
        f"{len(violations)} violations",
        error_info("INVALID_CONFIG", violation_count=str(len(violations))),
        bad_request,
    )


class ScriptedServer(optimization_service_pb2_grpc.OptimizationServiceServicer):
    """Plays `steps`: a message is sent, a status aborts, a callable is called with the context.

    As a server does, it repeats in the started event what a request sets beyond the script, but for
    what it `ignores`. Without `catalogue` or `info` it is one that does not know these calls.

    `steps_of` has those of calls whose first symbol it names. By the name of an RPC, `answers` has
    what its calls get one after another, a response or a status; `players` what plays them instead.
    """

    def __init__(self) -> None:
        self.steps: list = []
        self.ignores: set[str] = set()
        self.steps_of: dict[str, list] = {}
        self.catalogue = optimization_service_pb2.ListStrategiesResponse()
        self.info = optimization_service_pb2.GetServerInfoResponse()
        self.answers: dict[str, list] = {}
        self.players: dict[str, Callable] = {}
        self.questions: list[tuple[str, object]] = []
        self.requests: list[optimization_service_pb2.OptimizeRequest] = []
        self.ended = threading.Event()
        self.ended_alone = threading.Event()
        self.hanging = threading.Event()
        self.deadline_seconds: float | None = None
        self.address = ""

    def Optimize(self, request, context):  # noqa: N802 - gRPC's name
        self.requests.append(request)
        self.deadline_seconds = context.time_remaining()
        context.add_callback(self.ended.set)
        if "Optimize" in self.players:
            yield from self.players["Optimize"](request, context)
            return
        number = Numbering()
        for step in self.steps_of.get(request.config.symbols[0], self.steps):
            if isinstance(step, grpc.Status):
                context.abort_with_status(step)
            elif callable(step):
                step(context)
            else:
                self._repeat(request, step.event)
                yield number(step)

    def ListStrategies(self, request, context):  # noqa: N802 - gRPC's name
        if self.steps and isinstance(self.steps[0], grpc.Status):
            context.abort_with_status(self.steps[0])
        return self.catalogue or self._refuse(context)

    def GetServerInfo(self, request, context):  # noqa: N802 - gRPC's name
        return self.info or self._refuse(context)

    def WatchOptimization(self, request, context):  # noqa: N802 - gRPC's name
        self.questions.append(("WatchOptimization", request))
        player = self.players.get("WatchOptimization", lambda *_: self.steps)
        for message in player(request, context):
            yield optimization_service_pb2.WatchOptimizationResponse(event=message.event)

    def GetOptimization(self, request, context):  # noqa: N802 - gRPC's name
        return self._answer("GetOptimization", request, context)

    def ListOptimizations(self, request, context):  # noqa: N802 - gRPC's name
        return self._answer("ListOptimizations", request, context)

    def ListResults(self, request, context):  # noqa: N802 - gRPC's name
        return self._answer("ListResults", request, context)

    def CancelOptimization(self, request, context):  # noqa: N802 - gRPC's name
        return self._answer("CancelOptimization", request, context)

    def DeleteOptimization(self, request, context):  # noqa: N802 - gRPC's name
        return self._answer("DeleteOptimization", request, context)

    def asked(self, name) -> list:
        """The requests of an RPC so far."""
        return [request for rpc, request in self.questions if rpc == name]

    def _answer(self, name, request, context):
        self.questions.append((name, request))
        if name in self.players:
            return self.players[name](request, context)
        if not self.answers.get(name):
            return self._refuse(context)
        answer = self.answers[name].pop(0)
        if isinstance(answer, grpc.Status):
            context.abort_with_status(answer)
        return answer

    def _refuse(self, context) -> None:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")

    def _repeat(self, request, event) -> None:
        if not event.HasField("started"):
            return
        started, missing = event.started, optimization_config_pb2.OptimizationConfig()
        missing.CopyFrom(request.config)
        for name in {each.name for each, _ in started.config.ListFields()} | self.ignores:
            if name in missing.DESCRIPTOR.fields_by_name:
                missing.ClearField(name)
        started.config.MergeFrom(missing)
        if "labels" not in self.ignores:
            started.labels.update(request.labels)

    def hang(self, context) -> None:
        """A step that lasts until the call has ended."""
        self.hanging.set()
        self.ended.wait(WAIT_SECONDS)

    def hang_alone(self, context) -> None:
        """A step that lasts until this very call has ended, whatever becomes of others."""
        ended = threading.Event()
        context.add_callback(ended.set)
        assert ended.wait(WAIT_SECONDS), "the server never saw the end of the call"
        self.ended_alone.set()

    def wait_until_ended(self) -> None:
        """Return when the server has seen the end of the call."""
        assert self.ended.wait(WAIT_SECONDS), "the server never saw the end of the call"


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def statuses() -> dict[str, Callable]:
    """Builders of statuses: `status`, `error_info`, `invalid_config`."""
    return {"status": status, "error_info": error_info, "invalid_config": invalid_config}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    servicer = ScriptedServer()
    server = grpc.server(ThreadPoolExecutor(4))
    optimization_service_pb2_grpc.add_OptimizationServiceServicer_to_server(servicer, server)
    servicer.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield servicer
    servicer.ended.set()
    server.stop(None).wait()


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replace the server program, in child processes only, by the given code."""

    def install(code: str) -> None:
        package = tmp_path / "stand-in" / "stratsweep_server"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(package.parent))

    return install
