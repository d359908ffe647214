"""Labels of a request: they come back, and stand wherever the server names the optimization."""

from __future__ import annotations

import logging

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from stratsweep import AsyncClient
from stratsweep.errors import InvalidConfigError

from tests.requests import optimize_request
from tests.waiting import until

LABELS = {"desk": "rates", "note": "one\ntwo"}


async def test_labels_come_back_in_the_started_event_and_are_no_part_of_the_config(start_server):
    connected = await start_server()
    configs = []
    for labels in ({}, LABELS):
        call = connected.stub.Optimize(optimize_request("ok@*", 2, labels=labels))
        started, *_ = [message.event.started async for message in call]
        assert dict(started.labels) == labels
        configs.append(started.config)
    assert configs[0] == configs[1]


async def test_the_log_names_an_optimization_with_its_labels_at_its_start_and_its_end(
    start_server, caplog
):
    caplog.set_level(logging.INFO)
    connected = await start_server()
    call = connected.stub.Optimize(optimize_request("raise@1", 3, labels=LABELS))
    started, *_ = [message.event.started async for message in call]

    name = f"optimization {started.optimization_id}"
    lines = [line for line in caplog.messages if line.startswith(name)]
    begin, failure, end = lines
    labels = r" (desk=rates, note='one\ntwo')"
    assert begin.startswith(f"{name}{labels}: raise@1 on ANY, 3 combinations")
    assert failure.startswith(f"{name}: combination 1 ")
    assert end.startswith(f"{name}{labels} succeeded: 2 of 3 backtests succeeded")


async def test_the_log_says_which_optimization_its_client_left(start_server, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    connected = await start_server()
    request = optimize_request("sleep@*", 10, symbol=str(tmp_path), labels=LABELS)
    call = connected.stub.Optimize(request)
    started = (await call.read()).event.started
    call.cancel()

    labels = r" (desk=rates, note='one\ntwo')"
    line = f"optimization {started.optimization_id}{labels} cancelled: 0 of 10 backtests succeeded"
    await until(lambda: line in caplog.text, "the end is logged")


async def test_wrong_labels_are_refused_together_with_all_else_that_is_wrong(start_server):
    connected = await start_server()
    request = optimize_request("ok@*", 2, labels={"k" * 65: "v", "run": "a\0"})
    request.config.slippage = -1
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await connected.stub.Optimize(request).read()

    _, bad_request = rpc_status.from_call(refused.value).details
    details = error_details_pb2.BadRequest.FromString(bad_request.value)
    assert [each.field for each in details.field_violations] == [
        f"labels['{'k' * 40}…']",
        "labels['run']",
        "config.slippage",
    ]


async def test_the_client_sends_labels_and_shows_them(start_server):
    connected = await start_server()
    grid = {"symbols": "ANY", "parameters": {"x": [1, 2]}, "optimization_target": "score"}
    async with AsyncClient(connected.server.address) as client:
        started = await client.validate("ok@*", labels=LABELS, **grid)
        result = await client.optimize("ok@*", labels=LABELS, **grid).result()
        with pytest.raises(InvalidConfigError, match="are 17; 16 are allowed"):
            await client.validate("ok@*", labels={f"k{n}": "" for n in range(17)}, **grid)
    assert started.labels == result.labels == LABELS
