"""Encode and decode what the server and a worker say to each other over their private socket.

Every message is a frame: one byte of kind, four of length, a body. What comes from a worker is
inert by construction (JSON text and rows of numbers): the server never unpickles what a backtest
made, and refuses a frame that is too long or does not parse. Only the server sends pickles (its own
plans), of any length.
"""

from __future__ import annotations

import json
import math
import pickle
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stratsweep_server.backtest import (
    EngineDescription,
    Metric,
    MetricUnit,
    OptimizationDirection,
    ParameterType,
    Strategy,
    StrategyParameter,
)
from stratsweep_server.backtest.sources import ModuleSource
from stratsweep_server.execution.outcomes import BacktestFailure, FailureKind, OutcomeBatch
from stratsweep_server.execution.plan import BacktestPlan

MAX_BODY_BYTES = 2**32 - 1
MAX_WORKER_BODY_BYTES = 16 * 1024 * 1024
MAX_INPUTS = 20_000
MAX_INPUT_CHARACTERS = 1_000

_FRAME = struct.Struct("<BI")
_CHUNK = struct.Struct("<QQQ")
_OUTCOMES = struct.Struct("<QIIId")
_REMEMBERED_BYTES = 1 << 12


class MessageKind(IntEnum):
    """Number the kinds of frames; the first three go to the worker, the others come from it."""

    PLAN = 1
    RELEASE = 2
    CHUNK = 3
    READY = 4
    START_FAILED = 5
    OUTCOMES = 6


IndexLookup: TypeAlias = Callable[[int, int, int], NDArray[np.int64]]
"""Maps (chunk id, offset, count) to the combination indices there; raises LookupError if none."""


class MalformedMessageError(Exception):
    """Report bytes from a worker that are no message: something in it wrote to this socket."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Hold the outcomes of consecutive combinations of a chunk.

    Attributes:
        chunk_id: The chunk.
        offset: Place in the chunk of the first row.
        busy_duration: Seconds the worker spent on them, its own overhead included.
        batch: The rows.
    """

    chunk_id: int
    offset: int
    busy_duration: float
    batch: OutcomeBatch


class FrameReader:
    """Cut a stream of bytes into frames.

    Args:
        max_body_bytes: Longer bodies are refused before they are read.
    """

    def __init__(self, max_body_bytes: int = MAX_WORKER_BODY_BYTES) -> None:
        self._max_body_bytes = max_body_bytes
        self._head = bytearray()
        self._kind: MessageKind | None = None
        self._pieces: list[memoryview] = []
        self._missing = 0

    def feed(self, data: bytes) -> Iterator[tuple[MessageKind, bytes]]:
        """Yield every frame that is complete.

        Raises:
            MalformedMessageError: The bytes are no frame.
        """
        rest = memoryview(data)
        while True:
            if self._kind is None:
                end = _FRAME.size - len(self._head)
                self._head += rest[:end]
                rest = rest[end:]
                if len(self._head) < _FRAME.size:
                    return
                self._kind, self._missing = self._begin(self._head)
                self._head.clear()
            piece, rest = rest[: self._missing], rest[self._missing :]
            self._pieces.append(piece)
            self._missing -= len(piece)
            if self._missing:
                return
            kind, body = self._kind, b"".join(self._pieces)  # the only copy of a long one
            self._kind = None
            self._pieces.clear()
            yield kind, body

    def _begin(self, head: bytearray) -> tuple[MessageKind, int]:
        kind, length = _FRAME.unpack(head)
        if kind not in MessageKind.__members__.values() or length > self._max_body_bytes:
            raise MalformedMessageError(f"a frame of kind {kind} and {length} bytes")
        return MessageKind(kind), length


def frame(kind: MessageKind, *body: bytes) -> bytes:
    """Build a frame that is ready to send, from a body in one part or several."""
    return b"".join((_FRAME.pack(kind, sum(map(len, body))), *body))


