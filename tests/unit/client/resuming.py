"""A scripted server that keeps optimizations: it goes on from any sequence number."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import grpc
from google.rpc import code_pb2
from stratsweep.v1 import optimization_event_pb2, optimization_service_pb2

from .conftest import WAIT_SECONDS, Script, error_info, status
from .numbering import numbered

EVENT_COUNT = 40


@dataclass
class Break:
    """Says how a call ends: after so many messages, by a status or by a callable."""

    count: int
    how: grpc.Status | Callable


def unavailable(reason: str = "") -> grpc.Status:
    details = [error_info(reason)] if reason else []
    return status(code_pb2.UNAVAILABLE, "gone for now", *details)


class Resuming:
    """Takes the place of a `ScriptedServer`'s calls: they play one optimization from any number on.

    Attributes:
        breaks: How the calls end, one after another; those after them end well.
        afters: The `after_sequence_number` of each call.
        stopped: Is set when the optimization has been cancelled.
        step: Is called before each message, with the context.
    """

    def __init__(self, server) -> None:
        self.server = server
        self.breaks: list[Break] = []
        self.afters: list[int] = []
        self.stopped = threading.Event()
        self.stops: list[tuple[str, str]] = []
        self.ignores_ids = False
        self.optimization_id = ""
        self.step: Callable = lambda context: None
        self.lock = threading.Lock()
        server.players = {
            "Optimize": self._play,
            "WatchOptimization": self._play,
            "CancelOptimization": self._cancel,
            "GetOptimization": self._get,
        }

    @property
    def messages(self) -> list:
        script = Script()
        started = script.started(total_count=EVENT_COUNT)
        if not self.ignores_ids:
            started.event.started.optimization_id = self.optimization_id
        progress = [
            script.progress(
                n + 1, script.result_row(n % 4, sharpe_ratio=float(n)), total=EVENT_COUNT
            )
            for n in range(EVENT_COUNT)
        ]
        rows = [script.result_row(n, rank=n + 1, sharpe_ratio=float(n)) for n in range(4)]
        parts = [
            script.part([row], index=index, last=index == len(rows) - 1)
            for index, row in enumerate(rows)
        ]
        return numbered([started, *progress, *parts])

    def _play(self, request, context):
        with self.lock:
            self.optimization_id = request.optimization_id
            self.afters.append(request.after_sequence_number)
            end = self.breaks.pop(0) if self.breaks else Break(1_000, lambda _: None)
        messages = [
            each
            for each in self.messages
            if each.event.sequence_number > request.after_sequence_number
        ]
        last = request.after_sequence_number
        for message in messages[: end.count]:
            self.step(context)
            last = message.event.sequence_number
            yield message
        if isinstance(end.how, grpc.Status):
            context.abort_with_status(end.how)
        end.how(context)
        if self.stopped.is_set():
            yield self.cancelled_part(last)

    def cancelled_part(self, after: int):
        state = optimization_event_pb2.OPTIMIZATION_STATE_CANCELLED
        part = Script().part([], state=state)
        part.event.sequence_number = after + 1
        return part

    def _cancel(self, request, context):
        self.stops.append((request.optimization_id, request.reason))
        self.stopped.set()
        return optimization_service_pb2.CancelOptimizationResponse(
            optimization=Script().optimization()
        )

    def _get(self, request, context):
        optimization = Script().optimization(completed=EVENT_COUNT)
        optimization.started.CopyFrom(self.messages[0].event.started)
        optimization.started.optimization_id = request.optimization_id
        return optimization_service_pb2.GetOptimizationResponse(optimization=optimization)

    def hang(self, context) -> None:
        """A break that lasts until the optimization is cancelled, or the call has ended."""
        ended = threading.Event()
        context.add_callback(ended.set)
        while not (self.stopped.is_set() or ended.is_set()):
            ended.wait(0.01)

    def wait_until_stopped(self) -> None:
        assert self.stopped.wait(WAIT_SECONDS), "nobody cancelled the optimization"
