"""The child's side: a loop that reads chunks from a socket and answers with outcomes.

The process is carried by a ProcessPoolExecutor with one worker: its initializer is `connect`, its
only call is `serve`. Everything that must arrive travels over the private socket instead of the
executor's queues, because a worker that is killed while it writes a large result there leaves the
executor's future unresolved for ever.
"""

from __future__ import annotations

import faulthandler
import io
import math
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from stratsweep_server.backtest import BacktestConfig, BacktestEngine, StrategyConfig
from stratsweep_server.backtest.loading import EngineSpec, describe, load_engine
from stratsweep_server.execution import messages
from stratsweep_server.execution.activity import Activity
from stratsweep_server.execution.lifeline import die_with_server
from stratsweep_server.execution.limits import (
    WorkerLimits,
    apply_memory_limit,
    offer_to_oom_killer,
)
from stratsweep_server.execution.messages import FrameReader, MessageKind
from stratsweep_server.execution.plan import BacktestPlan
from stratsweep_server.market_data.bars import Bars, open_bars

FLUSH_SECONDS = 0.002
"""Outcomes wait this long for company: a frame costs 15-42 us, so this keeps its share near 1 %."""

LATE_FLUSH_SECONDS = 0.02
"""How long an outcome waits at most, while the next backtest runs."""

_MAX_METRICS = 1_000
_MAX_MESSAGE_CHARACTERS = 2_000
_MAX_TRACEBACK_CHARACTERS = 32_000
_RECEIVE_BYTES = 1 << 18
_SESSION_FAILED = 70  # EX_SOFTWARE

_connection: WorkerConnection | None = None


@dataclass(frozen=True, slots=True)
class WorkerConnection:
    """What a worker holds of its server."""

    socket: socket.socket
    activity: Activity
    engine: EngineSpec


def connect(
    pipe: Connection,
    output: Connection,
    activity_path: Path,
    engine: EngineSpec,
    limits: WorkerLimits,
) -> None:
    """The executor's initializer: set the process up and keep the socket."""
    global _connection  # noqa: PLW0603 - an initializer has no other way to hand over
    os.setpgid(0, 0)  # children of a backtest are killed with it; Ctrl-C is the server's business
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_server()
    _redirect_output(output)
    offer_to_oom_killer()
    apply_memory_limit(limits)
    server = socket.socket(fileno=os.dup(pipe.fileno()))
    pipe.close()
    _connection = WorkerConnection(server, Activity(activity_path), engine)


def _redirect_output(output: Connection) -> None:
    """Send what is printed, and the interpreter's last words in a crash, to the server's log."""
    for descriptor in (1, 2):
        os.dup2(output.fileno(), descriptor)
    output.close()
    faulthandler.enable(file=2)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)


def serve() -> None:
    """The executor's only call: build the engine, then run chunks until the server hangs up."""
    connection = _connection
    if connection is None:
        raise RuntimeError("the worker was not connected")
    try:
        _warn_unless_preloaded(connection.engine)
        engine = load_engine(connection.engine)
        ready = messages.encode_ready(describe(engine))
    except BaseException as error:
        text = f"{describe_exception(error)}\n{format_traceback(error)}"
        connection.socket.sendall(messages.encode_start_failed(text))
        return
    connection.socket.sendall(ready)
    try:
        Session(connection.socket, connection.activity, engine).run()
    except BaseException:  # the executor would swallow it and the process would live on, deaf
        traceback.print_exc()
        os._exit(_SESSION_FAILED)


def _warn_unless_preloaded(engine: EngineSpec) -> None:
    # The fork server swallows ImportErrors: without this, workers would just start slowly.
    server = parent_process()
    is_forked = server is not None and server.pid != os.getppid()
    missing = [name for name in engine.preload_modules if name not in sys.modules]
    if is_forked and missing:
        print(f"not preloaded: {', '.join(missing)}; workers start slowly", file=sys.stderr)  # noqa: T201


