"""Errors as statuses: what the contract documents of each reason, and what may not leak."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from stratsweep.v1.error_reason_pb2 import ErrorReason
from stratsweep_server.execution.pool import WorkersUnavailableError
from stratsweep_server.market_data.storage import StorageUnavailableError
from stratsweep_server.optimization.inputs import InputsChangedError
from stratsweep_server.optimization.kept import OptimizationInterruptedError
from stratsweep_server.optimization.memory import MemoryExhaustedError
from stratsweep_server.optimization.places import TooManyOptimizationsError
from stratsweep_server.optimization.preparer import OptimizationRunningError
from stratsweep_server.optimization.store import (
    HeldElsewhereError,
    OptimizationExistsError,
    StoreUnavailableError,
    UnknownOptimizationError,
)
from stratsweep_server.optimization.validation import (
    InvalidConfigError,
    Violation,
    ViolationKind,
)
from stratsweep_server.rpc.requests import InvalidRequestError
from stratsweep_server.rpc.status import (
    DrainingError,
    ErrorStatus,
    MalformedRequestError,
    status_of,
)

CONTRACT = Path(__file__).parents[3] / "protos" / "stratsweep" / "v1" / "error_reason.proto"
PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


def invalid(*kinds: ViolationKind) -> InvalidConfigError:
    return InvalidConfigError([Violation("strategy", "is wrong", kind) for kind in kinds])


ERRORS = {
    "INVALID_CONFIG": invalid(ViolationKind.INVALID),
    "MALFORMED_REQUEST": MalformedRequestError("no message"),
    "UNKNOWN_STRATEGY": invalid(ViolationKind.UNKNOWN_STRATEGY),
    "UNKNOWN_SYMBOL": invalid(ViolationKind.UNKNOWN_SYMBOL, ViolationKind.UNKNOWN_SYMBOL),
    "TOO_MANY_OPTIMIZATIONS": TooManyOptimizationsError(64, 5.0),
    "DRAINING": DrainingError("the server is shutting down"),
    "NO_WORKERS": WorkersUnavailableError("no worker starts"),
    "INTERNAL": RuntimeError("a secret"),
    "STORAGE_UNAVAILABLE": StorageUnavailableError(
        "scratch directory", Path("/secret"), OSError(28, "No space left on device"), lambda: None
    ),
    "MEMORY_EXHAUSTED": MemoryExhaustedError(2_000_000, 3_000_000),
    "OPTIMIZATION_EXISTS": OptimizationExistsError("seed is 7 and was 0"),
    "UNKNOWN_OPTIMIZATION": UnknownOptimizationError("there is no optimization a"),
    "INPUTS_CHANGED": InputsChangedError(["the bars of SPY have changed"]),
    "STORE_UNAVAILABLE": StoreUnavailableError("the disk is full"),
    "OPTIMIZATION_RUNNING": OptimizationRunningError("optimization a is RUNNING"),
    "RUNS_ELSEWHERE": HeldElsewhereError("127.0.0.1:50051"),
    "OPTIMIZATION_INTERRUPTED": OptimizationInterruptedError("optimization a stands still"),
}


def documented_codes() -> dict[str, str]:
    """The status of each reason, as the contract's comments have it."""
    text = re.sub(r"\n *// ?", " ", CONTRACT.read_text())
    return dict(re.findall(r"ERROR_REASON_(\w+): (?:(?!ERROR_REASON_).)*Status: (\w+)\.", text))


def trailers_of(status: ErrorStatus) -> dict[str, object]:
    """The details of a status as a client reads them, by type name."""

    class Call:
        def code(self) -> grpc.StatusCode:
            return status.code

        def details(self) -> str:
            return status.message

        def trailing_metadata(self) -> tuple:
            return status.trailing_metadata()

    details = {}
    for detail in rpc_status.from_call(Call()).details:
        name = detail.TypeName().rpartition(".")[2]
        details[name] = getattr(error_details_pb2, name).FromString(detail.value)
    return details


def test_every_reason_of_the_contract_has_an_error():
    reasons = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.DESCRIPTOR.values_by_name}
    assert reasons - {"UNSPECIFIED"} == set(ERRORS) == set(documented_codes())


@pytest.mark.parametrize("reason", ERRORS)
def test_an_error_has_the_status_that_the_contract_documents(reason):
    status = status_of(ERRORS[reason])
    info = trailers_of(status)["ErrorInfo"]
    assert (info.reason, info.domain) == (reason, "stratsweep")
    assert status.code.name == documented_codes()[reason]


