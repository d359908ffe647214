"""Hostile questions about an optimization that there is: each is answered, or refused by a name."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from stratsweep.v1 import optimization_service_pb2 as service_pb2
from stratsweep_server.optimization.memory_store import MemoryStore
from stratsweep_server.optimization.store import UnknownOptimizationError
from stratsweep_server.rpc.reading import Reading
from stratsweep_server.rpc.requests import InvalidRequestError

from tests.fuzz.methods import full_reading_request
from tests.fuzz.mutation import mutate
from tests.fuzz.values import field_paths, spoil
from tests.kept import keep, optimizations_of

ROWS = [None if index % 5 == 2 else {"score": index % 4 - 1.0} for index in range(20)]
REFUSALS = (InvalidRequestError, UnknownOptimizationError)
ROUNDS = 300


async def watched(reading, request):
    return [event async for event in reading.watch(request)]


@pytest.mark.parametrize(
    ("request_type", "call"),
    [
        (service_pb2.WatchOptimizationRequest, watched),
        (service_pb2.GetOptimizationRequest, Reading.optimization),
        (service_pb2.ListOptimizationsRequest, Reading.optimizations),
        (service_pb2.ListResultsRequest, Reading.results),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_hostile_questions_are_answered_or_refused_by_a_name(request_type, call):
    store = MemoryStore()
    await keep(store, "fuzzed", ROWS, strategy="quick", labels={"desk": "rates"})
    reading, generator = Reading(optimizations_of(store), store), Random(7)
    paths = list(field_paths(request_type.DESCRIPTOR))
    answered = 0
    for number in range(ROUNDS):
        request = full_reading_request(request_type())
        if number % 3 == 0:
            data = mutate(request.SerializeToString(), generator)
            try:
                request = request_type.FromString(data)
            except Exception:
                continue
        else:
            spoil(request, generator.choice(paths), generator)
        try:
            async with asyncio.timeout(20):
                await call(reading, request)
        except REFUSALS:
            continue
        answered += 1
    assert 0 < answered < ROUNDS