class Session:
    """Runs the chunks that the server sends."""

    def __init__(self, server: socket.socket, activity: Activity, engine: BacktestEngine) -> None:
        self._server = server
        self._activity = activity
        self._engine = engine
        self._outbox = Outbox(server)
        self._plans: dict[int, PlannedBacktests] = {}

    def run(self) -> None:
        """Until the server closes the socket."""
        reader = FrameReader(max_body_bytes=messages.MAX_BODY_BYTES)
        while data := self._server.recv(_RECEIVE_BYTES):
            for kind, body in reader.feed(data):
                self._handle(kind, body)

    def _handle(self, kind: MessageKind, body: bytes) -> None:
        if kind is MessageKind.PLAN:
            plan_id, plan = messages.decode_plan(body)
            self._plans[plan_id] = PlannedBacktests(plan, self._engine)
        elif kind is MessageKind.RELEASE:
            self._plans.pop(messages.decode_release(body), None)
        elif kind is MessageKind.CHUNK:
            plan_id, chunk_id, indices = messages.decode_chunk(body)
            self._run_chunk(self._plans[plan_id], chunk_id, indices)

    def _run_chunk(self, plan: PlannedBacktests, chunk_id: int, indices: Sequence[int]) -> None:
        activity, outbox = self._activity, self._outbox
        activity.begin_chunk(chunk_id)
        outbox.begin(chunk_id)
        for offset, index in enumerate(indices):
            start = activity.begin_backtest(offset)
            try:
                metrics = plan.run(index)
            except BaseException as error:  # SystemExit and the like too
                outbox.add_failure(start, describe_exception(error), format_traceback(error))
            else:
                outbox.add_metrics(start, metrics)
        activity.idle()
        outbox.end()


class PlannedBacktests:
    """The backtests of one plan on this worker's engine; bars are mapped at the first one."""

    def __init__(self, plan: BacktestPlan, engine: BacktestEngine) -> None:
        self._plan = plan
        self._engine = engine
        self._bars: dict[str, Bars] | None = None

    def run(self, index: int) -> dict[str, float]:
        """Run one combination and return its metrics as plain finite floats."""
        plan = self._plan
        if self._bars is None and plan.bars_paths is not None:
            paths = plan.bars_paths
            self._bars = {symbol: open_bars(symbol, Path(paths[symbol])) for symbol in paths}
        config = BacktestConfig(
            strategy=StrategyConfig(plan.strategy, plan.combination(index)),
            symbols=plan.symbols,
            start_date=plan.start_date,
            end_date=plan.end_date,
            starting_cash=plan.starting_cash,
            commission=plan.commission,
            slippage=plan.slippage,
            bars=self._bars,
        )
        return plain_metrics(self._engine.run_sync(config))


