"""What several processes do with one state directory: who holds what, and what a death frees."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from stratsweep_server.optimization.states import OptimizationState
from stratsweep_server.optimization.store import (
    HeldElsewhereError,
    OptimizationFilter,
    StoreUnavailableError,
)
from stratsweep_server.storage import state_directory
from stratsweep_server.storage.disk_store import DiskStore, open_store

from tests.records import record
from tests.waiting import until

PROGRAM = """
import os, signal, socket, sys
from pathlib import Path
from stratsweep_server.optimization.store import HeldElsewhereError
from stratsweep_server.storage.disk_store import open_store
from tests.records import record


def serve(path, address, control):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(control)
        store = open_store(Path(path), address)
        connection.sendall(b"open\\n")
        for line in connection.makefile():
            command, *names = line.split()
            connection.sendall(f"{do(store, command, names)}\\n".encode())


def do(store, command, names):
    if command == "create":
        store.create(record(names[0]))
    elif command == "close":
        store.close()
    else:
        try:
            store.claim("", names[0])
        except HeldElsewhereError as error:
            return error.address
    return "done"


signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        sys.stdin.close()
        serve(*line.split())
        os._exit(0)
    print(pid, flush=True)
"""
"""Makes processes that open a state directory: by fork, since to import it all takes a second."""


class OtherProcess:
    """Another process that has the state directory open; it does what it is told."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self._pid = pid
        self._connection = connection
        self._lines = connection.makefile()

    def tell(self, command: str) -> None:
        self._connection.sendall(f"{command}\n".encode())

    def answer(self) -> str:
        return self._lines.readline().strip()

    def ask(self, command: str) -> str:
        self.tell(command)
        return self.answer()

    async def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        await until(self._is_reaped, "it is gone, with all of its threads")

    def _is_reaped(self) -> bool:
        try:
            os.kill(self._pid, 0)
        except ProcessLookupError:
            return True
        return False

    def close(self) -> None:
        self._lines.close()
        self._connection.close()


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "state"


@pytest.fixture(scope="module")
def nursery() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    ) as process:
        yield process


@pytest.fixture
def start(path, nursery) -> Iterator[Callable[[str], OtherProcess]]:
    with (
        contextlib.ExitStack() as stack,
        tempfile.TemporaryDirectory() as control,  # short: the name of a socket has 107 bytes
        socket.socket(socket.AF_UNIX) as listener,
    ):
        listener.bind(f"{control}/control")
        listener.listen()

        def start_process(address: str) -> OtherProcess:
            print(path, address, f"{control}/control", file=nursery.stdin, flush=True)
            process = OtherProcess(int(nursery.stdout.readline()), listener.accept()[0])
            return stack.enter_context(contextlib.closing(process))

        yield start_process


@pytest.fixture
def store(path) -> Iterator[DiskStore]:
    opened = open_store(path, "here:1")
    yield opened
    opened.close()


def test_what_a_living_process_holds_is_seen_and_left_to_it(store, start):
    other = start("there:2")
    assert other.answer() == "open"
    assert other.ask("create first") == "done"
    assert store.find("", "first").holder_address == "there:2"
    assert store.page("", OptimizationFilter(), 9)[0][0].holder_address == "there:2"
    for method in (store.claim, store.delete):
        with pytest.raises(HeldElsewhereError) as refused:
            method("", "first")
        assert refused.value.address == "there:2"
    with pytest.raises(HeldElsewhereError):
        store.move(record())
    assert store.orphans() == []


@pytest.mark.parametrize("end", ["kill", "close"])
async def test_what_a_process_held_is_orphaned_when_it_ends_and_can_be_claimed(store, start, end):
    other = start("there:2")
    assert other.answer() == "open"
    assert other.ask("create first") == "done"
    if end == "kill":
        await other.kill()
    else:
        assert other.ask("close") == "done"
    assert store.find("", "first").holder_address == ""
    assert store.orphans() == [record()]
    claimed = store.claim("", "first")
    assert claimed == record(holder_address="here:1")
    assert store.orphans() == []
    store.move(replace(claimed, state=OptimizationState.SUCCEEDED))


async def test_of_processes_that_claim_at_once_exactly_one_does(store, start):
    names = [f"o{number}" for number in range(10)]
    dead = start("dead:0")
    others = [start("there:2"), start("there:3")]
    assert dead.answer() == "open"
    for name in names:
        assert dead.ask(f"create {name}") == "done"
    await dead.kill()
    assert [other.answer() for other in others] == ["open", "open"]
    for other in others:
        for name in names:
            other.tell(f"claim {name}")
    answers = [[other.answer() for _ in names] for other in others]
    for name, *both in zip(names, *answers, strict=True):
        address = store.find("", name).holder_address
        assert sorted(both) == sorted(["done", address]), name


def test_processes_that_open_a_new_directory_at_once_all_can(start):
    others = [start(f"there:{number}") for number in range(4)]
    assert [other.answer() for other in others] == ["open"] * 4
    assert [other.ask(f"create o{number}") for number, other in enumerate(others)] == ["done"] * 4


async def test_a_dead_process_leaves_nothing_once_the_next_one_has_looked(path, start):
    other = start("there:2")
    assert other.answer() == "open"
    await other.kill()
    store = open_store(path, "here:1")
    store.orphans()
    assert len(list((path / "holders").iterdir())) == 1
    store.close()
    assert list((path / "holders").iterdir()) == []
    with sqlite3.connect(path / "catalogue.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM holders").fetchone() == (0,)
    connection.close()


def test_a_directory_of_an_older_format_is_left_alone_while_others_use_it(path, store, monkeypatch):
    monkeypatch.setattr(state_directory, "LOCK_SECONDS", 0.1)
    with sqlite3.connect(path / "catalogue.sqlite") as connection:
        connection.execute("PRAGMA user_version = 0")
    connection.close()
    with pytest.raises(StoreUnavailableError, match=r"another version .* stop that one first"):
        open_store(path, "here:2")
