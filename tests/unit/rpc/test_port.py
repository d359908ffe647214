"""Whether a port is free: what is said where it is not."""

from __future__ import annotations

import errno
import socket

import pytest
from stratsweep_server.rpc.port import require_port, require_socket


@pytest.fixture
def busy_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_port_in_use_says_how_to_get_another(busy_port, host):
    with pytest.raises(OSError, match="another program listens there; stop it, or choose another"):
        require_port(f"{host}:{busy_port}")


def test_a_port_that_was_in_use_a_moment_ago_is_free():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), server.accept()[0] as connection:
            connection.shutdown(socket.SHUT_RDWR)
    require_port(f"127.0.0.1:{port}")
    require_port(f"127.0.0.1:{port}")


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "nowhere.invalid:0", "127.0.0.1:http"])
def test_what_cannot_be_in_use_is_not_looked_at(listen):
    require_port(listen)


def test_an_address_of_another_machine_says_which_there_are():
    with pytest.raises(OSError, match=r"no address of this machine; 127\.0\.0\.1 is for programs"):
        require_port("192.0.2.1:50051")


def test_a_name_of_no_host_is_named(monkeypatch):
    def fail(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(OSError, match=r"there is no host of the name nowhere\.invalid"):
        require_port("nowhere.invalid:50051")


@pytest.mark.parametrize("host", [64 * "a", ".local", "a..b"])
def test_a_name_that_no_host_can_have_is_named(host):
    with pytest.raises(OSError, match=f"there is no host of the name {host}"):
        require_port(f"{host}:50051")


def test_one_address_of_several_that_is_not_there_is_no_obstacle(monkeypatch):
    missing = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 50051))
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()
    there = (socket.AF_INET, socket.SOCK_STREAM, 6, "", free)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [missing, there])
    require_port(f"localhost:{free[1]}")


def test_a_socket_that_can_be_made_leaves_nothing(tmp_path_factory):
    path = tmp_path_factory.mktemp("s") / "a"
    require_socket(path)
    assert list(path.parent.iterdir()) == []
    with pytest.raises(OSError, match="No such file") as caught:
        require_socket(path / "b" / "c")
    assert caught.value.errno == errno.ENOENT
