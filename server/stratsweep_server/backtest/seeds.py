"""Derive the seeds of single backtests, so that those that draw random numbers repeat.

A backtest's seed follows from the optimization's seed and from the backtest's own parameter values,
and from nothing else: not from its place in the grid, from what ran before it, or on which worker.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache

from stratsweep_server.backtest.engine import ParameterValue

SEED_BITS = 64
_MASK = (1 << SEED_BITS) - 1
_NO_PARAMETER = ""  # a parameter always has a name


class BacktestSeeds:
    """Give each backtest of an optimization its seed, whatever the order of the axes.

    Args:
        seed: The optimization's, 0 … 2^64 - 1.
        defaults: The values of the parameters that the grid leaves at their declared default: they
            count as if they were given.
    """

    def __init__(self, seed: int, defaults: Mapping[str, ParameterValue]) -> None:
        self._base = _term(_NO_PARAMETER, seed)
        self._base = self.of(defaults)

    def of(self, parameters: Mapping[str, ParameterValue]) -> int:
        """Return the seed of the backtest with these values, 0 … 2^64 - 1; 5 and 5.0 are alike."""
        return sum(map(_term, parameters, parameters.values()), self._base) & _MASK


def seed_of_symbol(seed: int, symbol: str) -> int:
    """Return the seed of one symbol's part in a backtest, whichever symbols there are beside it."""
    return (seed + _term(_NO_PARAMETER, symbol)) & _MASK


@lru_cache(maxsize=1 << 14)
def _term(name: str, value: ParameterValue) -> int:
    """Return what one value adds to a seed; equal values add the same."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = json.dumps([name, value if isinstance(value, str | float) else int(value)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=SEED_BITS // 8).digest())
