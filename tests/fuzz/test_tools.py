"""The fuzz test's own parts: it reaches every field, repeats itself, and sees what it is to see."""

from __future__ import annotations

from random import Random

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2
from grpc_status import rpc_status
from stratsweep.v1 import optimization_config_pb2, optimization_service_pb2, parameter_pb2

from tests.fuzz.arithmetic import rejected_range
from tests.fuzz.attacks import Arsenal, Attack
from tests.fuzz.axes import values_of
from tests.fuzz.calls import Ending
from tests.fuzz.findings import Findings, from_text, to_text
from tests.fuzz.grids import full_request
from tests.fuzz.methods import Method
from tests.fuzz.minimization import minimize
from tests.fuzz.values import field_paths, flood, spoil
from tests.fuzz.verdict import violations

REQUEST = optimization_service_pb2.OptimizeRequest
METHODS = [
    Method("/stratsweep.v1.OptimizationService/Optimize", REQUEST.DESCRIPTOR),
    Method("/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest.DESCRIPTOR),
]
PATHS = [pytest.param(path, id=path[-1].full_name) for path in field_paths(REQUEST.DESCRIPTOR)]
ATTACK = Attack("hostile values", METHODS[0].path, (full_request().SerializeToString(),))


def ending(code: grpc.StatusCode, message: str = "no", *details) -> Ending:
    """A refusal with details."""
    status = status_pb2.Status(code=getattr(code_pb2, code.name), message=message)
    for detail in details:
        status.details.add().Pack(detail)
    trailers = tuple(rpc_status.to_status(status).trailing_metadata) if details else ()
    return Ending(code, message, trailers, [], 0.0)


def reason(name: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=name, domain="stratsweep")


def config_of(text: str, **axes: list[int]) -> optimization_config_pb2.OptimizationConfig:
    """Lists of whole numbers, and a constraint."""
    return optimization_config_pb2.OptimizationConfig(
        constraints=[text],
        parameters=[
            parameter_pb2.Parameter(name=name, integer_list=parameter_pb2.IntegerList(values=each))
            for name, each in axes.items()
        ],
    )


@pytest.mark.parametrize("path", PATHS)
def test_each_field_of_a_request_can_be_spoiled(path):
    good = full_request()
    spoiled = [full_request() for _ in range(20)]
    for number, request in enumerate(spoiled):
        spoil(request, path, Random(number))
    assert any(request != good for request in spoiled)


@pytest.mark.parametrize("path", PATHS)
def test_a_flood_adds_to_a_request_that_can_still_be_read(path):
    data = full_request().SerializeToString() + flood(path, 10_000, Random(1))
    request = REQUEST.FromString(data)
    assert request.config.strategy or path[-1].name == "strategy"
    assert len(data) < 200_000
    if any(field.is_repeated for field in path):
        assert len(data) > 5_000


def test_calls_of_the_same_number_are_the_same():
    first, second = Arsenal(METHODS, 1), Arsenal(METHODS, 1)
    for number in range(50):
        assert first.small(number) == second.small(number)
        assert first.large(number) == second.large(number)
    assert first.small(1) != Arsenal(METHODS, 2).small(1)


@pytest.mark.parametrize(
    "refusal",
    [
        ending(grpc.StatusCode.INVALID_ARGUMENT, "no", reason("INVALID_CONFIG")),
        ending(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "later",
            reason("TOO_MANY_OPTIMIZATIONS"),
            error_details_pb2.RetryInfo(),
        ),
    ],
)
def test_a_refusal_by_the_contract_is_none(refusal):
    assert list(violations(ATTACK, refusal)) == []


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (ending(grpc.StatusCode.INTERNAL), "INTERNAL: no"),
        (ending(grpc.StatusCode.UNKNOWN), "UNKNOWN: no"),
        (ending(grpc.StatusCode.CANCELLED), "CANCELLED: no"),
        (ending(grpc.StatusCode.DEADLINE_EXCEEDED), "no answer in 0.0 s"),
        (ending(grpc.StatusCode.INVALID_ARGUMENT), "INVALID_ARGUMENT without details: no"),
        (
            ending(grpc.StatusCode.NOT_FOUND, "no", reason("BAD_LUCK")),
            "NOT_FOUND with the reasons ['ERROR_REASON_BAD_LUCK']",
        ),
        (
            ending(grpc.StatusCode.RESOURCE_EXHAUSTED, "no", reason("TOO_MANY_OPTIMIZATIONS")),
            "RESOURCE_EXHAUSTED without RetryInfo: no",
        ),
        (
            ending(grpc.StatusCode.INVALID_ARGUMENT, "漢" * 900, reason("INVALID_CONFIG")),
            "11,949 bytes of trailers; clients reject more than 8,192",
        ),
        (Ending(grpc.StatusCode.OK, "", (), [], 0.0), "an end without an answer"),
    ],
)
def test_what_is_not_by_the_contract_is_seen(wrong, text):
    assert next(violations(ATTACK, wrong)) == text


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("x < 3", [1, 2, 3], range(1, 2)),
        ("x * 9223372036854775807 > 0", [-2, 2], range(1, 2)),
        ("x + 1 > x", [2**62], range(1)),
        ("x + 1 > x", [2**63 - 1], range(2)),
        ("x / 0 > 5", [1], range(1, 2)),
        ("x // 2 == -3", [-7, -6, -5], range(1, 2)),
        ("x % 2 == -1", [-7, 7, 8], range(2, 3)),
        ("x / 3 * 3 == x", [1, 2], range(3)),
        ("abs(x) > 1", [1], None),
        ("x < 3 OR x > 5", [1], None),
    ],
)
def test_what_constraints_reject_is_foretold_exactly(text, values, expected):
    assert rejected_range(config_of(text, x=values)) == expected


def test_ranges_have_the_values_that_the_contract_says():
    axis = parameter_pb2.Parameter()
    axis.integer_range.start, axis.integer_range.stop = 2**63 - 3, 2**63 - 1
    axis.integer_range.step = 2
    assert list(values_of(axis)) == [2**63 - 3, 2**63 - 1]
    axis.double_range.start, axis.double_range.stop, axis.double_range.step = 0.1, 0.55, 0.1
    assert list(values_of(axis)) == [0.1, 0.2, 0.3, 0.4, 0.5]


async def test_a_request_is_made_smaller_as_long_as_it_shows_the_same():
    async def shows(request: REQUEST) -> bool:
        return (
            "漢" in request.config.strategy
            and len(request.config.symbols) > 1
            and "run" in request.labels
        )

    request = full_request()
    request.config.strategy = "abc漢def"
    request.config.symbols.extend(["b", "c", "d"])
    smaller = await minimize(request, shows, 20.0)
    assert smaller.config.strategy == "漢"
    assert len(smaller.config.symbols) == 2
    assert len(smaller.config.ListFields()) == 2
    assert smaller.labels == {"run": "7"}


def test_findings_that_look_alike_are_one_with_the_smallest_request(tmp_path):
    findings = Findings()
    for number in (1, 22, 333):
        attack = Attack("flood", "/a/B", (b"\xff" * (4 - len(str(number))),))
        findings.add(f"{number} combinations of 'x{number}' are wrong", attack)
    (line,) = findings.lines(tmp_path)
    assert "3 times" in line
    assert (
        from_text((tmp_path / "finding-1.hex").read_text()) == attack == from_text(to_text(attack))
    )
