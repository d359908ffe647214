"""Who may take, replace and remove the file of a Unix socket."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Barrier

import pytest
from stratsweep_server.rpc import socket_file
from stratsweep_server.rpc.socket_file import SocketFile


@pytest.fixture
def folder(tmp_path_factory) -> Path:
    # A short name: the path of a Unix socket has room for about a hundred characters.
    return tmp_path_factory.mktemp("s")


@pytest.fixture
def bind() -> Iterator[Callable[[Path], socket.socket]]:
    """Bind a socket and listen; all are closed after the test."""
    with ExitStack() as sockets:

        def bind_and_listen(path: Path) -> socket.socket:
            listener = sockets.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(path))
            listener.listen(20)
            return listener

        yield bind_and_listen


def leave_stale(path: Path, bind: Callable) -> None:
    bind(path).close()


def is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def test_a_socket_is_where_clients_look_and_nothing_else_is_left(folder, bind):
    SocketFile(folder / "server.sock").take(bind)
    assert [each.name for each in folder.iterdir()] == ["server.sock"]
    assert is_served(folder / "server.sock")


def test_a_socket_that_is_served_is_refused_and_stays(folder, bind):
    path = folder / "server.sock"
    bind(path)
    with pytest.raises(OSError, match="another server is using it"):
        SocketFile(path).take(bind)
    assert is_served(path)


def test_a_server_too_busy_to_accept_is_a_server(folder, bind):
    path = folder / "server.sock"
    bind(path)
    with ExitStack() as clients:
        while True:
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            if client.connect_ex(str(path)) != 0:
                break
        with pytest.raises(OSError, match="another server is using it"):
            SocketFile(path).take(bind)


def test_a_socket_that_nobody_serves_is_replaced(folder, bind):
    path = folder / "server.sock"
    leave_stale(path, bind)
    SocketFile(path).take(bind)
    assert is_served(path)


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, os.mkfifo])
def test_what_is_no_socket_is_refused_and_stays(folder, bind, make):
    path = folder / "precious"
    make(path)
    before = path.stat().st_ino
    with pytest.raises(OSError, match="is no socket"):
        SocketFile(path).take(bind)
    assert path.stat().st_ino == before


def test_a_link_is_refused_and_stays(folder, bind):
    path = folder / "link"
    path.symlink_to(folder / "nowhere")
    with pytest.raises(OSError, match="is no socket"):
        SocketFile(path).take(bind)
    assert path.is_symlink()


@pytest.mark.parametrize("name", ["missing/server.sock", "long" * 30])
def test_where_no_socket_can_be_is_an_error(folder, bind, name):
    with pytest.raises(OSError, match=r"No such file|too long"):
        SocketFile(folder / name).take(bind)
    assert list(folder.iterdir()) == []


def test_its_own_socket_is_removed(folder, bind):
    mine = SocketFile(folder / "server.sock")
    mine.take(bind)
    mine.remove()
    assert list(folder.iterdir()) == []
    mine.remove()


def test_another_socket_in_its_place_is_left(folder, bind):
    mine, other = SocketFile(folder / "server.sock"), SocketFile(folder / "server.sock")
    mine.take(bind)
    (folder / "server.sock").unlink()
    other.take(bind)
    mine.remove()
    assert is_served(folder / "server.sock")


def test_a_folder_that_has_gone_is_nothing_to_remove(folder, bind):
    mine = SocketFile(folder / "in" / "server.sock")
    (folder / "in").mkdir()
    mine.take(bind)
    (folder / "in" / "server.sock").unlink()
    (folder / "in").rmdir()
    mine.remove()


def test_of_servers_that_start_at_a_time_one_takes_a_stale_socket(folder, bind):
    path, count = folder / "server.sock", 8
    leave_stale(path, bind)
    together = Barrier(count)

    def start(_: int) -> bool:
        together.wait()
        with suppress(OSError):
            SocketFile(path).take(bind)
            return True
        return False

    with ThreadPoolExecutor(count) as threads:
        assert sum(threads.map(start, range(count))) == 1
    assert is_served(path)


def test_a_folder_that_stays_locked_is_an_error(folder, bind, monkeypatch):
    monkeypatch.setattr(socket_file, "_LOCK_SECONDS", 0.05)
    lock = os.open(folder, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(TimeoutError, match=r"keeps .* locked"):
        SocketFile(folder / "server.sock").take(bind)
    os.close(lock)
    SocketFile(folder / "server.sock").take(bind)
