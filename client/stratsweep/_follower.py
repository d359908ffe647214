"""Where one who follows an optimization stands: what to ask for next, and after which errors."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import grpc

from stratsweep._assembler import EventAssembler, EventsRequest
from stratsweep._patience import Patience
from stratsweep._status import error_from_rpc, is_without_server
from stratsweep.errors import (
    NotFoundError,
    OptimizationRunningError,
    ServerBusyError,
    StratsweepError,
    StreamInterruptedError,
)
from stratsweep.v1 import optimization_service_pb2

OnReconnect: TypeAlias = Callable[[StreamInterruptedError], object]

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0
"""Seconds, between two attempts to reconnect."""
_BUSY_PAUSE = 1.0
"""Seconds, where a busy server does not say when to ask again: our others may fill it."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Say what to wait for before a call is made again.

    Attributes:
        pause: How long to do nothing, in seconds.
        connect_timeout: How long to wait then for a connection, in seconds; None is not at all.
    """

    pause: float = 0.0
    connect_timeout: float | None = None


class Follower:
    """Follows an optimization over any number of calls. Pure but for the clock.

    Args:
        request: What is asked for at first.
        patience: How long a first answer, and all of it, may take.
        reconnect_timeout: How long to try again after a lost connection, in seconds; 0 is not.
        busy_timeout: How long to ask a busy server again, in seconds; 0 is not.
        on_reconnect: Is told of each loss after which it is tried again.

    Attributes:
        assembler: Makes events of what comes.
        reconnect_count: How often a stream that was lost has gone on.
        is_left: Whether nobody wants to follow any more.
        is_stopping: Whether the server has been asked to stop the work.
        has_ended: Whether the stream has ended, well or by an error.
    """

    def __init__(
        self,
        request: EventsRequest,
        patience: Patience,
        *,
        reconnect_timeout: float = 0.0,
        busy_timeout: float = 0.0,
        on_reconnect: OnReconnect | None = None,
    ) -> None:
        self.assembler = EventAssembler(request)
        self._patience = patience
        self.reconnect_count = 0
        self.is_left = False
        self.is_stopping = False
        self.has_ended = False
        self._request = request
        self._reconnect_timeout = reconnect_timeout
        self._busy_end = time.monotonic() + busy_timeout
        self._on_reconnect = on_reconnect
        self._loss_end = 0.0
        self._attempt = 0
        self._loss: StreamInterruptedError | None = None

    @property
    def rpc(self) -> str:
        """Return the name of the RPC in the contract."""
        return type(self._request).__name__.removesuffix("Request")

    @property
    def optimization_id(self) -> str:
        """Return the id of the optimization: the one that the server says, once it has."""
        started = self.assembler.started
        return self._request.optimization_id if started is None else started.optimization_id

    @property
    def can_reattach(self) -> bool:
        """Return whether a call made again would go on, as far as is known.

        A server that is too old to know ids has given another one.
        """
        return self.optimization_id == self._request.optimization_id != ""

    @property
    def is_bystander(self) -> bool:
        """Return whether the work goes on without this: it is detached, or only watched."""
        is_attached = isinstance(self._request, optimization_service_pb2.OptimizeRequest)
        return not is_attached or self._request.detached  # type: ignore[union-attr] # it has it

    @property
    def owns_work(self) -> bool:
        """Return whether the work is to be stopped where this is left now.

        Not before the start: until then the id may be somebody else's.
        """
        has_begun = self.assembler.started is not None and not self.has_ended
        return has_begun and self.can_reattach and not self.is_bystander

    @property
    def lacks_start(self) -> bool:
        """Return whether the first event is needed, and will not come by itself."""
        return self.assembler.started is None and self._request.after_sequence_number > 0

    def timeout(self) -> float | None:
        """Return the seconds that are left for a call."""
        return self._patience.timeout()

    def next_request(self) -> EventsRequest:
        """Return the request for what has not come yet."""
        if self.assembler.sequence_number == self._request.after_sequence_number:
            return self._request
        request = type(self._request)()
        request.CopyFrom(self._request)  # type: ignore[arg-type] # of the same type
        request.after_sequence_number = self.assembler.sequence_number
        return request

    @property
    def is_lost(self) -> bool:
        """Return whether the connection was lost and nothing has come since."""
        return self._loss is not None

    def note_message(self) -> None:
        """Note that a message has come after a loss: the stream goes on."""
        self._loss = None
        self.reconnect_count += 1

    def note_end(self, error: grpc.RpcError) -> None:
        """Note the error that ends the stream; after a deadline of ours the work may go on."""
        self.has_ended = error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED

    def wait_after(self, error: grpc.RpcError) -> Wait | None:
        """Return what to do before the next call; None where there is none.

        Raises:
            StreamInterruptedError: The connection was lost, and nobody knows the optimization now,
                or could be reached again in time.
        """
        if self.assembler.message_received:
            return self._wait_to_reconnect(error)
        known = error_from_rpc(error)
        if isinstance(known, ServerBusyError):
            return self._wait_while_busy(known)
        timeout = self._patience.connect_timeout(error)
        return Wait(self._pause(timeout), timeout) if timeout > 0 else None

    def _wait_while_busy(self, error: ServerBusyError) -> Wait | None:
        pause = _BUSY_PAUSE if error.retry_after is None else error.retry_after.total_seconds()
        left = self._patience.at_most(self._busy_end - time.monotonic())
        return Wait(pause) if pause <= left else None

    def _wait_to_reconnect(self, error: grpc.RpcError) -> Wait | None:
        known = self.assembler.located(error_from_rpc(error, stream_started=True))
        if self._loss is None:
            if not self._is_loss(error, known):
                return None
            self._begin_loss(known)
        elif isinstance(known, NotFoundError):
            # A server that keeps nothing was started again: that is how the loss ends.
            raise self._lost() from error
        elif not _passes(known):
            return None
        wait = self._next_attempt()
        if wait is None:
            raise self._lost() from error
        return wait

    def _lost(self) -> StreamInterruptedError:
        """Return the loss that could not be mended, which ends the stream."""
        assert self._loss is not None  # noqa: S101 - there is one
        self.has_ended = True
        return self._loss

    def _is_loss(self, error: grpc.RpcError, known: StratsweepError) -> bool:
        """Return whether a stream that broke off is to be asked for again."""
        is_watching = not isinstance(self._request, optimization_service_pb2.OptimizeRequest)
        return (
            self._reconnect_timeout > 0
            and self.can_reattach
            and isinstance(known, StreamInterruptedError)
            and (
                is_without_server(error)
                or known.reason == "DRAINING"
                # Whoever only watches does not make it go on.
                or (known.reason == "OPTIMIZATION_INTERRUPTED" and not is_watching)
            )
        )

    def _begin_loss(self, loss: StratsweepError) -> None:
        assert isinstance(loss, StreamInterruptedError)  # noqa: S101 - by `_is_loss`
        self._loss = loss
        self._attempt = 0
        self._loss_end = time.monotonic() + self._reconnect_timeout
        if self._on_reconnect is not None:
            self._on_reconnect(loss)

    def _next_attempt(self) -> Wait | None:
        if self._patience.is_over:
            return Wait()  # the call itself says so
        left = self._patience.at_most(self._loss_end - time.monotonic())
        if left <= 0:
            return None
        return Wait(self._pause(left))

    def _pause(self, left: float) -> float:
        """Return the seconds until the next attempt: more from one to the next."""
        pause: float = min(left, _LONGEST_PAUSE, _FIRST_PAUSE * 2**self._attempt)
        self._attempt += 1
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 - many are not to come at once


def _passes(error: StratsweepError) -> bool:
    """Return whether a server that is being started again may answer so for a while."""
    if isinstance(error, OptimizationRunningError):
        return bool(error.address)  # the one before it has not ended yet
    return isinstance(error, StreamInterruptedError | ServerBusyError)
