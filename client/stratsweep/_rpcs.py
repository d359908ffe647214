"""The RPCs with one response, a line of a table each: both clients make their calls of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from stratsweep._catalogue import Page, optimization, optimization_page, result_page
from stratsweep._decoding import server_info, strategy_list
from stratsweep.optimizations import Optimization
from stratsweep.outcomes import ParameterResult
from stratsweep.server_info import ServerInfo
from stratsweep.strategies import StrategyList
from stratsweep.v1 import optimization_service_pb2

_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class UnaryRpc(Generic[_Request, _Answer]):
    """Describe an RPC with one response.

    Attributes:
        name: Its name in the contract.
        request: The type of its request.
        decode: Makes of the response what the caller gets.
    """

    name: str
    request: type[_Request]
    decode: Callable[[Any], _Answer]


GET_SERVER_INFO: UnaryRpc[optimization_service_pb2.GetServerInfoRequest, ServerInfo] = UnaryRpc(
    "GetServerInfo", optimization_service_pb2.GetServerInfoRequest, server_info
)
LIST_STRATEGIES: UnaryRpc[optimization_service_pb2.ListStrategiesRequest, StrategyList] = UnaryRpc(
    "ListStrategies", optimization_service_pb2.ListStrategiesRequest, strategy_list
)
GET_OPTIMIZATION: UnaryRpc[optimization_service_pb2.GetOptimizationRequest, Optimization] = (
    UnaryRpc(
        "GetOptimization",
        optimization_service_pb2.GetOptimizationRequest,
        lambda response: optimization(response.optimization),
    )
)
LIST_OPTIMIZATIONS: UnaryRpc[
    optimization_service_pb2.ListOptimizationsRequest, Page[Optimization]
] = UnaryRpc(
    "ListOptimizations", optimization_service_pb2.ListOptimizationsRequest, optimization_page
)
LIST_RESULTS: UnaryRpc[optimization_service_pb2.ListResultsRequest, Page[ParameterResult]] = (
    UnaryRpc("ListResults", optimization_service_pb2.ListResultsRequest, result_page)
)
CANCEL_OPTIMIZATION: UnaryRpc[optimization_service_pb2.CancelOptimizationRequest, Optimization] = (
    UnaryRpc(
        "CancelOptimization",
        optimization_service_pb2.CancelOptimizationRequest,
        lambda response: optimization(response.optimization),
    )
)
DELETE_OPTIMIZATION: UnaryRpc[optimization_service_pb2.DeleteOptimizationRequest, None] = UnaryRpc(
    "DeleteOptimization", optimization_service_pb2.DeleteOptimizationRequest, lambda _: None
)
