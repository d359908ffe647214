"""The shared words: what a worker writes is what the server reads, and half of it harms nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from stratsweep_server.execution import activity as activity_module
from stratsweep_server.execution.activity import Activity, Running, shared_words


@pytest.fixture
def sides():
    """The server's side and the worker's side of the same words."""
    descriptor = shared_words()
    server, worker = Activity(descriptor), Activity(descriptor)
    os.close(descriptor)
    yield server, worker
    server.close()
    worker.close()


def test_a_new_worker_runs_nothing(sides):
    server, _ = sides
    assert server.running() is None


def test_the_server_sees_what_runs_and_since_when(sides):
    server, worker = sides
    before = time.monotonic()
    worker.begin_chunk(2**40)
    started = worker.begin_backtest(17)
    running = server.running()
    assert (running.chunk_id, running.offset) == (2**40, 17)
    assert running.start_time == started / 1e9
    assert before <= running.start_time <= time.monotonic()


def test_between_backtests_nothing_runs(sides):
    server, worker = sides
    worker.begin_chunk(1)
    worker.begin_backtest(0)
    worker.idle()
    assert server.running() is None


def test_the_first_backtest_of_a_chunk_is_offset_zero(sides):
    server, worker = sides
    worker.begin_chunk(1)
    worker.begin_backtest(0)
    assert server.running().offset == 0


def test_the_server_sees_that_a_whole_batch_runs_and_then_which_of_it(sides):
    server, worker = sides
    worker.begin_chunk(5)
    started = worker.begin_batch()
    assert server.running() == Running(5, None, started / 1e9)
    started = worker.begin_backtest(3)
    assert server.running() == Running(5, 3, started / 1e9)
    worker.idle()
    assert server.running() is None


def test_half_written_words_show_the_old_offset_with_the_new_start(sides, monkeypatch):
    server, worker = sides
    times = iter([1_000_000_000, 9_000_000_000])
    monkeypatch.setattr(activity_module.time, "monotonic_ns", lambda: next(times))
    worker.begin_chunk(1)
    worker.begin_backtest(0)
    words = HalfWritten(worker._words, writes=1)
    monkeypatch.setattr(worker, "_words", words)
    worker.begin_backtest(1)
    assert server.running() == Running(1, 0, 9.0)
    words.write_the_rest()
    assert server.running() == Running(1, 1, 9.0)


def test_the_server_never_reads_a_new_offset_with_an_old_start(sides, monkeypatch):
    server, worker = sides
    times = iter(range(1_000_000_000, 9_000_000_000, 1_000_000_000))
    monkeypatch.setattr(activity_module.time, "monotonic_ns", lambda: next(times))
    worker.begin_chunk(1)
    worker.begin_backtest(0)
    offsets = iter([1, 2, 3])
    # The worker goes on to its next backtest after each single word that the server reads.
    monkeypatch.setattr(
        server, "_words", Interrupted(server._words, lambda: worker.begin_backtest(next(offsets)))
    )
    running = server.running()
    assert running.offset == 0
    assert running.start_time > 1.0


def test_the_words_survive_the_worker():
    descriptor = shared_words()
    server = Activity(descriptor)
    worker = (
        "import os, signal, sys\n"
        "from stratsweep_server.execution.activity import Activity\n"
        "worker = Activity(int(sys.argv[1]))\n"
        "worker.begin_chunk(3)\n"
        "worker.begin_backtest(4)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", worker, str(descriptor)]
    process = subprocess.run(command, check=False, pass_fds=[descriptor])
    os.close(descriptor)
    assert process.returncode == -signal.SIGKILL
    running = server.running()
    server.close()
    assert (running.chunk_id, running.offset) == (3, 4)


class HalfWritten:
    """Words of which only the first few writes come through at first."""

    def __init__(self, words: memoryview, writes: int) -> None:
        self._target = words
        self._writes = writes
        self._late: list[tuple[int, int]] = []

    def __setitem__(self, place: int, value: int) -> None:
        if self._writes:
            self._writes -= 1
            self._target[place] = value
        else:
            self._late.append((place, value))

    def write_the_rest(self) -> None:
        for place, value in self._late:
            self._target[place] = value

    def release(self) -> None:
        self._target.release()


class Interrupted:
    """Words between whose reads something else happens."""

    def __init__(self, words: memoryview, between) -> None:
        self._target = words
        self._between = between

    def __getitem__(self, place: int) -> int:
        value = self._target[place]
        self._between()
        return value

    def release(self) -> None:
        self._target.release()
