"""The calls that read optimizations, of a real server that has some running, waiting and kept."""

from __future__ import annotations

import asyncio

import pytest
from stratsweep.v1 import optimization_event_pb2 as event_pb2
from stratsweep.v1 import optimization_service_pb2 as service_pb2

from tests.integration.test_keeping import read_all, read_some, serving
from tests.requests import optimize_request

NAMED = {"optimization_id": "night"}
COUNT = 60


async def test_what_runs_is_watched_and_paged_and_listed_until_it_is_deleted(tmp_path):
    request = optimize_request("nap@*", COUNT, **NAMED)
    async with serving(tmp_path) as stub:
        call = stub.Optimize(request)
        seen = await read_some(call, 8)
        watchers = [
            asyncio.create_task(
                read_all(
                    stub.WatchOptimization(
                        service_pb2.WatchOptimizationRequest(after_sequence_number=after, **NAMED)
                    )
                )
            )
            for after in (0, 5, 40)
        ]
        first = await stub.ListResults(service_pb2.ListResultsRequest(page_size=3, **NAMED))
        assert len(first.results) == 3
        listed = await stub.ListOptimizations(service_pb2.ListOptimizationsRequest())
        assert [each.state for each in listed.optimizations] == [
            event_pb2.OPTIMIZATION_STATE_RUNNING
        ]
        assert 7 <= listed.optimizations[0].completed_count < COUNT
        get = service_pb2.GetOptimizationRequest(**NAMED)
        found = (await stub.GetOptimization(get)).optimization
        assert found.completed_count >= listed.optimizations[0].completed_count
        assert found.best.metrics
        assert found.holder_address
        events = seen + await read_all(call)
        for watcher, after in zip(watchers, (0, 5, 40), strict=True):
            assert await watcher == events[after:]
        rest = await stub.ListResults(
            service_pb2.ListResultsRequest(page_size=3, page_token=first.next_page_token, **NAMED)
        )
        assert rest.total_count == first.total_count < COUNT
        assert rest.results[0].rank == 4
        found = (await stub.GetOptimization(get)).optimization
        assert found.state == event_pb2.OPTIMIZATION_STATE_SUCCEEDED
        assert (found.completed_count, found.holder_address) == (COUNT, "")
        result = service_pb2.OptimizeResponse.FromString(events[-1]).event
        assert found.end_time == result.event_time
        await stub.DeleteOptimization(service_pb2.DeleteOptimizationRequest(**NAMED))
        assert not (
            await stub.ListOptimizations(service_pb2.ListOptimizationsRequest())
        ).optimizations


@pytest.mark.parametrize("keeps", [True, False])
async def test_what_waits_is_watched_until_it_is_cancelled(tmp_path, keeps):
    state = tmp_path if keeps else "none"
    async with serving(state, max_optimizations=1) as stub:
        running = stub.Optimize(optimize_request("nap@*", 1_000, optimization_id="first"))
        await read_some(running, 2)
        waiting = stub.Optimize(optimize_request("nap@*", 5, **NAMED))
        [started] = await read_some(waiting, 1)
        watcher = stub.WatchOptimization(service_pb2.WatchOptimizationRequest(**NAMED))
        assert await read_some(watcher, 1) == [started]
        await stub.CancelOptimization(service_pb2.CancelOptimizationRequest(**NAMED))
        [result] = await read_all(watcher)
        event = service_pb2.WatchOptimizationResponse.FromString(result).event
        assert event.result.state == event_pb2.OPTIMIZATION_STATE_CANCELLED
        assert await read_all(waiting) == [result]
        running.cancel()
