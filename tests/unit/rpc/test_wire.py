"""Bytes put together by hand against those of protobuf."""

import pytest
from stratsweep.v1.optimization_event_pb2 import OptimizationEvent, OptimizationResult
from stratsweep_server.rpc.events.wire import prefix


@pytest.mark.parametrize("length", [0, 1, 120, 125, 126, 127, 128, 16_380, 16_384, 3_000_000])
def test_a_prefix_and_a_message_are_the_field_that_protobuf_writes(length):
    result = OptimizationResult(message="x" * length)
    wire = result.SerializeToString()
    event = prefix(OptimizationEvent.RESULT_FIELD_NUMBER, len(wire)) + wire
    assert event == OptimizationEvent(result=result).SerializeToString()


def test_a_field_number_may_take_two_bytes():
    assert prefix(16, 300) == bytes([0x82, 0x01, 0xAC, 0x02])