def encode_plan(plan_id: int, plan: BacktestPlan) -> bytes:
    """Build the PLAN frame, sent with the bars' file before a worker's first chunk of the plan."""
    return frame(MessageKind.PLAN, pickle.dumps((plan_id, plan), pickle.HIGHEST_PROTOCOL))


def decode_plan(body: bytes) -> tuple[int, BacktestPlan]:
    """Return a plan's id and the plan (in the worker: the sender is the server itself)."""
    plan_id, plan = pickle.loads(body)  # noqa: S301 - only the server writes to this socket
    return plan_id, plan


def encode_release(plan_id: int) -> bytes:
    """Build the RELEASE frame: no more chunks of that plan will come."""
    return frame(MessageKind.RELEASE, str(plan_id).encode())


def decode_release(body: bytes) -> int:
    """Return the id of the plan to forget."""
    return int(body)


def encode_chunk(
    plan_id: int, chunk_id: int, indices: NDArray[np.int64], *, apart: bool = False
) -> bytes:
    """Build the CHUNK frame; `apart` asks for one backtest after another, never a batch."""
    return frame(MessageKind.CHUNK, _CHUNK.pack(plan_id, chunk_id, apart), indices.tobytes())


def decode_chunk(body: bytes) -> tuple[int, int, NDArray[np.int64], bool]:
    """Return plan id, chunk id, combination indices, and whether to run them one after another."""
    plan_id, chunk_id, apart = _CHUNK.unpack_from(body)
    return plan_id, chunk_id, np.frombuffer(body, np.int64, offset=_CHUNK.size), bool(apart)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Tell what a worker has loaded.

    Attributes:
        description: What its engine declares.
        sources: The user's modules.
        inputs: What outcomes depend on, see `backtest.inputs`: short texts by readable names.
    """

    description: EngineDescription
    sources: tuple[ModuleSource, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)


def encode_ready(loaded: Loaded) -> bytes:
    """Build the READY frame."""
    sources = [asdict(each) for each in loaded.sources]
    return frame(
        MessageKind.READY, _json([asdict(loaded.description), sources, dict(loaded.inputs)])
    )


def decode_ready(body: bytes) -> Loaded:
    """Return what a worker has loaded.

    Raises:
        MalformedMessageError: The body is no description.
    """
    try:
        fields, sources, inputs = json.loads(body)
        description = EngineDescription(
            strategies=tuple(_strategy(entry) for entry in fields["strategies"]),
            metrics=tuple(_metric(entry) for entry in fields["metrics"]),
            uses_market_data=bool(fields["uses_market_data"]),
        )
        return Loaded(description, tuple(_source(entry) for entry in sources), _inputs(inputs))
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise MalformedMessageError(f"a READY message that does not parse: {error}") from error


def _source(fields: dict[str, Any]) -> ModuleSource:
    time = fields["modification_time"]
    if type(time) is not int or not 0 <= time < 2**63:
        raise ValueError(f"{time!r} is no time")
    return ModuleSource(
        _text(fields["module"]), _text(fields["path"]), _text(fields["digest"]), time
    )


def _inputs(fields: object) -> dict[str, str]:
    if not isinstance(fields, dict) or len(fields) > MAX_INPUTS:
        raise ValueError("inputs that are no mapping, or too many")
    if any(
        len(text) > MAX_INPUT_CHARACTERS for item in fields.items() for text in map(_text, item)
    ):
        raise ValueError("an input that is too long")
    return fields


def _metric(fields: dict[str, Any]) -> Metric:
    direction = fields["best_direction"]
    if direction == OptimizationDirection.BEST.value:
        raise ValueError(f"{direction!r} is no end")
    return Metric(
        **{
            **fields,
            "unit": MetricUnit(fields["unit"]),
            "best_direction": None if direction is None else OptimizationDirection(direction),
        }
    )


def _strategy(fields: dict[str, Any]) -> Strategy:
    parameters = tuple(
        StrategyParameter(
            **{
                **entry,
                "type": ParameterType(entry["type"]),
                "choices": tuple(entry["choices"]),
            }
        )
        for entry in fields["parameters"]
    )
    takes_columns = fields["takes_columns"]
    if not (takes_columns is None or isinstance(takes_columns, bool)):
        raise ValueError(f"{takes_columns!r} is neither true nor false")
    return Strategy(
        fields["name"], fields["description"], parameters, fields["module"], takes_columns
    )


def encode_start_failed(message: str) -> bytes:
    """Build the START_FAILED frame: the engine could not be built, and why."""
    return frame(MessageKind.START_FAILED, message.encode(errors="replace"))


def encode_outcomes(
    chunk_id: int,
    offset: int,
    busy_duration: float,
    durations: Sequence[float] | NDArray[np.float64],
    metric_names: Sequence[str],
    metrics: NDArray[np.float64],
    failures: Sequence[tuple[int, str, str]],
) -> bytes:
    """Build the OUTCOMES frame; failures are (row, message, traceback).

    The metrics, of shape (rows, names), travel column by column.
    """
    header = _json([metric_names, failures])
    header += b" " * (-(_OUTCOMES.size + len(header)) % 8)  # aligned numbers are read faster
    prefix = _OUTCOMES.pack(chunk_id, offset, len(durations), len(header), busy_duration)
    seconds = np.asarray(durations, np.float64).tobytes()
    return frame(MessageKind.OUTCOMES, prefix, header, seconds, metrics.tobytes(order="F"))


def decode_outcomes(body: bytes, indices_of: IndexLookup) -> Outcomes:
    """Return outcomes in the form in which the server keeps them.

    Args:
        body: The frame's body.
        indices_of: Gives the combination indices of a chunk from an offset on.

    Raises:
        MalformedMessageError: The body does not parse or does not fit the chunk.
    """
    try:
        chunk_id, offset, count, header_length, busy_duration = _OUTCOMES.unpack_from(body)
        start = _OUTCOMES.size + header_length
        read_header = _remembered_header if header_length <= _REMEMBERED_BYTES else _header
        names, failures = read_header(body[_OUTCOMES.size : start])
        numbers = np.frombuffer(body, np.float64, offset=start)
        durations, metrics = numbers[:count], numbers[count:].reshape(len(names), count).T
        if not 0 <= busy_duration < math.inf or not _are_durations(durations):
            raise ValueError("a duration out of range")
        if np.isinf(metrics).any():
            raise ValueError("a number out of range")
        indices = indices_of(chunk_id, offset, count)
        batch = OutcomeBatch(
            indices=indices,
            durations=durations,
            metric_names=names,
            metrics=metrics,
            failures=tuple(
                BacktestFailure(
                    int(indices[_row(row, count)]),
                    FailureKind.ERROR,
                    _text(message),
                    _text(traceback),
                    float(durations[row]),
                )
                for row, message, traceback in failures
            ),
        )
    except (struct.error, ValueError, TypeError, LookupError, RecursionError) as error:
        raise MalformedMessageError(f"an OUTCOMES message that does not parse: {error}") from error
    return Outcomes(chunk_id, offset, busy_duration, batch)


def _header(header: bytes) -> tuple[tuple[str, ...], list[Any]]:
    names, failures = json.loads(header)
    return tuple(map(_text, names)), failures


# Nearly all messages of an optimization have the same one.
_remembered_header = lru_cache(maxsize=16)(_header)


def _json(value: object) -> bytes:
    # An exception's text can have half a character in it, from a file name that is no UTF-8: it
    # becomes "?".
    text = json.dumps(value, ensure_ascii=False, default=lambda member: member.value)
    return text.encode(errors="replace")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    value.encode()  # half a character could not be sent on to a client
    return value


def _row(value: object, count: int) -> int:
    if type(value) is not int or not 0 <= value < count:
        raise ValueError(f"no row {value!r} of {count}")
    return value


def _are_durations(seconds: NDArray[np.float64]) -> bool:
    # Either end is NaN where any of them is.
    return len(seconds) == 0 or bool(seconds.min() >= 0 and seconds.max() < math.inf)
