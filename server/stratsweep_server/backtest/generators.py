"""The generators behind the functions of `random` and `numpy.random`, which a process has once.

`import numpy` does not import `numpy.random`, and neither does this module: the server imports it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import numpy as np

from stratsweep_server.backtest.seeds import SEED_BITS

_LOAD_SEED = 0

_Result = TypeVar("_Result")


def seed_generators(seed: int) -> None:
    """Set the states of both, from a seed of 0 … 2^64 - 1."""
    random.seed(seed)
    np.random.seed(_numpy_seed(seed))


def seed_generators_for_loading() -> None:
    """Have every worker draw the same numbers while it builds its engine."""
    seed_generators(_LOAD_SEED)


def scatter_generators() -> None:
    """Have every worker draw numbers of its own from here on, where nobody seeds."""
    random.seed()
    np.random.seed()


class SeededRuns:
    """Runs backtests one after another, each drawing numbers by its own seed.

    To seed takes longer than a short backtest, and few draw. So the first one is seeded; if it drew
    nothing, those after it are not, until one has drawn: that one is run again, seeded, and so is
    each one from there on. What counts as drawing is a change of the states in this process.
    """

    def __init__(self) -> None:
        self._is_first = True
        self._is_watching = False

    def run(self, backtest: Callable[[], _Result], seed_of: Callable[[], int]) -> _Result:
        """Run one and return what it returns; `seed_of` gives its seed, 0 … 2^64 - 1."""
        if self._is_watching:
            try:
                result = backtest()
            except BaseException:
                if not _have_drawn():
                    raise
            else:
                if not _have_drawn():
                    return result
            self._is_watching = False
        seed = seed_of()
        seed_generators(seed)
        if not self._is_first:
            return backtest()
        self._is_first = False
        _seed_twins(seed)
        try:
            return backtest()
        finally:
            self._is_watching = not _have_drawn()


# Generators that nobody else draws from: as long as they give the same numbers, nobody has drawn.
_python_twin = random.Random()  # noqa: S311 - no secret


@cache
def _numpy_twin() -> np.random.RandomState:
    return np.random.RandomState()


def _seed_twins(seed: int) -> None:
    _python_twin.seed(seed)
    _numpy_twin().seed(_numpy_seed(seed))


def _have_drawn() -> bool:
    """Whether a backtest has drawn since the twins were seeded alike, or since the last answer."""
    return (
        random.getrandbits(SEED_BITS) != _python_twin.getrandbits(SEED_BITS)
        or np.random.random_sample() != _numpy_twin().random_sample()
    )


def _numpy_seed(seed: int) -> int:
    # numpy takes seven times as long for a second word.
    return seed >> SEED_BITS // 2
