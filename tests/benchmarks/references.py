"""The pools that people use today, warm and ready, each as a function over a list of items."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeAlias

from tests.load.processes import resident_bytes

Mapper: TypeAlias = Callable[[Sequence[Any]], list[Any]]

CONTEXT = multiprocessing.get_context("forkserver")


@contextmanager
def submit_each(function: Callable[[Any], Any], workers: int) -> Iterator[Mapper]:
    """A bare ProcessPoolExecutor with one future per item, first in, first out."""
    with ProcessPoolExecutor(workers, mp_context=CONTEXT) as executor:

        def run(items: Sequence[Any]) -> list[Any]:
            futures = [executor.submit(function, item) for item in items]
            return [future.result() for future in futures]

        run(range(workers))
        yield run


@contextmanager
def multiprocessing_pool(function: Callable[[Any], Any], workers: int) -> Iterator[Mapper]:
    """A multiprocessing.Pool that hands out one item at a time."""
    with CONTEXT.Pool(workers) as pool:
        yield lambda items: pool.map(function, items, chunksize=1)


@contextmanager
def joblib_automatic(function: Callable[[Any], Any], workers: int) -> Iterator[Mapper]:
    """joblib's default: loky processes and batches that adapt."""
    from joblib import Parallel, delayed

    with Parallel(n_jobs=workers) as parallel:
        yield lambda items: parallel(delayed(function)(item) for item in items)


def bare_start(count: int) -> float:
    """Seconds to start single-worker executors one after the other until each runs a call."""
    start = time.monotonic()
    executors = [ProcessPoolExecutor(1, mp_context=CONTEXT) for _ in range(count)]
    futures = [executor.submit(time.monotonic) for executor in executors]
    last = max(future.result() for future in futures)
    for executor in executors:
        executor.shutdown()
    return last - start


def pending_future_bytes(count: int) -> float:
    """Memory that one queued call takes in an executor, in bytes; in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        return executor.submit(_pending_future_bytes, count).result()


def _pending_future_bytes(count: int) -> float:
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as executor:
        executor.submit(os.getpid).result()
        executor.submit(time.sleep, 1.0)
        before = resident_bytes(os.getpid())
        futures = [executor.submit(abs, number) for number in range(count)]
        after = resident_bytes(os.getpid())
        executor.shutdown(wait=True, cancel_futures=True)
    return (after - before) / len(futures)
