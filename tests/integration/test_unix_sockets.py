"""A server on a Unix socket: whose file it is at the start and at the end."""

from __future__ import annotations

from pathlib import Path

import pytest
from stratsweep import AsyncClient
from stratsweep_server.app import Server
from stratsweep_server.config import ServerConfig


@pytest.fixture
def folder(tmp_path_factory) -> Path:
    # A short name: the path of a Unix socket has room for about a hundred characters.
    return tmp_path_factory.mktemp("s")


async def assert_answers(address: str) -> None:
    async with AsyncClient(address) as client:
        assert (await client.list_strategies()).accepts_any_strategy


async def test_a_server_that_is_refused_a_socket_leaves_the_one_that_has_it_reachable(
    start_server, folder
):
    address = f"unix:{folder}/server.sock"
    await start_server(listen=address)
    with pytest.raises(OSError, match=f"cannot listen on {address}: another server is using it"):
        await Server(ServerConfig(listen=address, workers=1)).__aenter__()
    await assert_answers(address)


async def test_a_file_that_is_no_socket_is_refused_and_kept(folder):
    (folder / "notes").write_text("precious")
    config = ServerConfig(listen=f"unix:{folder}/notes", workers=1)
    with pytest.raises(OSError, match=r"cannot listen on .*: what is there is no socket"):
        await Server(config).__aenter__()
    assert (folder / "notes").read_text() == "precious"


async def test_a_server_that_ends_leaves_the_socket_of_one_that_has_taken_its_place(
    start_server, folder
):
    address = f"unix:{folder}/server.sock"
    first = await start_server(listen=address)
    (folder / "server.sock").unlink()
    second = await start_server(listen=address)
    await first.server.__aexit__(None, None, None)
    await assert_answers(address)

    await second.server.__aexit__(None, None, None)
    assert list(folder.iterdir()) == []


async def test_a_server_that_does_not_come_up_leaves_no_socket(folder, monkeypatch):
    async def fail(*_) -> None:
        raise RuntimeError("no luck")

    monkeypatch.setattr("stratsweep_server.rpc.server.RpcServer.start", fail)
    config = ServerConfig(
        listen=f"unix:{folder}/server.sock", workers=1, engine="tests.engines:ScriptedEngine"
    )
    with pytest.raises(RuntimeError, match="no luck"):
        await Server(config).__aenter__()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["with space.sock", "ünï.sock", "a%20b"])
async def test_a_path_is_read_as_clients_read_it(start_server, folder, name):
    address = f"unix:{folder}/{name}"
    await start_server(listen=address)
    await assert_answers(address)
