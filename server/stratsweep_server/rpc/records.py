"""Say where an optimization stands: from what the catalogue has to the contract's message."""

from __future__ import annotations

from stratsweep.v1 import optimization_event_pb2 as event_pb2
from stratsweep.v1.optimization_service_pb2 import Optimization

from stratsweep_server.optimization.states import OptimizationState
from stratsweep_server.optimization.store import OptimizationRecord
from stratsweep_server.rpc.responses import duration, timestamp

_PREFIX = "OPTIMIZATION_STATE_"


def state_message(state: OptimizationState) -> event_pb2.OptimizationState.ValueType:
    """Return a state as the contract names it."""
    return event_pb2.OptimizationState.Value(f"{_PREFIX}{state.name}")


def read_state(number: int) -> OptimizationState | None:
    """Return a state of the contract; None where that has no such state."""
    return next((state for state in OptimizationState if state_message(state) == number), None)


def optimization_message(record: OptimizationRecord) -> Optimization:
    """Return all that the catalogue has of an optimization, its whole first event included."""
    message = Optimization(
        optimization_id=record.optimization_id,
        state=state_message(record.state),
        completed_count=record.completed_count,
        failed_count=record.failed_count,
        create_time=timestamp(record.create_time),
        running_duration=duration(record.running_seconds),
        message=record.message,
        is_detached=record.is_detached,
        holder_address=record.holder_address,
        stored_bytes=record.stored_bytes,
    )
    message.started.ParseFromString(record.started)
    if record.start_time is not None:
        message.start_time.CopyFrom(timestamp(record.start_time))
    if record.end_time is not None:
        message.end_time.CopyFrom(timestamp(record.end_time))
    return message


def listed_message(record: OptimizationRecord) -> Optimization:
    """Return the same for a list: without the parameters, which may have a million values."""
    message = optimization_message(record)
    message.started.config.ClearField("parameters")
    return message
