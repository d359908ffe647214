"""A worker's process from outside: what is sent to it, and how it ended, in words."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest
from stratsweep_server.execution.activity import Activity, shared_words
from stratsweep_server.execution.process import WorkerProcess, describe_exit

from tests.waiting import until


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [
        (0, "exited with code 0"),
        (3, "exited with code 3"),
        (-11, "was killed by SIGSEGV (signal 11)"),
        (-6, "was killed by SIGABRT (signal 6)"),
        (-9, "was killed by SIGKILL (signal 9) — out of memory?"),
        (-63, "was killed by a signal (signal 63)"),
        (None, "ended"),
    ],
)
def test_an_exit_is_said_in_words(exit_code, words):
    assert describe_exit(exit_code) == words


class Peer:
    """A worker that is nothing but the other end of its socket.

    Attributes:
        process: What the server sees of it.
        data: What arrived.
        texts: Of the files that arrived.
    """

    def __init__(self) -> None:
        ours, self._theirs = socket.socketpair()
        for end in (ours, self._theirs):
            end.setblocking(False)
        reader, self._writer = os.pipe()
        os.set_blocking(reader, False)
        words = shared_words()
        loop = asyncio.get_running_loop()
        self.process = WorkerProcess(None, self, ours, reader, Activity(words), loop)
        os.close(words)
        self.process.attach(lambda *_: None, lambda _: None, lambda: None)
        self.data = b""
        self.texts: list[str] = []

    pid = os.getpid()

    def receive(self) -> int:
        """Take what is there; returns how much has arrived in all."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._theirs, 1 << 20, 4)
        except BlockingIOError:
            return len(self.data)
        for descriptor in descriptors:
            with os.fdopen(descriptor, "r") as file:
                file.seek(0)
                self.texts.append(file.read())
        self.data += data
        return len(self.data)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.process._exit_descriptor)
        self.process._socket.close()
        self._theirs.close()
        os.close(self._writer)


@pytest.fixture
async def peer(monkeypatch):
    made = Peer()
    yield made
    monkeypatch.setattr(os, "killpg", lambda *_: None)  # it has the process id of this test
    made.process._receive = lambda: False
    made.process.detach()
    made.close()


def file_of(path: Path, text: str) -> int:
    path.write_text(text)
    return os.open(path, os.O_RDONLY)


async def test_a_file_arrives_with_the_bytes_that_it_was_sent_with(peer, tmp_path):
    descriptor = file_of(tmp_path / "bars", "prices")
    peer.process.send(b"first")
    peer.process.send(b"second", descriptor)
    os.close(descriptor)
    await until(lambda: peer.receive() == 11, "all of it has arrived")
    assert (peer.data, peer.texts) == (b"firstsecond", ["prices"])


async def test_what_waits_for_a_slow_worker_comes_in_order_with_files_that_were_closed(
    peer, tmp_path
):
    large = bytes(20_000_000)
    for text in ("one", "two"):
        descriptor = file_of(tmp_path / text, text)
        peer.process.send(large, descriptor)
        os.close(descriptor)
    peer.process.send(b"end")
    await until(lambda: peer.receive() == 2 * len(large) + 3, "all of it has arrived")
    assert peer.data.endswith(b"end")
    assert peer.texts == ["one", "two"]
