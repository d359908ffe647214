"""Requests as a client without this project's client writes them: plain generated messages."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from stratsweep.v1 import (
    optimization_config_pb2,
    optimization_service_pb2,
    parameter_pb2,
)


def optimize_request(
    script: str, count: int = 10, *, symbol: str = "ANY", timeout: float | None = None, **options
) -> optimization_service_pb2.OptimizeRequest:
    """Ask the scripted engine for x = 0 … count - 1."""
    config = optimization_config_pb2.OptimizationConfig(
        strategy=script,
        symbols=[symbol],
        parameters=[
            parameter_pb2.Parameter(
                name="x", integer_range=parameter_pb2.IntegerRange(start=0, stop=count - 1)
            )
        ],
        optimization_target="score",
    )
    if timeout is not None:
        config.backtest_timeout.CopyFrom(seconds(timeout))
    return optimization_service_pb2.OptimizeRequest(config=config, **options)


def seconds(value: float) -> Duration:
    """A duration of seconds."""
    return Duration(seconds=int(value), nanos=round(value % 1 * 1e9))
