"""Options of the channel: a caller's take the place of the client's own, by name."""

import asyncio

import pytest
from stratsweep import AsyncClient, Client, ServerError


def run(face, address, options):
    """Run an optimization to its end on a client of either face with these channel options."""
    if face is Client:
        with Client(address, channel_options=options) as client:
            return client.optimize("sma_cross", symbols="SPY").result()

    async def run_async():
        async with AsyncClient(address, channel_options=options) as client:
            return await client.optimize("sma_cross", symbols="SPY").result()

    return asyncio.run(run_async())


@pytest.fixture(params=[Client, AsyncClient])
def face(request):
    return request.param


def test_an_option_of_the_callers_reaches_the_channel(face, server, script):
    agents = []
    server.steps = [
        lambda context: agents.append(dict(context.invocation_metadata())["user-agent"]),
        *script.whole(),
    ]
    run(face, server.address, [("grpc.primary_user_agent", "desk-7")])
    (agent,) = agents
    assert agent.startswith("desk-7 ")


def test_an_option_of_the_callers_takes_the_place_of_the_clients_own(face, server, script):
    server.steps = script.whole()
    with pytest.raises(ServerError, match="RESOURCE_EXHAUSTED"):
        run(face, server.address, [("grpc.max_receive_message_length", 10)])


def test_the_clients_other_options_stay(face, server, script, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # not asked for this machine
    server.steps = script.whole()
    assert run(face, server.address, [("grpc.primary_user_agent", "desk-7")]).best is not None


@pytest.mark.parametrize(
    "options", [5, ["grpc.keepalive_time_ms"], [("name", None)], [(5, "value")], [("a", 1, 2)]]
)
def test_what_is_no_pair_of_name_and_value_is_refused(face, options):
    with pytest.raises(TypeError, match="channel_options: expected pairs"):
        face("127.0.0.1:1", channel_options=options)