class Outbox:
    """Outcomes of a chunk on their way out, grouped so that each frame carries a few ms of work.

    A backtest's end sends what has gathered for a while. When the next one takes long, a thread
    does: progress must not wait for it, nor be lost when it is killed.
    """

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._has_waiting = threading.Event()
        self._begin(0)
        threading.Thread(target=self._flush_late, name="outbox", daemon=True).start()

    def begin(self, chunk_id: int) -> None:
        """The outcomes that follow are those of a chunk, from its first on."""
        with self._lock:
            self._begin(chunk_id)

    def end(self) -> None:
        """Send what is left of the chunk."""
        with self._lock:
            self._flush()

    def add_metrics(self, start: int, metrics: dict[str, float]) -> None:
        """A backtest that began at `start` (monotonic ns) gave metrics."""
        with self._lock:
            self._add(start, metrics)

    def add_failure(self, start: int, message: str, traceback_text: str) -> None:
        """A backtest that began at `start` (monotonic ns) raised."""
        with self._lock:
            self._failures.append((len(self._rows), message, traceback_text))
            self._add(start, {})

    def _begin(self, chunk_id: int) -> None:
        self._chunk_id = chunk_id
        self._offset = 0
        self._last_flush = time.monotonic_ns()
        self._clear()

    def _clear(self) -> None:
        self._durations: list[float] = []
        self._rows: list[dict[str, float]] = []
        self._failures: list[tuple[int, str, str]] = []

    def _add(self, start: int, metrics: dict[str, float]) -> None:
        now = time.monotonic_ns()
        self._durations.append((now - start) / 1e9)
        self._rows.append(metrics)
        if now - self._last_flush > FLUSH_SECONDS * 1e9:
            self._flush()
        elif not self._has_waiting.is_set():
            self._has_waiting.set()

    def _flush_late(self) -> None:
        while self._has_waiting.wait():
            time.sleep(LATE_FLUSH_SECONDS)
            with self._lock:
                if time.monotonic_ns() - self._last_flush > LATE_FLUSH_SECONDS * 1e9:
                    self._flush()

    def _flush(self) -> None:
        self._has_waiting.clear()
        if not self._rows:
            return
        now = time.monotonic_ns()
        names, table = tabulate(self._rows)
        busy = (now - self._last_flush) / 1e9
        self._server.sendall(
            messages.encode_outcomes(
                self._chunk_id, self._offset, busy, self._durations, names, table, self._failures
            )
        )
        self._offset += len(self._rows)
        self._last_flush = now
        self._clear()


def tabulate(rows: Sequence[dict[str, float]]) -> tuple[list[str], np.ndarray]:
    """Rows of metrics as columns: the names that occur, and float64 (rows, names), NaN = absent."""
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    nan = math.nan
    table = np.array([[row.get(name, nan) for name in names] for row in rows], dtype=np.float64)
    return list(names), table.reshape(len(rows), len(names))


def plain_metrics(result: object) -> dict[str, float]:
    """The metrics of an engine's answer as finite floats; others count as absent.

    Raises:
        TypeError: The answer is not a `BacktestResult`, or a metric is not a number.
        ValueError: There are too many metrics.
    """
    metrics = getattr(result, "metrics", None)
    if not isinstance(metrics, Mapping):
        raise TypeError(f"run_sync returned {type(result).__name__}, not a BacktestResult")
    if len(metrics) > _MAX_METRICS:
        raise ValueError(f"{len(metrics)} metrics; {_MAX_METRICS} are allowed")
    plain = {}
    for name, value in metrics.items():
        if not isinstance(name, str) or len(name) > 100:
            raise TypeError(f"metric name {name!r:.100} is not a text of at most 100 characters")
        number = math.nan if value is None else _number(name, value)
        if math.isfinite(number):
            plain[str(name)] = number
    return plain


def _number(name: str, value: Any) -> float:  # noqa: ANN401 - whatever an engine gives
    reason = "text"
    if not isinstance(value, (str, bytes)):
        try:
            return float(value)
        except Exception as error:
            reason = describe_exception(error)
    raise TypeError(f"metric {name!r} of type {type(value).__name__} is not a number: {reason}")


def describe_exception(error: BaseException) -> str:
    """Type and text of an exception in one line, whatever its own methods do."""
    name = _type_name(error)
    try:
        text = " ".join(str(error).split())
    except BaseException as second:  # a hostile __str__ is no reason to die
        text = f"<its text could not be made: {_type_name(second)}>"
    return (f"{name}: {text}" if text else name)[:_MAX_MESSAGE_CHARACTERS]


def format_traceback(error: BaseException) -> str:
    """The traceback as text, its end where it is long."""
    try:
        text = "".join(traceback.format_exception(error, limit=-50))
    except BaseException as second:
        text = f"<the traceback could not be made: {_type_name(second)}>"
    return text[-_MAX_TRACEBACK_CHARACTERS:]


def _type_name(error: BaseException) -> str:
    # Past the metaclass, which may have its own idea of attributes.
    return str(type.__dict__["__qualname__"].__get__(type(error)))
