"""Write requests and first events for the store, and read them again: implements `Messages`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stratsweep.v1 import optimization_event_pb2
from stratsweep.v1 import optimization_service_pb2 as service_pb2

from stratsweep_server.optimization.config import OptimizationConfig
from stratsweep_server.optimization.preparation import PreparedOptimization
from stratsweep_server.optimization.request import OptimizationRequest
from stratsweep_server.optimization.states import OptimizationState
from stratsweep_server.rpc import requests, responses
from stratsweep_server.rpc.records import state_message


class KeptMessages:
    """Write and read the messages that the store keeps.

    Args:
        worker_count: Says how many workers there are.
    """

    def __init__(self, worker_count: Callable[[], int]) -> None:
        self._worker_count = worker_count

    def request(self, request: OptimizationRequest) -> bytes:
        """Return a request that has no violations as a serialized `OptimizeRequest`."""
        message = service_pb2.OptimizeRequest(
            config=responses.config(request.config),
            optimization_id=request.optimization_id,
            labels=request.labels,
            detached=request.is_detached,
            reuse=request.takes_results,
            resume_from=request.resume_from,
        )
        if request.abandon_grace is not None:
            message.abandon_grace.CopyFrom(responses.duration(request.abandon_grace))
        return message.SerializeToString(deterministic=True)

    def read_request(self, request: bytes) -> OptimizationRequest:
        """Return a request that was kept."""
        message = service_pb2.OptimizeRequest.FromString(request)
        return requests.read_request(message)[0]

    def started(
        self,
        optimization_id: str,
        prepared: PreparedOptimization,
        labels: Mapping[str, str],
        state: OptimizationState,
        reused_count: int,
    ) -> bytes:
        """Return a serialized `OptimizationStarted`: a config of a million values takes a while."""
        message = responses.started(optimization_id, self._worker_count(), prepared, labels)
        message.state = state_message(state)
        message.reused_count = reused_count
        return message.SerializeToString(deterministic=True)

    def read_started(self, started: bytes) -> OptimizationConfig:
        """Return the effective config of a first event that was kept."""
        message = optimization_event_pb2.OptimizationStarted.FromString(started)
        config, violations = requests.read_config(message.config)
        if violations:
            raise ValueError(f"the config of a kept optimization cannot be read: {violations[0]}")
        return config
