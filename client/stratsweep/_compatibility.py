"""Servers of other versions than this client: what is noticed, and what is said of it.

Nothing is asked for it: what a server has understood comes back in the started event. Its versions
are asked for only where it does not know a call.
"""

from __future__ import annotations

import warnings

from stratsweep._version import CONTRACT_VERSION, __version__
from stratsweep.errors import VersionMismatchWarning, Violation
from stratsweep.server_info import ServerInfo
from stratsweep.v1 import (
    optimization_config_pb2,
    optimization_event_pb2,
    optimization_service_pb2,
)

_BEST = optimization_config_pb2.OPTIMIZATION_DIRECTION_BEST
_CLIENT = f"this client (stratsweep {__version__}, contract {CONTRACT_VERSION})"


def warn_if_ignored(
    request: optimization_service_pb2.OptimizeRequest
    | optimization_service_pb2.WatchOptimizationRequest,
    started: optimization_event_pb2.OptimizationStarted,
) -> None:
    """Warn where a server has left out what a request sets: it does not know that yet."""
    if not isinstance(request, optimization_service_pb2.OptimizeRequest):
        return
    given = {each.name for each, _ in request.config.ListFields()}
    understood = {each.name for each, _ in started.config.ListFields()}
    ignored = given - understood
    if request.labels and not started.labels:
        ignored.add("labels")
    if request.optimization_id not in {"", started.optimization_id}:
        # Too old to keep optimizations: of the id itself, which the client made, nothing is said.
        set_fields = {each.name for each, _ in request.ListFields()}
        ignored |= set_fields & {"detached", "reuse", "resume_from"}
    if ignored:
        _warn(
            f"the server has ignored {', '.join(sorted(ignored))}: it is older than {_CLIENT}; "
            "upgrade the server, or do not set what it does not know"
        )


def explained(violation: Violation) -> Violation:
    """Return a violation, in other words where it is of a direction that a server does not know."""
    field, description = violation.field, violation.description
    if field.endswith("direction") and description == f"{_BEST} is no direction":
        description = (
            "the server does not know each metric's better end, which is the default here: it is "
            f"older than {_CLIENT}; upgrade the server, or say maximize or minimize"
        )
    return Violation(field, description)


def warn_if_incompatible(info: ServerInfo) -> None:
    """Warn where a server's contract has another major version than this client's."""
    if _major(info.contract_version) != _major(CONTRACT_VERSION):
        _warn(f"{_server(info)} has another contract than {_CLIENT}; use versions that agree")


def unknown_call_text(method: str, info: ServerInfo | None = None) -> str:
    """Return what is said of a call that a server does not know.

    Args:
        method: The RPC's name, or another word for it.
        info: What the server says of itself; None where it does not know that question, either.
    """
    server = "the server" if info is None else _server(info)
    cause = "it is older, or no Stratsweep server" if info is None else "upgrade the server"
    return f"{server} does not know {method}, which {_CLIENT} has asked for; {cause}"


def _server(info: ServerInfo) -> str:
    return f"the server (stratsweep {info.server_version}, contract {info.contract_version})"


def _major(contract_version: str) -> str:
    return contract_version.partition(".")[0]


def _warn(text: str) -> None:
    warnings.warn(text, VersionMismatchWarning, stacklevel=3)