def test_violations_of_several_kinds_are_an_invalid_config():
    status = status_of(invalid(ViolationKind.UNKNOWN_STRATEGY, ViolationKind.UNKNOWN_SYMBOL))
    details = trailers_of(status)
    assert details["ErrorInfo"].reason == "INVALID_CONFIG"
    assert details["ErrorInfo"].metadata == {"violation_count": "2"}
    fields = [each.field for each in details["BadRequest"].field_violations]
    assert fields == ["config.strategy", "config.strategy"]


def test_what_runs_elsewhere_is_said_to_run_where():
    info = trailers_of(status_of(HeldElsewhereError("127.0.0.1:50051")))["ErrorInfo"]
    assert info.metadata == {"address": "127.0.0.1:50051"}


def test_fields_of_a_request_that_has_no_config_are_its_own():
    violations = [Violation("direction", "is none"), Violation("requirements[0]", "is wrong")]
    status = status_of(InvalidRequestError(violations))
    fields = [each.field for each in trailers_of(status)["BadRequest"].field_violations]
    assert fields == ["direction", "requirements[0]"]
    assert status.code is grpc.StatusCode.INVALID_ARGUMENT


def test_a_refusal_for_want_of_room_says_when_to_ask_again():
    details = trailers_of(status_of(TooManyOptimizationsError(64, 5.0)))
    assert details["ErrorInfo"].metadata == {"limit": "64"}
    assert details["RetryInfo"].retry_delay.ToSeconds() == 5


LONG_TEXTS = {
    "ASCII": "a" * 10_000,
    "percent signs": "%" * 10_000,
    "control characters": "\n\x00" * 5_000,
    "Cyrillic": "я" * 10_000,
    "Chinese": "漢" * 10_000,
    "emoji": "😀" * 10_000,
    "half surrogates": "\udc80" * 10_000,
}


def wire_size(status: ErrorStatus) -> int:
    """What a status adds to the trailers, with the 32 bytes that HTTP/2 counts for each entry."""
    message = len(quote(status.message, safe=PRINTABLE))
    (key, details), *others = status.trailing_metadata()
    sizes = [len(name) + len(value) for name, value in others]
    sizes += [len("grpc-message") + message, len(key) + 4 * -(-len(details) // 3)]
    return sum(sizes) + 32 * len(sizes)


@pytest.mark.parametrize("text", LONG_TEXTS.values(), ids=LONG_TEXTS)
def test_a_status_stays_far_below_the_8_kb_of_trailers_that_clients_take(text):
    violations = [Violation(f"constraints[{n}].{text}", text) for n in range(300)]
    refused = status_of(InvalidConfigError(violations))
    details = trailers_of(refused)
    assert wire_size(refused) < 7_000
    assert details["ErrorInfo"].metadata["violation_count"] == "300"
    assert len(details["BadRequest"].field_violations) > 2
    assert refused.message.endswith("… (300 violations)")
    assert wire_size(status_of(DrainingError(f"x{text}"))) < 7_000
    assert wire_size(status_of(WorkersUnavailableError(f"x{text}"))) < 7_000


def test_short_violations_are_sent_as_they_are():
    violations = [Violation(f"constraints[{n}]", f"has no column 'ö{n}'") for n in range(3)]
    details = trailers_of(status_of(InvalidConfigError(violations)))
    assert [(each.field, each.description) for each in details["BadRequest"].field_violations] == [
        (f"config.{each.field}", each.description) for each in violations
    ]


def test_a_folder_that_cannot_be_used_is_named_without_its_path():
    status = status_of(ERRORS["STORAGE_UNAVAILABLE"])
    assert "scratch directory cannot be used: No space left on device" in status.message
    assert trailers_of(status)["ErrorInfo"].metadata == {"folder": "scratch directory"}
    assert "secret" not in str(trailers_of(status)) + status.message


def test_the_retries_of_grpc_are_kept_for_what_may_pass_soon():
    pushback = ("grpc-retry-pushback-ms", "-1")
    lasting = {name for name, error in ERRORS.items() if pushback in trailing_of(error)}
    assert lasting == {"NO_WORKERS"}


def trailing_of(error):
    return status_of(error).trailing_metadata()


def test_only_the_first_line_of_an_error_leaves_the_server():
    status = status_of(WorkersUnavailableError("no worker starts: KeyError\nTraceback: a secret"))
    assert status.message == "no worker starts: KeyError"


def test_the_text_of_an_unforeseen_error_does_not_leave_the_server():
    status = status_of(RuntimeError("a secret"))
    assert "secret" not in status.message
    assert trailers_of(status)["ErrorInfo"].metadata["error_id"] in status.message
