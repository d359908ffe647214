"""Background threads: work that can be given up, takes turns, and is joined by nobody."""

import asyncio
import subprocess
import sys
import threading

import pytest
from stratsweep_server.optimization import background
from stratsweep_server.optimization.background import (
    BackgroundThreads,
    WorkAbandonedError,
    checkpoint,
)

from tests.waiting import until


class Endless:
    """Work that goes on until it is given up."""

    def __init__(self):
        self.has_begun = threading.Event()
        self.has_ended = threading.Event()
        self.error = None

    def __call__(self):
        self.has_begun.set()
        try:
            while True:
                checkpoint()
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.has_ended.set()


def fail(*arguments):
    raise ValueError(*arguments)


@pytest.fixture
def threads():
    return BackgroundThreads(max_running=1, max_threads=4)


async def test_what_a_function_returns_or_raises_is_its_callers(threads):
    assert await threads.run(max, 3, 4) == 4
    with pytest.raises(ValueError, match="no luck"):
        await threads.run(fail, "no luck")
    thread = await threads.run(threading.current_thread)
    assert thread.daemon
    assert thread is not threading.current_thread()


async def test_work_whose_caller_has_gone_ends_at_its_next_checkpoint(threads):
    work = Endless()
    caller = asyncio.create_task(threads.run(work))
    await until(work.has_begun.is_set, "it runs")
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await until(work.has_ended.is_set, "it ended")
    assert isinstance(work.error, WorkAbandonedError)
    assert await threads.run(max, 1, 2) == 2


async def test_work_that_waits_for_its_turn_is_given_up_before_it_begins(threads):
    running, waiting = Endless(), Endless()
    callers = [asyncio.create_task(threads.run(work)) for work in (running, waiting)]
    await until(running.has_begun.is_set, "the first runs")
    for caller in reversed(callers):
        caller.cancel()
    await asyncio.wait(callers)
    await until(running.has_ended.is_set, "the first ended")
    assert await threads.run(max, 1, 2) == 2
    assert not waiting.has_begun.is_set() or waiting.has_ended.is_set()


async def test_short_work_does_not_wait_for_the_end_of_long_work(threads):
    long_ones = [Endless() for _ in range(3)]
    callers = [asyncio.create_task(threads.run(work)) for work in long_ones]
    await until(lambda: all(work.has_begun.is_set() for work in long_ones), "each has its turns")
    assert await threads.run(max, 3, 4) == 4
    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)
    await until(lambda: all(work.has_ended.is_set() for work in long_ones), "they ended")


async def test_as_many_run_at_a_time_as_are_allowed():
    threads = BackgroundThreads(max_running=2, max_threads=8)
    running, most, lock = set(), [], threading.Lock()

    def work(number):
        for _ in range(50):
            with lock:
                running.add(number)
                most.append(len(running))
            sum(range(1_000))
            with lock:
                running.discard(number)
            checkpoint()
        return number

    numbers = await asyncio.gather(*(threads.run(work, number) for number in range(20)))
    assert numbers == list(range(20))
    assert max(most) <= 2


async def test_more_work_than_threads_waits_in_a_queue(threads):
    used = await asyncio.gather(*(threads.run(threading.get_ident) for _ in range(50)))
    assert len(set(used)) <= 4


def test_a_checkpoint_elsewhere_does_nothing():
    checkpoint()


PROGRAM = """
import asyncio, runpy, sys, time
in_background = runpy.run_path(sys.argv[1])["in_background"]
begun = []
def work():
    begun.append(True)
    while True:
        time.sleep(0.001)
async def main():
    caller = asyncio.create_task(in_background(work))
    while not begun:
        await asyncio.sleep(0.001)
asyncio.run(main())
print("ended")
"""


def test_a_program_ends_while_work_without_checkpoints_goes_on():
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, background.__file__],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "ended\n", "")
