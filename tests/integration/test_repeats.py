"""Strategies that keep something in their module are noticed, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stratsweep import AsyncClient, Client, RepeatCheck, ServerProcess

from examples.demo import write_synthetic_market

STRATEGIES = """
import random
import numpy as np
from stratsweep_server.backtest import Bars, strategy

calls = 0

@strategy
def counting(bars: Bars, n: int = 3):
    global calls
    calls += 1
    return np.arange(len(bars)) % (n + 5) < calls % (n + 4)

@strategy
def remembering_nothing(bars: Bars, n: int = 3):
    return np.arange(len(bars)) % (n + 5) < random.randint(1, n)
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("desk")
    write_synthetic_market(folder / "SYNTH.csv")
    (folder / "own.py").write_text(STRATEGIES)
    options = ["--data", str(folder), "--strategies", str(folder / "own.py"), "--workers", "1"]
    with ServerProcess(options) as server:
        yield server.address


def checked(client: Client, strategy: str) -> RepeatCheck:
    result = client.optimize(strategy, symbols="SYNTH", parameters={"n": range(1, 41)}).result()
    assert len(result.ranked) == 40
    return client.check_repeats(result, count=8)


def test_a_strategy_that_counts_its_calls_gives_other_results_in_another_order(address):
    with Client(address) as client:
        check = checked(client, "counting")
    assert check.checked_count == 8
    assert len(check.differences) >= 4
    for difference in check.differences:
        assert set(difference.parameters) == {"n"}
        assert all(first != again for first, again in difference.metrics.values())


def test_what_decides_from_bars_parameters_and_seed_alone_repeats(address):
    with Client(address) as client:
        assert checked(client, "remembering_nothing") == RepeatCheck(8, ())
        assert checked(client, "counting").differences, "on the same server, in the same worker"


async def test_the_asyncio_client_finds_the_same(address):
    async with AsyncClient(address) as client:
        for strategy, is_same in (("counting", False), ("remembering_nothing", True)):
            result = await client.optimize(
                strategy, symbols="SYNTH", parameters={"n": range(1, 41)}
            ).result()
            check = await client.check_repeats(result, count=8)
            assert check.checked_count == 8
            assert (check.differences == ()) is is_same
