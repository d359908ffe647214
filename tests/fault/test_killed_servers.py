"""Servers that are killed in the middle of an optimization, and come back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from stratsweep.v1 import optimization_service_pb2 as service_pb2
from stratsweep_server.storage.disk_store import open_store

from tests.fault.server_program import server
from tests.requests import optimize_request

COUNT = 60
SCRIPTED = ("--engine", "tests.engines:ScriptedEngine")


def rows_of(call, limit: int) -> Iterator[service_pb2.OptimizeResponse]:
    """Up to so many events that are no heartbeats."""
    count = 0
    for response in call:
        if not response.event.HasField("heartbeat"):
            yield response
            count += 1
            if count == limit:
                return


def request_of(seen: dict[int, bytes]) -> service_pb2.OptimizeRequest:
    """The same optimization, from the event after the last one that was seen."""
    number = max(seen, default=0)
    return optimize_request("nap@*", COUNT, optimization_id="night", after_sequence_number=number)


def take(seen: dict[int, bytes], call, limit: int = COUNT + 10) -> None:
    for response in rows_of(call, limit):
        number = response.event.sequence_number
        assert number == max(seen, default=0) + 1
        seen[number] = response.SerializeToString(deterministic=True)


def ranking_of(events: list[bytes]) -> list[tuple]:
    parts = [service_pb2.OptimizeResponse.FromString(each).event.result for each in events]
    rows = [row for part in parts for row in part.ranked_results]
    return [(row.rank, row.combination_index, row.metrics["score"]) for row in rows]


def test_a_client_that_comes_back_has_every_outcome_once_however_often_the_server_is_killed(
    tmp_path,
):
    seen: dict[int, bytes] = {}
    for kill in range(2):
        with server(tmp_path / "state", *SCRIPTED) as (process, stub):
            take(seen, stub.Optimize(request_of(seen)), limit=7 + 5 * kill)
            process.kill()
            process.wait()
    store = open_store(tmp_path / "state", "the test")
    kept = store.log("", "night").indices().tolist()
    with server(tmp_path / "state", *SCRIPTED) as (_, stub):
        take(seen, stub.Optimize(request_of(seen)))
        whole = list(rows_of(stub.Optimize(request_of({})), COUNT + 10))
    log = store.log("", "night")
    store.close()
    assert [each.SerializeToString(deterministic=True) for each in whole] == [
        seen[number] for number in sorted(seen)
    ]
    indices = log.indices().tolist()
    assert indices[: len(kept)] == kept
    assert sorted(indices) == list(range(COUNT))
    assert len(log.runs) == 3

    with server(tmp_path / "undisturbed", *SCRIPTED) as (_, stub):
        events = list(rows_of(stub.Optimize(request_of({})), COUNT + 10))
    undisturbed = [each.SerializeToString(deterministic=True) for each in events]
    assert ranking_of(undisturbed) == ranking_of([seen[number] for number in sorted(seen)])


def refusal(call) -> tuple[str, str]:
    """The reason and the text of the error that is a call's only answer."""
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    info = error_details_pb2.ErrorInfo()
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert rpc_status.from_call(caught.value).details[0].Unpack(info)
    return info.reason, caught.value.details()


def write_bars(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    lines = ["Date,Open,High,Low,Close,Volume"]
    for day in range(400):
        close = 100 + day % 17
        date = f"{2001 + day // 336}-{day // 28 % 12 + 1:02}-{day % 28 + 1:02}"
        lines.append(f"{date},{close},{close + 1},{close - 1},{close},1000")
    (folder / "SPY.csv").write_text("\n".join(lines))


STRATEGY = """
import time
import helper
from stratsweep_server.backtest import strategy
from stratsweep_server.market_data.bars import Bars

@strategy
def slow(bars: Bars, x: int = 5):
    time.sleep(0.01)
    return helper.signal(bars)
"""


def test_what_has_changed_before_the_server_came_back_is_refused_until_it_is_put_back(tmp_path):
    data, code = tmp_path / "data", tmp_path / "code"
    write_bars(data)
    code.mkdir()
    (code / "ideas.py").write_text(STRATEGY)
    (code / "helper.py").write_text("def signal(bars):\n    return bars.close > 105\n")
    request = optimize_request("slow", 200, symbol="SPY", optimization_id="night")
    request.config.optimization_target = "sharpe_ratio"
    arguments = ("--data", str(data), "--strategies", str(code / "ideas.py"))
    with server(tmp_path / "state", *arguments) as (_, stub):
        seen = list(rows_of(stub.Optimize(request), 4))
    for path, before, after, name in (
        (data / "SPY.csv", "2002-03-08,108", "2002-03-08,107.5", "bars of SPY"),
        (code / "ideas.py", "0.01", "0.02", "ideas"),
        (code / "helper.py", "105", "106", "helper"),
    ):
        original = path.read_text()
        assert original.count(before) == 1
        path.write_text(original.replace(before, after))
        with server(tmp_path / "state", *arguments) as (_, stub):
            reason, text = refusal(stub.Optimize(request))
        assert reason == "INPUTS_CHANGED"
        assert [each for each in ("bars of SPY", "ideas", "helper") if each in text] == [name]
        path.write_text(original)
    request.after_sequence_number = len(seen)
    with server(tmp_path / "state", *arguments) as (_, stub):
        events = [each.event for each in seen + list(rows_of(stub.Optimize(request), 210))]
    assert [event.sequence_number for event in events] == list(range(1, 203))
    assert events[-1].result.succeeded_count == 200
