"""Seed the generators behind the functions of `random` and `numpy.random`, one pair per process.

`import numpy` does not import `numpy.random`, and neither does this module: the server imports it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from itertools import chain, repeat
from typing import TypeVar

import numpy as np

from stratsweep_server.backtest.seeds import SEED_BITS

_LOAD_SEED = 0
_DRAWN_AT_ONCE = 256

_Result = TypeVar("_Result")


def seed_generators(seed: int) -> None:
    """Set the states of Python's and numpy's generators, from a seed of 0 … 2^64 - 1."""
    random.seed(seed)
    np.random.seed(_numpy_seed(seed))


def seed_generators_for_loading() -> None:
    """Make every worker draw the same numbers while it builds its engine."""
    seed_generators(_LOAD_SEED)


def scatter_generators() -> None:
    """Make every worker draw numbers of its own from here on, where nobody seeds."""
    random.seed()
    np.random.seed()


class SeededRuns:
    """Run backtests one after another, each drawing numbers by its own seed.

    To seed takes longer than a short backtest, and few draw. So the first one is seeded; if it drew
    nothing, those after it are not, until one has drawn: that one is run again, seeded, and so is
    each one from there on. What counts as drawing is a change of the states in this process.
    """

    def __init__(self) -> None:
        self._is_first = True
        self._twins: _Twins | None = None

    def run(self, backtest: Callable[[], _Result], seed_of: Callable[[], int]) -> _Result:
        """Run one backtest and return its result; `seed_of` gives its seed, 0 … 2^64 - 1."""
        if self._twins is not None:
            try:
                result = backtest()
            except BaseException:
                if not self._twins.have_parted():
                    raise
            else:
                if not self._twins.have_parted():
                    return result
            self._twins = None
        seed = seed_of()
        seed_generators(seed)
        if not self._is_first:
            return backtest()
        self._is_first = False
        twins = _Twins(seed)
        try:
            return backtest()
        finally:
            if not twins.have_parted():
                self._twins = twins


class _Twins:
    """Draw the same numbers as the process's generators, to see whether anybody else has drawn.

    Args:
        seed: The one that the others have just been seeded with.
    """

    def __init__(self, seed: int) -> None:
        python, numpy = _twins()
        python.seed(seed)
        numpy.seed(_numpy_seed(seed))
        self._python = python.random
        self._numpy = chain.from_iterable(  # many at once, which is ten times as fast
            numpy.random_sample(_DRAWN_AT_ONCE).tolist() for _ in repeat(None)
        )

    def have_parted(self) -> bool:
        """Return whether anybody has drawn since they were made alike, or since the last answer."""
        if random.random() != self._python():  # noqa: S311 - no secret
            return True
        return bool(np.random.random_sample() != next(self._numpy))


@cache
def _twins() -> tuple[random.Random, np.random.RandomState]:
    return random.Random(), np.random.RandomState()  # noqa: S311


def _numpy_seed(seed: int) -> int:
    # numpy takes seven times as long for a second word.
    return seed >> SEED_BITS // 2
